"""The text in which a student writes the bundles of a session, and what it can write next at every point.

One line per bundle: the numbers of its products in ascending order, a colon, and the intent:

    1,3,10: weekend camping
    2,4: phone protection

A student that keeps to `BundleList.choices` always writes a valid list: each number exists, no bundle has fewer than
two products or a product twice, no two bundles are equal, and the end can be reached from everywhere.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WrittenBundle:
    """A bundle as a student writes it.

    Attributes:
        number: index of the bundle in the session, from 0; a later value with the same number replaces this one.
        positions: product numbers in the session, 1-based, ascending.
        intent: as far as it is written.
        confidence: the student's probability of these positions, 0..1.
        complete: False while the intent is still growing.
    """

    number: int
    positions: tuple[int, ...]
    intent: str
    confidence: float
    complete: bool


class BundleList:
    """A list of bundles while it is being written, for a session of two or more products (numbered from 1)."""

    def __init__(self, products: int) -> None:
        if products < 2:
            raise ValueError("a bundle needs two products")
        self.products = products
        self.finished: list[tuple[int, ...]] = []

    def choices(self, begun: tuple[int, ...]) -> list[str]:
        """Return what can follow these numbers of a bundle: a number with `,` or `:`; no choice is a prefix of another.

        After a choice that ends in a colon comes the intent, which is free text up to the end of the line.
        """
        choices = []
        for number in range(begun[-1] + 1 if begun else 1, self.products + 1):
            bundle = (*begun, number)
            if len(bundle) > 1 and bundle not in self.finished:
                choices.append(f"{number}:")
            if self._can_be_continued(bundle):
                choices.append(f"{number},")
        return choices

    @property
    def can_continue(self) -> bool:
        """Whether another bundle can follow: at most as many as there are disjoint pairs, so that the list ends."""
        return len(self.finished) < self.products // 2

    def _can_be_continued(self, bundle: tuple[int, ...]) -> bool:
        """Tell whether there is an unwritten bundle that starts with these numbers and has more."""
        possible: int = 2 ** (self.products - bundle[-1]) - 1
        written = sum(len(other) > len(bundle) and other[: len(bundle)] == bundle for other in self.finished)
        return written < possible


def longest_bundle(products: int) -> str:
    """Return the numbers of the longest bundle of a session, as written: the maximum that one more bundle can cost."""
    return ",".join(map(str, range(1, products + 1))) + ":"
