"""Where a cell fails: the errors of its bundles by type, and its pair F1 by properties of the sessions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import nan
from typing import TypeAlias

import numpy as np

from kdtui.bundling.bundle_errors import ErrorType, find_errors, missed_bundles
from kdtui.bundling.histogram import Bin, histogram
from kdtui.bundling.metrics import Bundles, pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.statistics.estimates import estimate_cells
from kdtui.statistics.results import Estimate
from kdtui.statistics.sessions import CellValues, Resampling
from store.records import Session

Answers: TypeAlias = Mapping[str, Bundles | None]
"""The bundles of one seed by session id; None if the student failed. Unanswered sessions are missing."""

_MOST_LENGTHS = 4
"""Groups of lengths at most: with more groups, each has too few sessions."""


_OVERLAPS = ("none overlap", "some overlap")
_KNOWN = ("of all products", "of some products", "of no product")


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of bundles, counted over all seeds.

    Attributes:
        answers: answered sessions, once for each seed.
        failed: answers in which the student failed.
        silent: answers without a bundle, except failures.
        predicted: predicted bundles.
        types: predicted bundles by error type. A bundle with both extra and missing products has two types.
        true: true bundles of the answered sessions, once for each seed.
        not_found: true bundles without a product in any predicted bundle.
    """

    answers: int
    failed: int
    silent: int
    predicted: int
    types: Mapping[ErrorType, int]
    true: int
    not_found: int

    def share(self, error_type: ErrorType) -> float:
        """Return the share of the predicted bundles with an error type; nan if there are none."""
        return self.types.get(error_type, 0) / self.predicted if self.predicted else nan

    @property
    def share_not_found(self) -> float:
        """The share of the true bundles that are not found; nan if there are none."""
        return self.not_found / self.true if self.true else nan


@dataclass(frozen=True, slots=True)
class SessionGroup:
    """Sessions that are alike in one respect.

    Attributes:
        respect: such as "products".
        label: their common value, such as "4–5".
        pair_f1: of the cell, over the answered sessions.
        errors: of the cell, in these sessions.
    """

    respect: str
    label: str
    pair_f1: Estimate
    errors: Errors


def count_errors(sessions: Iterable[Session], seeds: Sequence[Answers]) -> Errors:
    """Count the errors of a cell in some sessions.

    Args:
        seeds: the answers of each of its seeds; answers to other sessions do not count.
    """
    types: Counter[ErrorType] = Counter()
    answers = failed = silent = predicted = true = missed = 0
    for session in sessions:
        truth = true_bundles(session)
        for seed in seeds:
            if session.id not in seed:
                continue
            bundles = seed[session.id]
            answers += 1
            failed += bundles is None
            silent += bundles is not None and not bundles
            predicted += len(bundles or ())
            true += len(truth)
            missed += len(missed_bundles(truth, bundles or ()))
            types.update(kind for bundle in bundles or () for kind in find_errors(truth, bundle).types)
    return Errors(answers, failed, silent, predicted, dict(types), true, missed)


def analyse_errors(
    sessions: Sequence[Session], seeds: Sequence[Answers], resampling: Resampling | None = None
) -> list[SessionGroup]:
    """Return all sessions as a group, then groups by products, by overlapping true bundles, and by missing categories.

    A respect in which all sessions are alike is left out, and so is a group without an answer.

    Args:
        sessions: the scored sessions; each has a true bundle.
        seeds: the answers of each seed of the cell.
        resampling: of the sessions; None for the usual one.
    """
    groups = [("all", "sessions", list(range(len(sessions))))]
    for respect, parts in (
        ("products", _by_products(sessions)),
        ("true bundles", _by(_OVERLAPS, [_overlap(session) for session in sessions])),
        ("categories", _by(_KNOWN, [_known_categories(session) for session in sessions])),
    ):
        groups += [(respect, label, columns) for label, columns in parts if len(parts) > 1]
    values = np.array([[_pair_f1(session, seed) for session in sessions] for seed in seeds])
    cells: list[tuple[str, str, list[int], CellValues]] = []
    for respect, label, columns in groups:
        inside = np.full((len(seeds), len(sessions)), nan)
        inside[:, columns] = values[:, columns] if columns and seeds else nan
        cell = CellValues.of(inside)
        if cell.seeds:
            cells.append((respect, label, columns, cell))
    # Each group by itself: the spread of the seeds depends on its number of sessions.
    return [
        SessionGroup(
            respect,
            label,
            estimate_cells([cell], resampling, within=(0, 1))[0],
            count_errors((sessions[at] for at in columns), seeds),
        )
        for respect, label, columns, cell in cells
    ]


def _pair_f1(session: Session, seed: Answers) -> float:
    return pair_f1(true_bundles(session), seed[session.id] or ()) if session.id in seed else nan


def _by_products(sessions: Sequence[Session]) -> list[tuple[str, list[int]]]:
    sizes = [len(session.items) for session in sessions]
    groups = []
    for each in histogram(Counter(sizes), _MOST_LENGTHS):
        columns = [at for at, size in enumerate(sizes) if each.low <= size <= (each.high or size)]
        if columns:
            # A round range can be wider than the sizes in it.
            own_sizes = [sizes[at] for at in columns]
            groups.append((Bin(min(own_sizes), max(own_sizes), len(columns)).label, columns))
    return groups


def _by(labels: Sequence[str], values: Sequence[str]) -> list[tuple[str, list[int]]]:
    columns = {label: [at for at, each in enumerate(values) if each == label] for label in labels}
    return [(label, columns_of_label) for label, columns_of_label in columns.items() if columns_of_label]


def _overlap(session: Session) -> str:
    overlap = any(one & other for one, other in combinations(true_bundles(session), 2))
    return "some overlap" if overlap else "none overlap"


def _known_categories(session: Session) -> str:
    known = sum(bool(item.categories) for item in session.items)
    if known == len(session.items):
        return "of all products"
    return "of some products" if known else "of no product"
