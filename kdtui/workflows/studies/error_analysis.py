"""Where a cell fails: the errors of its bundles by type, and its pair F1 by what sessions are like."""

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
from kdtui.statistics.sessions import Cell, Resampling
from store.records import Session

Answers: TypeAlias = Mapping[str, Bundles | None]
"""The bundles of one seed, by session id; None where the student failed. What is not answered yet is not in it."""

_MOST_LENGTHS = 4
"""Groups of lengths; of more, each has too few sessions."""


_OVERLAPS = ("none overlap", "some overlap")
_KNOWN = ("of all products", "of some products", "of no product")


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of bundles, counted over all seeds.

    Attributes:
        answers: sessions that were answered, once for each seed.
        failed: of these, in how many the student failed.
        silent: of these, in how many it found no bundle, failed ones aside.
        predicted: bundles that it found.
        types: how many of them are of each type; one can have products too many and lack others, and is of two types.
        true: true bundles of the answered sessions, once for each seed.
        not_found: of these, how many have no product in any predicted bundle.
    """

    answers: int
    failed: int
    silent: int
    predicted: int
    types: Mapping[ErrorType, int]
    true: int
    not_found: int

    def share(self, error_type: ErrorType) -> float:
        """Of the predicted bundles; nan without any."""
        return self.types.get(error_type, 0) / self.predicted if self.predicted else nan

    @property
    def share_not_found(self) -> float:
        """Of the true bundles; nan without any."""
        return self.not_found / self.true if self.true else nan


@dataclass(frozen=True, slots=True)
class Group:
    """Sessions that are alike in one respect.

    Attributes:
        respect: in which, such as "products".
        label: how they are there, such as "4–5".
        pair_f1: of the cell, over those that are answered.
        errors: that it makes there.
    """

    respect: str
    label: str
    pair_f1: Estimate
    errors: Errors


def count_errors(sessions: Iterable[Session], seeds: Sequence[Answers]) -> Errors:
    """The errors of a cell in some sessions.

    Args:
        seeds: the answers of each of its seeds; those to other sessions do not count.
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
) -> list[Group]:
    """All sessions, then groups of them: by products, by true bundles that overlap, by products without a category.

    A respect in which all sessions are alike is left out, and so is a group without an answer.

    Args:
        sessions: that are scored; each has a true bundle.
        seeds: the answers of each seed of the cell.
        resampling: the draws of sessions; None for the usual ones.
    """
    groups = [("all", "sessions", list(range(len(sessions))))]
    for respect, parts in (
        ("products", _by_products(sessions)),
        ("true bundles", _by(_OVERLAPS, [_overlap(session) for session in sessions])),
        ("categories", _by(_KNOWN, [_known_categories(session) for session in sessions])),
    ):
        groups += [(respect, label, places) for label, places in parts if len(parts) > 1]
    values = np.array([[_pair_f1(session, seed) for session in sessions] for seed in seeds])
    cells: list[tuple[str, str, list[int], Cell]] = []
    for respect, label, places in groups:
        inside = np.full((len(seeds), len(sessions)), nan)
        inside[:, places] = values[:, places] if places and seeds else nan
        cell = Cell.of(inside)
        if cell.seeds:
            cells.append((respect, label, places, cell))
    # Each group by itself: how much seeds differ depends on how many sessions it has.
    return [
        Group(
            respect,
            label,
            estimate_cells([cell], resampling, within=(0, 1))[0],
            count_errors((sessions[at] for at in places), seeds),
        )
        for respect, label, places, cell in cells
    ]


def _pair_f1(session: Session, seed: Answers) -> float:
    return pair_f1(true_bundles(session), seed[session.id] or ()) if session.id in seed else nan


def _by_products(sessions: Sequence[Session]) -> list[tuple[str, list[int]]]:
    sizes = [len(session.items) for session in sessions]
    found = []
    for each in histogram(Counter(sizes), _MOST_LENGTHS):
        places = [at for at, size in enumerate(sizes) if each.low <= size <= (each.high or size)]
        if places:
            # A round range may reach beyond what there is.
            there = [sizes[at] for at in places]
            found.append((Bin(min(there), max(there), len(places)).label, places))
    return found


def _by(labels: Sequence[str], found: Sequence[str]) -> list[tuple[str, list[int]]]:
    places = {label: [at for at, each in enumerate(found) if each == label] for label in labels}
    return [(label, where) for label, where in places.items() if where]


def _overlap(session: Session) -> str:
    overlap = any(one & other for one, other in combinations(true_bundles(session), 2))
    return "some overlap" if overlap else "none overlap"


def _known_categories(session: Session) -> str:
    known = sum(bool(item.categories) for item in session.items)
    if known == len(session.items):
        return "of all products"
    return "of some products" if known else "of no product"
