"""The scores of two runs on many sessions, in some tens of bytes per session."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload


@dataclass(frozen=True, slots=True)
class SessionScores:
    """The scores of two runs on a session: pair F1 of each, and whether its bundles are exactly the true ones.

    Attributes:
        products, bundles: of the session.
    """

    session: str
    products: int
    bundles: int
    f1: tuple[float, float]
    exact: tuple[bool, bool]

    @property
    def difference(self) -> float:
        """How much better the second run is."""
        return self.f1[1] - self.f1[0]


_Key: TypeAlias = Callable[[SessionScores], float | str]


class ComparedSessions(Sequence[SessionScores]):
    """The scores of sessions, in the order of insertion or sorted."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._products, self._bundles = array("q"), array("q")
        self._f1 = array("d"), array("d")
        self._exact = bytearray(), bytearray()
        self._order: array[int] | None = None

    def add(self, row: SessionScores) -> None:
        """Add a session. Only sorted views that are made afterwards contain it."""
        self._ids.append(row.session)
        self._products.append(row.products)
        self._bundles.append(row.bundles)
        for which in (0, 1):
            self._f1[which].append(row.f1[which])
            self._exact[which].append(row.exact[which])

    def in_order(self, key: _Key, *, descending: bool = False) -> "ComparedSessions":
        """Return the same sessions, sorted; equal ones keep the order of insertion."""
        view = ComparedSessions()
        view._ids, view._products, view._bundles = self._ids, self._products, self._bundles
        view._f1, view._exact = self._f1, self._exact
        every = range(len(self._ids))
        view._order = array("q", sorted(every, key=lambda number: key(self._added(number)), reverse=descending))
        return view

    def __len__(self) -> int:
        return len(self._ids if self._order is None else self._order)

    @overload
    def __getitem__(self, at: int) -> SessionScores: ...

    @overload
    def __getitem__(self, at: slice) -> list[SessionScores]: ...

    def __getitem__(self, at: int | slice) -> SessionScores | list[SessionScores]:
        numbers = range(len(self._ids)) if self._order is None else self._order
        if isinstance(at, slice):
            return [self._added(number) for number in numbers[at]]
        return self._added(numbers[at])

    def _added(self, number: int) -> SessionScores:
        return SessionScores(
            self._ids[number],
            self._products[number],
            self._bundles[number],
            (self._f1[0][number], self._f1[1][number]),
            (bool(self._exact[0][number]), bool(self._exact[1][number])),
        )
