"""One session's predicted bundles against its true ones: what is right, too much, lacking, and what nobody found."""

from dataclasses import dataclass

from kdtui.bundling.metrics import Bundles, pairs


@dataclass(frozen=True, slots=True)
class Match:
    """A predicted bundle against the true one that it has most in common with.

    Attributes:
        true: the number of that one; None where no true bundle has two of its products.
        extra: positions that do not belong to it.
        lacking: positions that belong to it too.
    """

    true: int | None
    extra: tuple[int, ...] = ()
    lacking: tuple[int, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether the bundle is exactly a true one."""
        return self.true is not None and not self.extra and not self.lacking


def match(truth: Bundles, predicted: frozenset[int]) -> Match:
    """Find the true bundle that shares most with a predicted one, by the Jaccard index; of equals, the first."""
    best: tuple[float, int] | None = None
    for number, true in enumerate(truth):
        common = len(true & predicted)
        likeness = common / len(true | predicted)
        if common > 1 and (best is None or likeness > best[0]):
            best = (likeness, number)
    if best is None:
        return Match(None)
    true = truth[best[1]]
    return Match(best[1], tuple(sorted(predicted - true)), tuple(sorted(true - predicted)))


def differing(one: Bundles, other: Bundles) -> tuple[list[int], list[int]]:
    """The numbers of the bundles that the one has alone, and of those that the other has alone."""
    return (
        [number for number, bundle in enumerate(one) if bundle not in other],
        [number for number, bundle in enumerate(other) if bundle not in one],
    )


def pair_counts(truth: Bundles, predicted: Bundles) -> tuple[int, int, int]:
    """Of one session, how many pairs of products are right, too much, and lacking."""
    true_pairs, predicted_pairs = pairs(truth), pairs(predicted)
    return (
        len(true_pairs & predicted_pairs),
        len(predicted_pairs - true_pairs),
        len(true_pairs - predicted_pairs),
    )
