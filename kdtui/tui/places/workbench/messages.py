"""The search for sessions, and the messages about the data of the workbench."""

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """A search for sessions. It counts the typed sessions, so that a new one makes a different query."""

    dataset: str | None
    text: str
    typed: int


@dataclass(frozen=True, slots=True)
class SessionTarget:
    """The session that another place wants to open.

    Attributes:
        dataset: its dataset.
        number: its number in the store.
        index: its index in the dataset.
    """

    dataset: str
    number: int
    index: int


@dataclass(frozen=True, slots=True)
class WorkbenchData:
    """What the workbench loads from the store.

    Attributes:
        names: the names of all datasets.
        named_database: the store, if commands have to name it.
        target: the session to open.
        problem: why there is no such session.
    """

    names: list[str]
    named_database: Path | None
    target: SessionTarget | None = None
    problem: str = ""


class WorkbenchDataLoaded(Message):
    """The datasets are loaded."""

    def __init__(self, data: WorkbenchData) -> None:
        super().__init__()
        self.data = data


class SessionWanted(Message):
    """Another place wants to open a session."""

    def __init__(self, dataset: str, session: str, came_from: str) -> None:
        super().__init__()
        self.dataset, self.session, self.came_from = dataset, session, came_from
