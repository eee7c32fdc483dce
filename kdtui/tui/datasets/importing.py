"""Tasks that import datasets: from a file or directory, and the demo."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from kdtui.text import counted
from kdtui.tui.core.task import Task

if TYPE_CHECKING:
    from store.dataset_writer import WriteProgress
    from store.sqlite import Database

_COMMITTED = object()
"""What an import yields after its transaction is committed."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """An import that the user has asked for.

    Attributes:
        path: a file or directory; None while the user has named none.
        seed: the random seed of the split, for data without splits.
        replace: whether to replace an existing dataset of this name.
    """

    path: Path | None
    dataset: str
    seed: int
    replace: bool


class Import(Task):
    """Imports a file or directory as a dataset.

    Args:
        request: an import with a path.
    """

    kind: ClassVar[str] = "import"
    action: ClassVar[str] = "screen.import_dataset"
    changes_data: ClassVar[bool] = True

    def __init__(self, database: Path, request: ImportRequest, post: Callable[[Message], object]) -> None:
        self.dataset = request.dataset
        self._written: WriteProgress | None = None

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.data.import_dataset import import_dataset, look_at_source

            path = request.path
            assert path is not None
            # Reading a pipe blocks until its writer writes, and cannot be stopped.
            look_at_source(path)
            yield from import_dataset(db, path, self.dataset, seed=request.seed, replace=request.replace)
            yield _COMMITTED

        super().__init__(f"importing {self.dataset}", database, work, post)
        self._is_committed = False

    def record(self, event: object) -> None:
        """Record how much is written."""
        if event is _COMMITTED:
            self._is_committed = True
        else:
            self._written = event  # type: ignore[assignment]
            assert self._written is not None
            self.step = f"{counted(self._written.sessions, 'session')} so far"

    @property
    def is_done(self) -> bool:
        """Whether the dataset is stored."""
        return self._is_committed

    @property
    def outcome(self) -> str:
        """What was imported."""
        from kdtui.workflows.data.import_dataset import imported_in_words

        assert self._written is not None
        return imported_in_words(self._written, self.dataset)


class DemoImport(Task):
    """Imports the demo datasets with their knowledge."""

    kind: ClassVar[str] = "demo"
    action: ClassVar[str] = "screen.import_demo"
    changes_data: ClassVar[bool] = True

    def __init__(self, database: Path, post: Callable[[Message], object]) -> None:
        self._sentences: list[str] = []
        self._is_committed = False

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.demo import import_demo

            yield from import_demo(db)
            yield _COMMITTED

        super().__init__("importing the demo", database, work, post)

    def record(self, event: object) -> None:
        """Record a finished step."""
        if event is _COMMITTED:
            self._is_committed = True
        else:
            self.step = event.sentence  # type: ignore[attr-defined]
            self._sentences.append(self.step)

    @property
    def is_done(self) -> bool:
        """Whether all of the demo is stored."""
        return self._is_committed

    @property
    def outcome(self) -> str:
        """What was imported."""
        return "the demo is imported: the datasets demo-outdoor and demo-kitchen, with their knowledge"

    @property
    def details(self) -> str:
        """The steps, in order."""
        return "\n".join(self._sentences)

    @property
    def when_stopped(self) -> str:
        """What a stopped import leaves behind."""
        return "the import of the demo was stopped; finished steps are kept, and the next import completes it"
