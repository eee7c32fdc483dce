"""All pairs of a session judged on the prompt that they share, in one pass, and the likely ones put together.

Nothing is decoded token after token but the intents, and those of all bundles side by side. A pair costs the few tokens
of its question, and nothing where the calibration gives no weight to the answers beside what other sessions say.
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np

from models.bundle_list import WrittenBundle, longest_bundle
from models.chat import ChatTokenizer
from models.errors import ModelError
from models.llama.answer_tokens import INTENT_TOKENS, AnswerTokens
from models.llama.decoding import Branch, Logits, Program, Read, together
from models.llama.engine import AnswerPlan, Workspace
from models.llama.strategies.base import Emit, given_scores
from models.llama.strategies.intents import WIDTH, with_intent
from models.pairs.bundles import PairBundles
from models.pairs.calibration import Calibration
from models.pairs.clustering import Matrix
from models.prompt_format import NO, YES, pair_question
from models.student_protocol import SessionTask
from models.vocabulary import Token

_ANSWER_ROOM = 2
"""Tokens that yes and no may have in common."""

_MOST_PRODUCTS = 64
"""Larger sessions have too many pairs: 2,016 questions are as long as a book."""


class Pairs:
    """Asks of each pair whether it belongs in one bundle."""

    def __init__(self, calibration: Calibration) -> None:
        self._judge = PairBundles(calibration)

    def asks(self, task: SessionTask) -> bool:
        """Whether the model is asked about pairs: not where it is calibrated to rely on what other sessions say."""
        return task.evidence is None or self._judge.needs_scores

    def plan(self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, _: int, emit: Emit) -> AnswerPlan:
        """A branch for the prompt, and from its end one for each of several pairs, and later for each bundle."""

        def told_of(bundles: list[WrittenBundle]) -> list[WrittenBundle]:
            for bundle in bundles:
                emit(bundle)
            return bundles

        if task.bundles is not None:
            return _plan_intents(task, list(task.bundles), chat, answer, emit)
        if not self.asks(task):
            return _plan_intents(task, told_of(self._judge.of_evidence(task)), chat, answer, emit)
        evidence = given_scores(task)

        def conclude(workspace: Workspace, branch: Branch, scores: Matrix) -> Program[list[WrittenBundle]]:
            return _write_intents(answer, workspace, branch, told_of(self._judge.of_scores(scores, evidence)), emit)

        return _plan_questions(task, evidence, chat, answer, conclude)

    def plan_scores(
        self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, _: int, take: Callable[[Matrix], None]
    ) -> AnswerPlan:
        """The same without the bundles."""

        def conclude(_: Workspace, __: Branch, scores: Matrix) -> Program[list[WrittenBundle]]:
            take(scores)
            yield []
            return []

        return _plan_questions(task, given_scores(task), chat, answer, conclude)


def _plan_questions(
    task: SessionTask,
    evidence: Matrix | None,
    chat: ChatTokenizer,
    answer: AnswerTokens,
    conclude: Callable[[Workspace, Branch, Matrix], Program[list[WrittenBundle]]],
) -> AnswerPlan:
    """Ask about all pairs, and conclude from the answers."""
    if task.products > _MOST_PRODUCTS:
        raise ModelError(
            f"the session has {task.products:,} products, and the strategy pairs takes {_MOST_PRODUCTS} at most; "
            "use the strategy list"
        )
    prompt = chat.prompt(task.ask("pairs", task.in_order))
    longest = pair_question(task.products - 1, task.products, None if evidence is None else 0.99)
    question = len(answer.spell(longest)) + _ANSWER_ROOM
    width = min(WIDTH, task.products * (task.products - 1) // 2)
    intents = min(WIDTH, task.products // 2) * _intent_tokens(answer, task.products)
    cells = len(prompt.own) + max(width * question, intents)

    def start(workspace: Workspace) -> Program[list[WrittenBundle]]:
        branch = workspace.open()
        branch.given += len(prompt.own)
        yield [Read(branch, prompt.own)]
        scores = yield from _scores(answer, workspace, branch, task.products, evidence)
        return (yield from conclude(workspace, branch, scores))

    return AnswerPlan(prompt.shared, cells, width + 1, start)


def _plan_intents(
    task: SessionTask, bundles: list[WrittenBundle], chat: ChatTokenizer, answer: AnswerTokens, emit: Emit
) -> AnswerPlan:
    """Write the intents of bundles that are known already; without a bundle nothing is read."""
    prompt = chat.prompt(task.ask("pairs", task.in_order))
    width = min(WIDTH, len(bundles))
    cells = len(prompt.own) + width * _intent_tokens(answer, task.products)

    def start(workspace: Workspace) -> Program[list[WrittenBundle]]:
        if not bundles:
            return []
        branch = workspace.open()
        branch.given += len(prompt.own)
        yield [Read(branch, prompt.own)]
        return (yield from _write_intents(answer, workspace, branch, bundles, emit))

    return AnswerPlan(prompt.shared, cells if bundles else 0, width + 1, start)


def _intent_tokens(answer: AnswerTokens, products: int) -> int:
    """The most tokens that the numbers of a bundle and its intent take."""
    return len(answer.spell(longest_bundle(products))) + INTENT_TOKENS


def _write_intents(
    answer: AnswerTokens, workspace: Workspace, branch: Branch, bundles: list[WrittenBundle], emit: Emit
) -> Program[list[WrittenBundle]]:
    written: list[WrittenBundle] = []
    for first in range(0, len(bundles), WIDTH):
        part = bundles[first : first + WIDTH]
        written += yield from together(
            [
                with_intent(answer, workspace, workspace.fork(branch), _numbers(answer, bundle), bundle, emit)
                for bundle in part
            ]
        )
    return written


def _scores(
    answer: AnswerTokens, workspace: Workspace, branch: Branch, products: int, evidence: Matrix | None
) -> Program[Matrix]:
    """(products, products): log odds of yes against no for each pair; 0 on the diagonal."""
    before, yes, no = _answers(answer)
    look = partial(_yes_against_no, yes, no)
    scores = np.zeros((products, products))

    def question(one: int, other: int) -> str:
        return pair_question(one, other, None if evidence is None else float(evidence[one - 1, other - 1]))

    pairs = list(combinations(range(1, products + 1), 2))
    for first in range(0, len(pairs), WIDTH):
        part = pairs[first : first + WIDTH]
        forks = [workspace.fork(branch) for _ in part]
        found = yield [
            Read(fork, (*answer.spell(question(a, b)), *before), look) for fork, (a, b) in zip(forks, part, strict=True)
        ]
        for fork, (a, b), score in zip(forks, part, found, strict=True):
            # What is behind the prompt is the question, and the answer is a token that is looked at and not read.
            fork.given, fork.written = fork.length - branch.length, 1
            scores[a - 1, b - 1] = scores[b - 1, a - 1] = score
            workspace.drop(fork)
    return scores


def _answers(answer: AnswerTokens) -> tuple[tuple[Token, ...], Token, Token]:
    """The tokens where yes and no first differ, and those that they have in common before."""
    yes, no = answer.spell(YES), answer.spell(NO)
    same = next(i for i in range(len(no)) if yes[i] != no[i])
    return yes[:same], yes[same], no[same]


def _yes_against_no(yes: Token, no: Token, logits: Logits) -> float:
    return float(logits[0, yes]) - float(logits[0, no])


def _numbers(answer: AnswerTokens, bundle: WrittenBundle) -> tuple[Token, ...]:
    """What stands before the intent of a bundle, behind the prompt of its session."""
    return answer.spell(",".join(map(str, bundle.positions)) + ":")
