"""The form that imports a dataset from a file or directory."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, FollowUp, seed_number
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import ask_store, sentence_of
from kdtui.tui.core.task import Task
from kdtui.tui.core.task_form import TaskDialog, TaskForm
from kdtui.tui.datasets.importing import Import, ImportRequest
from kdtui.tui.widgets.path_input import typed_path

if TYPE_CHECKING:
    from store.sqlite import Database


class ImportForm(TaskForm[ImportRequest]):
    """Asks what to import. The name follows that of the file until the user types another.

    Args:
        datasets: names of the existing datasets.
        named_database: the store, if commands have to name it.
    """

    title, verb = "Import a dataset", "Import"

    def __init__(self, app: Services, datasets: Sequence[str], named_database: Path | None) -> None:
        self._app, self._datasets, self._named_database = app, datasets, named_database

    @property
    def fields(self) -> Sequence[Field]:
        """The path, the name, the seed of the split, and whether to replace a dataset."""
        return (
            Field("path", "From", "path", help="A BundleRec directory or a JSON Lines file; tab completes."),
            Field("name", "Name", help="of the dataset"),
            Field("seed", "Seed", value="0", help="of the split 7:1:2, for data without splits"),
            Field("replace", "Replace", "switch", help="an existing dataset of this name, with all that belongs to it"),
        )

    def parse(self, values: Mapping[str, str]) -> ImportRequest:
        """Return the import that the values describe.

        Raises:
            KdtuiError: the seed is not a whole number.
        """
        path = values["path"].strip()
        return ImportRequest(
            typed_path(path) if path else None,
            values["name"].strip(),
            seed_number(values["seed"]),
            bool(values["replace"]),
        )

    def problem(self, parsed: ImportRequest) -> str | None:
        """Return what is missing, or why the name does not fit."""
        name = parsed.dataset
        if parsed.path is None:
            return "say what to import"
        if not name:
            return "give the dataset a name"
        if name in self._datasets and not parsed.replace:
            return f"there is a dataset {name!r} already; choose another name, or replace it"
        if name not in self._datasets and parsed.replace:
            return f"there is no dataset {name!r} to replace"
        return None

    def command(self, parsed: ImportRequest) -> str:
        """Return the command that imports the same."""
        words = ("data", "import", "--replace") if parsed.replace else ("data", "import")
        options = {"--dataset": parsed.dataset or "NAME", "--seed": str(parsed.seed) if parsed.seed else None}
        return command_line(words, str(parsed.path or "PATH"), options, database=self._named_database)

    def follow(self, before: Mapping[str, str], after: Mapping[str, str]) -> FollowUp | None:
        """Name the dataset after the path until the user types another name."""
        if after["path"] != before["path"] and before["name"] == _name_of(before["path"]):
            return FollowUp({"name": _name_of(after["path"])})
        return None

    def start(self, parsed: ImportRequest) -> Import:
        return Import(self._app.database, parsed, self._app.post_message)

    def show_outcome(self, task: Task) -> None:
        """Show the sessions of the new dataset."""
        assert isinstance(task, Import)
        self._app.show_dataset(task.dataset)


class ImportDialog(TaskDialog[ImportRequest]):
    """The dialog of the import. It says what is at the path, and what the dataset to replace holds."""

    class Inspected(Message):
        """The path and the existing dataset have been inspected."""

        def __init__(self, path: str, source: str, name: str, contents: str) -> None:
            super().__init__()
            self.path, self.source, self.name, self.contents = path, source, name, contents

    def __init__(self, app: Services, datasets: Sequence[str], named_database: Path | None) -> None:
        super().__init__(ImportForm(app, datasets, named_database), task=app.tasks.get(Import.kind))
        self._datasets, self._database = datasets, app.database
        self._inspected: ImportDialog.Inspected | None = None

    def remark_on(self, values: Mapping[str, str], parsed: ImportRequest | None) -> str:
        """Return what is at the path, and what the dataset of this name holds."""
        remark = super().remark_on(values, parsed)
        if self.is_locked:
            return remark
        path, name = values["path"].strip(), values["name"].strip()
        known = self._inspected
        if known is None or (known.path, known.name) != (path, name):
            self.run_worker(partial(self._inspect, path, name), thread=True, exclusive=True, group="inspect")
        parts = [remark] if remark else []
        if known is not None and known.path == path and known.source:
            parts.append(known.source)
        if known is not None and known.name == name and known.contents:
            subject = f"It replaces {name}, which has" if values["replace"] else f"{name} has"
            parts.append(f"{subject} {known.contents}")
        return ". ".join(parts)

    def _inspect(self, path: str, name: str) -> None:
        """Inspect the path and the dataset; for a thread."""
        try:
            source = _describe_source(path) if path else ""
            contents = ask_store(self._database, partial(_contents_of, name)) if name in self._datasets else ""
        except Exception as error:
            source, contents = sentence_of(error)[0], ""
        self.post_message(self.Inspected(path, source, name, contents))

    def on_import_dialog_inspected(self, message: Inspected) -> None:
        """Show the note."""
        self._inspected = message
        self.show()


def _name_of(path: str) -> str:
    name = Path(path.strip()).name
    return name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")


def _describe_source(path: str) -> str:
    from kdtui.workflows.data.import_dataset import look_at_source

    source = look_at_source(typed_path(path))
    splits = {
        True: "it names the splits of its sessions",
        False: "sessions with bundles are split 7:1:2 by the seed",
        None: "sessions without a split are split 7:1:2 by the seed",
    }[source.has_splits]
    return f"{source.format}; {splits}"


def _contents_of(name: str, db: "Database") -> str:
    from kdtui.workflows.data.import_dataset import what_goes_with
    from store.dataset_contents import dataset_contents

    return what_goes_with(dataset_contents(db, name))
