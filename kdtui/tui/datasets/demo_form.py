"""The dialog that imports the demo datasets: it starts at once and shows the progress."""

from collections.abc import Mapping, Sequence

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.core.task import Task
from kdtui.tui.core.task_form import TaskDialog, TaskForm
from kdtui.tui.datasets.importing import DemoImport

_FIRST_DATASET = "demo-outdoor"
"""The dataset that is shown after the import."""


class DemoForm(TaskForm[tuple[()]]):
    """A form without fields."""

    title, verb = "The demo: two small datasets of invented products, with knowledge of all formats", "Import"

    def __init__(self, app: Services) -> None:
        self._app = app

    @property
    def fields(self) -> Sequence[Field]:
        """No fields."""
        return ()

    def parse(self, values: Mapping[str, str]) -> tuple[()]:  # noqa: ARG002
        """Return nothing: there is nothing to choose."""
        return ()

    def command(self, parsed: tuple[()]) -> str:  # noqa: ARG002
        """Return the command that imports the demo."""
        return command_line(("demo", "--data-only"), database=named_database(self._app.database))

    def start(self, parsed: tuple[()]) -> DemoImport:  # noqa: ARG002
        return DemoImport(self._app.database, self._app.post_message)

    def show_outcome(self, task: Task) -> None:  # noqa: ARG002
        """Show the sessions of the first dataset."""
        self._app.show_dataset(_FIRST_DATASET)


def demo_dialog(app: Services) -> TaskDialog[tuple[()]]:
    """Return the dialog; it shows an import that is already running."""
    return TaskDialog(DemoForm(app), task=app.tasks.get(DemoImport.kind), at_once=True)
