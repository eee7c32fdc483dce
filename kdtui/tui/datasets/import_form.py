"""The form that imports a dataset: from where, under which name, and what it would take the place of."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import Field
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import ask_store, sentence_of
from kdtui.tui.core.task import Task
from kdtui.tui.core.task_form import TaskForm
from kdtui.tui.datasets.importing import Import
from kdtui.tui.widgets.path_input import typed_path

if TYPE_CHECKING:
    from store.sqlite import Database


class Looked(Message):
    """It is known what is at a path, and what a dataset of a name holds."""

    def __init__(self, path: str, source: str, name: str, contents: str) -> None:
        super().__init__()
        self.path, self.source, self.name, self.contents = path, source, name, contents


class ImportForm(TaskForm):
    """Asks what to import, and shows how far it is. The name is that of the file, as long as nobody writes another.

    Args:
        datasets: those that there are.
        named_database: how a command names the store.
    """

    def __init__(self, app: Services, datasets: Sequence[str], named_database: Path | None) -> None:
        self._datasets, self._database, self._named_database = datasets, app.database, named_database
        # What is known of a path, and of a dataset that would be replaced.
        self._looked: Looked | None = None

        def show(task: Task) -> None:
            assert isinstance(task, Import)
            app.show_dataset(task.dataset)

        super().__init__(
            "Import a dataset",
            (
                Field("path", "From", "path", help="A BundleRec directory or a JSON Lines file; tab completes."),
                Field("name", "Name", help="of the dataset"),
                Field("seed", "Seed", value="0", help="of the split 7:1:2, for data that names no splits"),
                Field("replace", "Replace", "switch", help="a dataset of this name, with all that belongs to it"),
            ),
            verb="Import it",
            begin=lambda values: Import(app.database, values, app.post_message),
            then=show,
            check=self._problem,
            command=self._command,
            follow=_followed,
            task=app.tasks.get(Import.kind),
        )

    def _problem(self, values: Mapping[str, str]) -> str | None:
        name = values["name"].strip()
        if not values["path"].strip():
            return "say what to import"
        if not name:
            return "give the dataset a name"
        if not values["seed"].strip().lstrip("-").isdecimal():
            return "a seed is a whole number"
        if name in self._datasets and not values["replace"]:
            return f"there is a dataset {name!r} already; choose another name, or have it replaced"
        if name not in self._datasets and values["replace"]:
            return f"there is no dataset {name!r} to be replaced"
        return None

    def _command(self, values: Mapping[str, str]) -> str:
        seed = values["seed"].strip()
        words = ("data", "import", "--replace") if values["replace"] else ("data", "import")
        path = str(typed_path(values["path"])) if values["path"].strip() else "PATH"
        options = {"--dataset": values["name"].strip() or "NAME", "--seed": None if seed == "0" else seed}
        return command_line(words, path, options, database=self._named_database)

    def note_on(self, values: Mapping[str, str]) -> str:
        """What is at the path, and what would be replaced."""
        said = super().note_on(values)
        if self.work is not None and not self.work.is_over:
            return said
        path, name = values["path"].strip(), values["name"].strip()
        known = self._looked
        if known is None or (known.path, known.name) != (path, name):
            self._look(path, name)
        parts = [said] if said else []
        if known is not None and known.path == path and known.source:
            parts.append(known.source)
        if known is not None and known.name == name and known.contents:
            which = f"It takes the place of {name}, which has" if values["replace"] else f"{name} has"
            parts.append(f"{which} {known.contents}")
        return ". ".join(parts)

    def _look(self, path: str, name: str) -> None:
        self.run_worker(partial(self._look_in_thread, path, name), thread=True, exclusive=True, group="look")

    def _look_in_thread(self, path: str, name: str) -> None:
        try:
            source = _what_is_at(path) if path else ""
            contents = ask_store(self._database, partial(_what_has, name)) if name in self._datasets else ""
        except Exception as error:
            source, contents = sentence_of(error)[0], ""
        self.post_message(Looked(path, source, name, contents))

    def on_looked(self, message: Looked) -> None:
        """Say so."""
        self._looked = message
        self.show()


def _followed(before: Mapping[str, str], values: Mapping[str, str]) -> tuple[dict[str, str], str] | None:
    """The name follows the path until somebody writes another."""
    if values["path"] != before["path"] and before["name"] == _name_of(before["path"]):
        return {"name": _name_of(values["path"])}, ""
    return None


def _name_of(path: str) -> str:
    name = Path(path.strip()).name
    return name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")


def _what_is_at(path: str) -> str:
    from kdtui.workflows.data.import_dataset import look_at_source

    source = look_at_source(typed_path(path))
    splits = {
        True: "it says which splits its sessions are in",
        False: "sessions with bundles are split 7:1:2 by the seed",
        None: "sessions without a split are split 7:1:2 by the seed",
    }[source.has_splits]
    return f"{source.format}; {splits}"


def _what_has(name: str, db: "Database") -> str:
    from kdtui.workflows.data.import_dataset import what_goes_with
    from store.dataset_contents import dataset_contents

    return what_goes_with(dataset_contents(db, name))
