"""The place Workbench: its list of sessions, and sessions that a user types."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot
from textual.widgets import TextArea

from kdtui.tui.app import KdtuiApp
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.widgets.readable import Readable
from store.records import Item, Session
from tests.support.acting import act, rest
from tests.support.screens import Settle, column, content_of


@asynccontextmanager
async def workbench(app: KdtuiApp, settle: Settle, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[None]]:
    """Open the app at the workbench."""
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await act(pilot, "app.workbench")
        await settle(pilot)
        yield pilot


def session_ids(app: KdtuiApp) -> list[str]:
    """Return the ids of the listed sessions that are loaded."""
    return column(app, 0)


def readable_text(app: KdtuiApp) -> str:
    """Return all lines of a text that can be scrolled."""
    readable = app.screen.query_one(Readable)
    return "\n".join(readable.text_at(number) for number in range(readable.row_count))


def session_title(app: KdtuiApp) -> str:
    """Return the title of the open session."""
    assert isinstance(app.screen, SessionScreen)
    return content_of(app, "#title")


def short_sessions(count: int) -> list[Session]:
    """Return sessions of one product each."""
    return [Session(f"s{number:04}", (Item(f"i{number}", f"Thing {number}"),)) for number in range(count)]


async def type_session(pilot: Pilot[None], settle: Settle, text: str) -> None:
    """Fill in the form for sessions of one's own, and accept it."""
    await act(pilot, "workbench.type_session")
    await settle(pilot)
    pilot.app.screen.query_one(TextArea).text = text
    await rest(pilot)
    await act(pilot, "form.done")
    await settle(pilot)
