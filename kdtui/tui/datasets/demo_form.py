"""The demo is imported: how far that is, and the command that does the same."""

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.core.task_form import TaskForm
from kdtui.tui.datasets.importing import DemoImport

FIRST = "demo-outdoor"
"""The dataset that is shown when the demo is there."""


def demo_form(app: Services) -> TaskForm:
    """A form without fields: the import begins at once."""
    return TaskForm(
        "The demo: two small datasets of invented products, with knowledge of all formats",
        (),
        verb="Import it",
        begin=lambda _: DemoImport(app.database, app.post_message),
        then=lambda _: app.show_dataset(FIRST),
        command=lambda _: command_line(("demo", "--data-only"), database=named_database(app.database)),
        task=app.tasks.get(DemoImport.kind),
        at_once=True,
    )
