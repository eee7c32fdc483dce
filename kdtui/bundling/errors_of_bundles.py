"""What is wrong with a predicted bundle, in the five types of AICL (Sun et al., SIGIR 2024)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from kdtui.bundling.metrics import Bundles

ErrorType: TypeAlias = Literal["correct", "invalid", "irrelevant", "missing", "single"]
"""It equals a true bundle; it has no product of any; it has products too many; it lacks some; it has one only."""

ERROR_TYPES: tuple[ErrorType, ...] = get_args(ErrorType)


@dataclass(frozen=True, slots=True)
class Judged:
    """A predicted bundle beside the true one that is most like it.

    Attributes:
        types: one, or both "irrelevant" and "missing".
        nearest: the number of that true bundle; None for one that is invalid, or has only one product.
        extra: positions that do not belong to it.
        lacking: positions that belong to it too.
    """

    types: tuple[ErrorType, ...]
    nearest: int | None = None
    extra: frozenset[int] = frozenset()
    lacking: frozenset[int] = frozenset()


def judge(truth: Bundles, predicted: frozenset[int]) -> Judged:
    """Find the true bundle that is most like a predicted one, by the Jaccard index, and what the two do not share."""
    if len(predicted) < 2:
        return Judged(("single",))
    nearest = max(
        range(len(truth)),
        key=lambda number: len(truth[number] & predicted) / len(truth[number] | predicted),
        default=None,
    )
    if nearest is None or not truth[nearest] & predicted:
        return Judged(("invalid",))
    extra, lacking = predicted - truth[nearest], truth[nearest] - predicted
    types: list[ErrorType] = []
    if extra:
        types.append("irrelevant")
    if lacking:
        types.append("missing")
    return Judged(tuple(types) or ("correct",), nearest, extra, lacking)


def not_found(truth: Bundles, predicted: Bundles) -> list[int]:
    """The numbers of the true bundles of which no predicted one has any product."""
    return [number for number, true in enumerate(truth) if not any(true & bundle for bundle in predicted)]
