"""The list of sessions that a session screen goes through."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.tui.places.workbench.typed_sessions import TypedSessions

if TYPE_CHECKING:
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class SessionList:
    """Sessions to go through in order.

    Attributes:
        dataset: the dataset whose knowledge is used; None where there is no dataset.
        numbers: row numbers of the store; typed sessions have negative numbers.
        typed: the typed sessions.
        named_database: the store, if commands have to name it.
    """

    dataset: str | None
    numbers: Sequence[int]
    typed: TypedSessions
    named_database: Path | None

    @classmethod
    def around(
        cls, db: "Database", dataset: str, session: str, named_database: Path | None
    ) -> "tuple[SessionList, int]":
        """Return all sessions of a dataset, and the index of one of them; for threads.

        Raises:
            NotFound: there is no such dataset, or no such session in it.
        """
        from store.session_list import session_hits, session_position

        _, index = session_position(db, dataset, session)
        numbers = array("q")
        for hits in session_hits(db, dataset):
            numbers.extend(hits.ids)
        return cls(dataset, numbers, TypedSessions(), named_database), index
