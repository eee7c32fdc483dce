"""The place Models: its list, the details of a model, and the work on one."""

from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.places.models.screen import ModelsScreen
from store.database import open_database
from store.models import named_models
from tests.support.screens import Settle, table, text_of, toasts


def model_names(store: Path) -> list[str]:
    """Return the names of the models in a store."""
    db = open_database(store)
    found = [model.name for model in named_models(db)]
    db.close()
    return found


def cells_of_model(app: KdtuiApp, name: str) -> list[str]:
    rows = [table(app).row_at(number) for number in range(table(app).row_count)]
    [row] = [row for row in rows if row is not None and row.key == name]
    return [str(cell) for cell in row.cells]


def details(app: KdtuiApp) -> str:
    """Return what the screen says about the model under the cursor, in a line."""
    return " ".join(text_of(app.screen.query_one("#details", Static)).split())


def has_reported(app: KdtuiApp) -> bool:
    """Return whether all work has ended, and its outcome was reported."""
    return isinstance(app.screen, ModelsScreen) and not app.screen.query_one("#work").display and bool(toasts(app))


async def open_model(pilot: Pilot[None], settle: Settle, model: str = "smollm2") -> None:
    """Go to a model in the place Models."""
    await settle(pilot)
    await pilot.press("7")
    await settle(pilot)
    while table(pilot.app).cursor_key != model:
        await pilot.press("j")
    await settle(pilot)
