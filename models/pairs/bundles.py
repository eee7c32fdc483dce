"""Bundles of a session from scores and evidence of its pairs; no language model is needed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from time import perf_counter, sleep

import numpy as np

from models.bundle_list import WrittenBundle
from models.completion import NO_TOKENS
from models.errors import ModelError
from models.pairs.calibration import Calibration
from models.pairs.clustering import Matrix, likely_bundles
from models.student_protocol import IDLE_SECONDS, Answered, Grew, Refused, SessionTask, StudentEvent

_LOOKAHEAD = 64
"""Sessions that are judged before the model is loaded."""


class PairBundles:
    """Joins the products whose pairs are likely enough."""

    def __init__(self, calibration: Calibration) -> None:
        assert calibration.pairs is not None
        self._pairs = calibration.pairs
        self._bundle = calibration.bundle

    @property
    def needs_scores(self) -> bool:
        """Whether a model has to be asked about pairs even if there is evidence."""
        return self._pairs.needs_scores

    def of_scores(self, scores: Matrix, evidence: Matrix | None) -> list[WrittenBundle]:
        """Return the bundles of a session without intents, the likeliest first.

        Args:
            scores: (products, products), log odds by a model.
            evidence: (products, products), how likely each pair is by other sessions.
        """
        products = len(scores)
        likely = [
            (self._bundle.confidence(probability, len(positions), products), positions)
            for probability, positions in likely_bundles(
                self._pairs.probabilities(scores, evidence), self._pairs.threshold
            )
        ]
        return [
            WrittenBundle(number, positions, "", confidence, complete=False)
            for number, (confidence, positions) in enumerate(likely)
        ]

    def of_evidence(self, task: SessionTask) -> list[WrittenBundle]:
        """Return the bundles of a session with evidence, if no scores are needed.

        Raises:
            ModelError: the session has too many products.
        """
        assert task.evidence is not None
        if task.products < 2:
            return []
        return self.of_scores(np.zeros((task.products, task.products)), task.evidence())


def bundles_first(
    tasks: Iterable[SessionTask | None],
    is_loaded: Callable[[], bool],
    answer: Callable[[Iterable[SessionTask | None]], Iterator[StudentEvent]],
) -> Iterator[StudentEvent]:
    """Yield the events of a student that only writes intents; while it loads, yield bundles as they are found.

    Sessions without a bundle are answered without the student.
    Args:
        tasks: each with `find`.
        is_loaded: tells whether the student is loaded.
        answer: answers tasks with the student; it waits until that is loaded.

    Raises:
        ModelError: the student cannot be loaded, or fails.
    """
    source = iter(tasks)
    judged: list[SessionTask] = []
    while len(judged) < _LOOKAHEAD and not (judged and is_loaded()):
        try:
            task = next(source)
        except StopIteration:
            if not judged:
                return
            break
        if task is None:
            if is_loaded():
                break
            sleep(IDLE_SECONDS)
            continue
        started = perf_counter()
        try:
            assert task.find is not None
            bundles = task.find() if task.products > 1 else ()
        except ModelError as problem:
            yield Refused(task.key, str(problem), perf_counter() - started)
            continue
        if not bundles:
            yield Answered(task.key, [], perf_counter() - started, NO_TOKENS)
            continue
        for bundle in bundles:
            yield Grew(task.key, bundle)
        judged.append(replace(task, bundles=tuple(bundles)))
    yield from answer(chain(judged, source))
