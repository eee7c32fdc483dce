"""Datasets that are imported in the app: from a path, or those of the demo."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from kdtui.text import counted
from kdtui.tui.core.task import Task
from kdtui.tui.widgets.path_input import typed_path

if TYPE_CHECKING:
    from store.dataset_writer import WriteProgress
    from store.sqlite import Database


class Import(Task):
    """A file or directory becomes a dataset.

    Args:
        values: `path`, `name`, `seed`, and `replace`, which is "yes" or empty.
    """

    kind: ClassVar[str] = "import"
    action: ClassVar[str] = "screen.import_dataset"
    changes_data: ClassVar[bool] = True

    def __init__(self, database: Path, values: Mapping[str, str], post: Callable[[Message], object]) -> None:
        self.dataset = values["name"].strip()
        self._written: WriteProgress | None = None
        path, seed, replace = typed_path(values["path"]), int(values["seed"]), bool(values["replace"])

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.data.import_dataset import import_dataset, look_at_source

            # Who reads a pipe waits for who writes it, and cannot be stopped.
            look_at_source(path)
            yield from import_dataset(db, path, self.dataset, seed=seed, replace=replace)
            # The transaction has ended.
            yield _ALL

        super().__init__(f"importing {self.dataset}", database, work, post, values)
        self._is_whole = False

    def note(self, event: object) -> None:
        """Note how much is written."""
        if event is _ALL:
            self._is_whole = True
        else:
            self._written = event  # type: ignore[assignment]
            assert self._written is not None
            self.step = f"{counted(self._written.sessions, 'session')} so far"

    @property
    def is_done(self) -> bool:
        """Whether the dataset is there."""
        return self._is_whole

    @property
    def outcome(self) -> str:
        """What has been imported."""
        from kdtui.workflows.data.import_dataset import imported_in_words

        assert self._written is not None
        return imported_in_words(self._written, self.dataset)


_ALL = object()
"""What an import yields when all of it is there for good."""


class DemoImport(Task):
    """The demo datasets with their knowledge."""

    kind: ClassVar[str] = "demo"
    action: ClassVar[str] = "screen.import_demo"
    changes_data: ClassVar[bool] = True

    def __init__(self, database: Path, post: Callable[[Message], object]) -> None:
        self._sentences: list[str] = []
        self._is_whole = False

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.demo import import_demo

            yield from import_demo(db)
            yield _ALL

        super().__init__("importing the demo", database, work, post, {})

    def note(self, event: object) -> None:
        """Note what has been done."""
        if event is _ALL:
            self._is_whole = True
        else:
            self.step = event.sentence  # type: ignore[attr-defined]
            self._sentences.append(self.step)

    @property
    def is_done(self) -> bool:
        """Whether all of it is there."""
        return self._is_whole

    @property
    def outcome(self) -> str:
        """What is there now."""
        return "the demo is here: the datasets demo-outdoor and demo-kitchen, with what is known of them"

    @property
    def details(self) -> str:
        """What was done one after the other."""
        return "\n".join(self._sentences)

    @property
    def when_stopped(self) -> str:
        """What is to be said where it was stopped."""
        return "the import of the demo was stopped; what was done is kept, and the next one completes it"
