"""Errors of a predicted bundle, in the five types of AICL (Sun et al., SIGIR 2024)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from kdtui.bundling.metrics import Bundles

ErrorType: TypeAlias = Literal["correct", "invalid", "irrelevant", "missing", "single"]
"""Equal to a true bundle; no product of any; too many products; some products missing; only one product."""

ERROR_TYPES: tuple[ErrorType, ...] = get_args(ErrorType)


@dataclass(frozen=True, slots=True)
class BundleErrors:
    """A predicted bundle compared with the most similar true one.

    Attributes:
        types: one type, or both "irrelevant" and "missing".
        nearest: number of the true bundle; None if the prediction is invalid or has only one product.
        extra: positions that do not belong to the true bundle.
        lacking: positions of the true bundle that the prediction lacks.
    """

    types: tuple[ErrorType, ...]
    nearest: int | None = None
    extra: frozenset[int] = frozenset()
    lacking: frozenset[int] = frozenset()


def find_errors(truth: Bundles, predicted: frozenset[int]) -> BundleErrors:
    """Find the true bundle most similar to a predicted one by the Jaccard index, and the differences."""
    if len(predicted) < 2:
        return BundleErrors(("single",))
    nearest = max(
        range(len(truth)),
        key=lambda number: len(truth[number] & predicted) / len(truth[number] | predicted),
        default=None,
    )
    if nearest is None or not truth[nearest] & predicted:
        return BundleErrors(("invalid",))
    extra, lacking = predicted - truth[nearest], truth[nearest] - predicted
    types: list[ErrorType] = []
    if extra:
        types.append("irrelevant")
    if lacking:
        types.append("missing")
    return BundleErrors(tuple(types) or ("correct",), nearest, extra, lacking)


def missed_bundles(truth: Bundles, predicted: Bundles) -> list[int]:
    """Return the numbers of the true bundles that share no product with any predicted one."""
    return [number for number, true in enumerate(truth) if not any(true & bundle for bundle in predicted)]
