"""What every screen has: messages, a notice, a table, a form, and the command that does the same."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Checkbox, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.widgets.row_table import RowTable
from store.records import Session
from tests.support.acting import rest

MakeStore = Callable[[Sequence[Session]], Path]
"""Makes a store with these sessions."""

Settle = Callable[[Pilot[None]], Awaitable[None]]
"""Waits until the app asks the store nothing more."""

Until = Callable[[Pilot[None], Callable[[], bool]], Awaitable[None]]
"""Waits until a condition is true."""


def toasts(app: App[Any]) -> list[str]:
    """Return the current notifications."""
    return [note.message for note in app._notifications]


def messages(app: KdtuiApp) -> str:
    """Return all messages of the app so far, and the current notifications, in lines."""
    return "\n".join([*(said.sentence for said in app.past_messages), *toasts(app)])


def content_of(app: App[Any], selector: str) -> str:
    """Return the content of a widget, even of a hidden one."""
    return str(app.screen.query_one(selector, Static).content)


def shown(app: App[Any], selector: str) -> str:
    """Return the content of a widget; "" if it is hidden."""
    return content_of(app, selector) if app.screen.query_one(selector).display else ""


def notice(app: App[Any]) -> str:
    """Return what a screen says if its table is empty; "" otherwise."""
    return shown(app, "#notice")


def command(app: App[Any]) -> str:
    """Return the command that does what the screen shows."""
    found = app.screen.command  # type: ignore[attr-defined]
    assert isinstance(found, str)
    return found


def dialog_command(app: App[Any]) -> str:
    """Return the command as a dialog shows it, after a prompt."""
    return content_of(app, "#dialog-command")


def table(app: App[Any]) -> RowTable:
    """Return the only table of a screen."""
    return app.screen.query_one(RowTable)


def rows(app: App[Any], selector: str = "RowTable") -> list[list[str]]:
    """Return the cells of a table that are loaded, row by row."""
    widget = app.screen.query_one(selector, RowTable)
    found = (widget.row_at(number) for number in range(widget.row_count))
    return [[str(cell) for cell in row.cells] for row in found if row is not None]


def cells(app: App[Any], number: int) -> list[str]:
    """Return the cells of a row of the only table of a screen; the row has to be loaded."""
    row = table(app).row_at(number)
    assert row is not None
    return [str(cell) for cell in row.cells]


def column(app: App[Any], number: int, selector: str = "RowTable") -> list[str]:
    """Return the cells of a column that are loaded."""
    return [row[number] for row in rows(app, selector)]


def text_of(widget: Static, width: int = 200) -> str:
    """Return what a widget looks like as text, with tables drawn."""
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(widget.content, markup=False)
    return captured.get()


def printed(app: App[Any], selector: str) -> str:
    """Return what a widget, even a hidden one, looks like where it is so wide that no line wraps."""
    return text_of(app.screen.query_one(selector, Static), 500)


async def fill(pilot: Pilot[Any], **values: str) -> None:
    """Fill in fields of a form in turn, as `learning_rate="0.1"`; "yes" ticks a box and "" clears it."""
    for name, value in values.items():
        widget: Any = pilot.app.screen.query_one(f"#field-{name}")
        widget.value = value == "yes" if isinstance(widget, Checkbox) else value
        await rest(pilot)
