"""Comparison of one session's predicted bundles with its true ones: which products are right, extra or missing."""

from dataclasses import dataclass

from kdtui.bundling.metrics import Bundles, pairs


@dataclass(frozen=True, slots=True)
class BundleMatch:
    """A predicted bundle and the true bundle that it has most in common with.

    Attributes:
        true: number of that true bundle; None if no true bundle has two of the predicted products.
        extra: positions that do not belong to the true bundle.
        lacking: positions of the true bundle that the prediction lacks.
    """

    true: int | None
    extra: tuple[int, ...] = ()
    lacking: tuple[int, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether the bundle equals a true one."""
        return self.true is not None and not self.extra and not self.lacking


def match_bundle(truth: Bundles, predicted: frozenset[int]) -> BundleMatch:
    """Find the true bundle most similar to a predicted one by the Jaccard index; on a tie, the first."""
    best: tuple[float, int] | None = None
    for number, true in enumerate(truth):
        common = len(true & predicted)
        likeness = common / len(true | predicted)
        if common > 1 and (best is None or likeness > best[0]):
            best = (likeness, number)
    if best is None:
        return BundleMatch(None)
    true = truth[best[1]]
    return BundleMatch(best[1], tuple(sorted(predicted - true)), tuple(sorted(true - predicted)))


def bundle_differences(one: Bundles, other: Bundles) -> tuple[list[int], list[int]]:
    """Return the numbers of the bundles that only `one` has, and of those that only `other` has."""
    return (
        [number for number, bundle in enumerate(one) if bundle not in other],
        [number for number, bundle in enumerate(other) if bundle not in one],
    )


def pair_counts(truth: Bundles, predicted: Bundles) -> tuple[int, int, int]:
    """Count the pairs of products of one session that are right, extra and missing."""
    true_pairs, predicted_pairs = pairs(truth), pairs(predicted)
    return (
        len(true_pairs & predicted_pairs),
        len(predicted_pairs - true_pairs),
        len(true_pairs - predicted_pairs),
    )
