"""Several sampled lists of one session, each with its products in another order; the answer is what they agree on.

A greedy list chooses the likeliest token each time, which is seldom the likeliest list. If sampled lists put two
products together again and again, the model is sure of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from models.bundle_list import WrittenBundle
from models.chat import ChatTokenizer, Prompt
from models.llama.answer_tokens import AnswerTokens
from models.llama.decoding import Program, together
from models.llama.engine import AnswerPlan, Workspace
from models.llama.strategies.base import Emit, given_scores
from models.llama.strategies.writing import Pick, most_list_tokens, write_list
from models.pairs.calibration import Calibration
from models.pairs.clustering import Matrix, likely_bundles
from models.student_protocol import SessionTask

DRAFTS = 8

_TOGETHER = 2
"""Drafts of a session that are decoded together. On a processor, more only slow down each other's attention. On a GPU,
drafts of other sessions fill the batch."""


class DraftsStrategy:
    """Sampled lists that vote for pairs of products."""

    def __init__(self, calibration: Calibration) -> None:
        assert calibration.pairs is not None
        self._pairs = calibration.pairs
        self._bundle = calibration.bundle

    def plan(self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, room: int, emit: Emit) -> AnswerPlan:
        """Plan one branch for each draft."""

        def conclude(drafts: Sequence[Sequence[WrittenBundle]]) -> list[WrittenBundle]:
            probabilities = self._pairs.probabilities(_votes(drafts, task.products), given_scores(task))
            bundles = []
            for number, (probability, positions) in enumerate(likely_bundles(probabilities, self._pairs.threshold)):
                confidence = self._bundle.confidence(probability, len(positions), task.products)
                bundles.append(WrittenBundle(number, positions, _intent(drafts, positions), confidence, complete=True))
                emit(bundles[-1])
            return bundles

        return _plan(task, chat, answer, room, conclude)

    def plan_scores(
        self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, room: int, take: Callable[[Matrix], None]
    ) -> AnswerPlan:
        """Plan the same without the bundles."""

        def conclude(drafts: Sequence[Sequence[WrittenBundle]]) -> list[WrittenBundle]:
            take(_votes(drafts, task.products))
            return []

        return _plan(task, chat, answer, room, conclude)


def _plan(
    task: SessionTask,
    chat: ChatTokenizer,
    answer: AnswerTokens,
    room: int,
    conclude: Callable[[Sequence[Sequence[WrittenBundle]]], list[WrittenBundle]],
) -> AnswerPlan:
    orders = _orders(task.products)
    prompts = [chat.prompt(task.make_prompt("list", order)) for order in orders]
    shared = prompts[0].shared
    each = most_list_tokens(answer, task.products, thinks=task.thinks) + max(len(prompt.own) for prompt in prompts)
    # If a session fills the cache, its drafts run in turn.
    width = max(1, min(_TOGETHER, (room - len(shared)) // each))

    def write(workspace: Workspace, number: int, prompt: Prompt) -> Program[list[WrittenBundle]]:
        branch = workspace.open()
        draft = yield from write_list(
            answer, branch, prompt.own, task.products, _ignore, _sampler(number), thinks=task.thinks
        )
        workspace.drop(branch)
        return draft

    def start(workspace: Workspace) -> Program[list[WrittenBundle]]:
        drafts: list[list[WrittenBundle]] = []
        for first in range(0, DRAFTS, width):
            part = list(enumerate(prompts))[first : first + width]
            drafts += yield from together([write(workspace, number, prompt) for number, prompt in part])
        return conclude(
            [
                [replace(bundle, positions=tuple(sorted(order[at - 1] for at in bundle.positions))) for bundle in draft]
                for order, draft in zip(orders, drafts, strict=True)
            ]
        )

    return AnswerPlan(shared, width * each, width, start)


def _orders(products: int) -> list[Sequence[int]]:
    """Return the order of the session and shuffled ones: the same for every session of that size."""
    return [
        range(1, products + 1),
        *(tuple((np.random.default_rng(seed).permutation(products) + 1).tolist()) for seed in range(1, DRAFTS)),
    ]


def _sampler(seed: int) -> Pick:
    """Return a function that samples a token by its probability; the same choices each time."""
    random = np.random.default_rng(seed)

    def pick(probabilities: npt.NDArray[np.float64]) -> int:
        return int(random.choice(len(probabilities), p=probabilities))

    return pick


def _votes(drafts: Sequence[Sequence[WrittenBundle]], products: int) -> Matrix:
    """Return the log odds (products, products) that two products share a bundle, with half a vote more each way."""
    counts = np.zeros((products, products))
    for draft in drafts:
        pairs = {pair for bundle in draft for pair in combinations(bundle.positions, 2)}
        for a, b in pairs:
            counts[a - 1, b - 1] += 1
            counts[b - 1, a - 1] += 1
    share = (counts + 0.5) / (len(drafts) + 1)
    odds: Matrix = np.log(share / (1 - share))
    return odds


def _intent(drafts: Sequence[Sequence[WrittenBundle]], positions: Sequence[int]) -> str:
    """Return the intent of the drafted bundle that is most similar to this one (Jaccard); of several, the likeliest."""
    wanted = set(positions)

    def likeness(bundle: WrittenBundle) -> tuple[float, float]:
        drafted = set(bundle.positions)
        return len(wanted & drafted) / len(wanted | drafted), bundle.confidence

    return max((bundle for draft in drafts for bundle in draft), key=likeness).intent


def _ignore(_: WrittenBundle) -> None:
    """Drop a bundle of a draft: it is not shown."""
