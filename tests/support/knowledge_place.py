"""The place Knowledge: its list, its search, and what it says about its state."""

from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.hits_table import HitsTable
from tests.support.acting import act
from tests.support.screens import Settle


def table(app: KdtuiApp) -> HitsTable:
    return app.screen.query_one("#knowledge", HitsTable)


def cells(app: KdtuiApp, column: int) -> list[str]:
    rows = [table(app).row_at(number) for number in range(table(app).row_count)]
    return [str(row.cells[column]) for row in rows if row is not None]


def statements(app: KdtuiApp) -> list[str]:
    return cells(app, 2)


def text(app: KdtuiApp, selector: str) -> str:
    content = app.screen.query_one(selector, Static).content
    console = Console(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(content)
    return console.export_text()


def state(app: KdtuiApp) -> str:
    return text(app, "#state").strip()


def typed(words: str) -> list[str]:
    return ["space" if each == " " else each for each in words]


async def search(pilot: Pilot[None], words: str, settle: Settle) -> None:
    await act(pilot, "knowledge.search")
    await pilot.press(*typed(words))
    await act(pilot, "search.leave_search")
    await settle(pilot)


HOSTILE = "[red]x[/red] [/] \x1b[31m\u202eturned\u202c two\nlines e\u0301\u0301\u0301 漢字 👩‍👩‍👧 " + "y" * 10_000
