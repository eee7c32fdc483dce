"""The place Knowledge: its list, its search, and what it says about its state."""

from textual.pilot import Pilot

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.hits_table import HitsTable
from tests.support.acting import act
from tests.support.screens import Settle, column, printed


def pieces_table(app: KdtuiApp) -> HitsTable:
    return app.screen.query_one("#knowledge", HitsTable)


def statements(app: KdtuiApp) -> list[str]:
    return column(app, 2)


def state(app: KdtuiApp) -> str:
    return printed(app, "#state").strip()


def typed(words: str) -> list[str]:
    return ["space" if each == " " else each for each in words]


async def search(pilot: Pilot[None], words: str, settle: Settle) -> None:
    await act(pilot, "knowledge.search")
    await pilot.press(*typed(words))
    await act(pilot, "search.leave_search")
    await settle(pilot)


HOSTILE = "[red]x[/red] [/] \x1b[31m\u202eturned\u202c two\nlines e\u0301\u0301\u0301 漢字 👩‍👩‍👧 " + "y" * 10_000
