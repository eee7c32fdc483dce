"""All pairs of a session judged after their common prompt, in one pass; the likely ones are joined.

Only the intents are decoded token by token, those of all bundles together. A pair costs the few tokens of its question,
and nothing if the calibration gives the model's answers no weight compared with what other sessions say.
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
"""Tokens that the answers yes and no can have in common."""

_MOST_PRODUCTS = 64
"""Larger sessions have too many pairs: 2,016 questions are as long as a book."""


class PairsStrategy:
    """Asks of each pair whether it belongs in one bundle."""

    def __init__(self, calibration: Calibration) -> None:
        self._judge = PairBundles(calibration)

    def asks(self, task: SessionTask) -> bool:
        """Tell whether the model is asked about pairs; it is not if the calibration relies only on other sessions."""
        return task.evidence is None or self._judge.needs_scores

    def plan(self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, _: int, emit: Emit) -> AnswerPlan:
        """Plan a branch for the prompt, and from its end one for each of several pairs, later one for each bundle."""

        def emitted(bundles: list[WrittenBundle]) -> list[WrittenBundle]:
            for bundle in bundles:
                emit(bundle)
            return bundles

        if task.bundles is not None:
            return _plan_intents(task, list(task.bundles), chat, answer, emit)
        if not self.asks(task):
            return _plan_intents(task, emitted(self._judge.of_evidence(task)), chat, answer, emit)
        evidence = given_scores(task)

        def conclude(workspace: Workspace, branch: Branch, scores: Matrix) -> Program[list[WrittenBundle]]:
            return _write_intents(answer, workspace, branch, emitted(self._judge.of_scores(scores, evidence)), emit)

        return _plan_questions(task, evidence, chat, answer, conclude)

    def plan_scores(
        self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, _: int, take: Callable[[Matrix], None]
    ) -> AnswerPlan:
        """Plan the same without the bundles."""

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
    """Plan to ask about all pairs, and to conclude from the answers."""
    if task.products > _MOST_PRODUCTS:
        raise ModelError(
            f"the session has {task.products:,} products, and the strategy pairs takes {_MOST_PRODUCTS} at most; "
            "use the strategy list"
        )
    prompt = chat.prompt(task.make_prompt("pairs", task.in_order))
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
    """Plan to write the intents of known bundles; without a bundle nothing is read."""
    prompt = chat.prompt(task.make_prompt("pairs", task.in_order))
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
    """Return the most tokens of a bundle's numbers and its intent."""
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
    """Return the log odds of yes against no for each pair, (products, products); 0 on the diagonal."""
    before, yes, no = _answers(answer)
    look = partial(_yes_against_no, yes, no)
    scores = np.zeros((products, products))

    def question(one: int, other: int) -> str:
        return pair_question(one, other, None if evidence is None else float(evidence[one - 1, other - 1]))

    pairs = list(combinations(range(1, products + 1), 2))
    for first in range(0, len(pairs), WIDTH):
        part = pairs[first : first + WIDTH]
        forks = [workspace.fork(branch) for _ in part]
        log_odds = yield [
            Read(fork, (*answer.spell(question(a, b)), *before), look) for fork, (a, b) in zip(forks, part, strict=True)
        ]
        for fork, (a, b), score in zip(forks, part, log_odds, strict=True):
            # The question follows the prompt; the answer is one token, whose logit is used but which is not read.
            fork.given, fork.written = fork.length - branch.length, 1
            scores[a - 1, b - 1] = scores[b - 1, a - 1] = score
            workspace.drop(fork)
    return scores


def _answers(answer: AnswerTokens) -> tuple[tuple[Token, ...], Token, Token]:
    """Return the tokens that yes and no have in common, and the first token of each where they differ."""
    yes, no = answer.spell(YES), answer.spell(NO)
    same = next(i for i in range(len(no)) if yes[i] != no[i])
    return yes[:same], yes[same], no[same]


def _yes_against_no(yes: Token, no: Token, logits: Logits) -> float:
    return float(logits[0, yes]) - float(logits[0, no])


def _numbers(answer: AnswerTokens, bundle: WrittenBundle) -> tuple[Token, ...]:
    """Return what stands before the intent of a bundle, after the prompt of its session."""
    return answer.spell(",".join(map(str, bundle.positions)) + ":")
