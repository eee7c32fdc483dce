"""Finding a row of a short list by its words."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from kdtui.tui.app import KdtuiApp
from kdtui.tui.memory import Memory
from kdtui.tui.screens.find import FindScreen
from kdtui.tui.widgets.row_table import RowTable
from store.database import open_database
from store.samples import save_sample
from tests.acting import act

Settle = Callable[[Pilot[None]], Awaitable[None]]

NAMES = ("few rules", "half of it", "many rules", "red [b]Rules[/]")


@pytest.fixture
def app(demo_store: Path) -> KdtuiApp:
    """The app in the place Samples, with four samples."""
    db = open_database(demo_store)
    for name in NAMES:
        save_sample(db, name, [], [1], replace=False)
    db.close()
    memory = Memory(None, demo_store)
    memory.place = "samples"
    return KdtuiApp(demo_store, memory=memory)


def found(app: KdtuiApp) -> str | None:
    """The sample under the cursor."""
    return app.screen_stack[0].query_one(RowTable).cursor_key


async def test_the_cursor_goes_to_the_rows_that_have_the_words(app: KdtuiApp, settle: Settle) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        first = found(app)
        await act(pilot, "rows.find_row")
        await pilot.press(*"RULES")
        with_words = []
        for _ in range(4):
            with_words.append(found(app))
            await act(pilot, "find.next")
        assert sorted(map(str, with_words[:3])) == ["few rules", "many rules", "red [b]Rules[/]"]
        assert with_words[3] == with_words[0], "behind the last comes the first"
        await act(pilot, "find.previous")
        assert found(app) == with_words[0]
        await act(pilot, "find.close")
        assert not isinstance(app.screen, FindScreen)
        assert found(app) == first


async def test_the_cursor_stays_where_it_was_found_and_where_nothing_is_that_is_said(
    app: KdtuiApp, settle: Settle
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "rows.find_row")
        await pilot.press(*"half it")
        assert found(app) == "half of it"
        await pilot.press("x")
        assert "no row has that" in str(app.screen.query_one("#found").render())
        app.screen.query_one(Input).value = "many"
        await pilot.press("enter")
        assert not isinstance(app.screen, FindScreen)
        assert found(app) == "many rules"


async def test_where_there_are_no_rows_it_is_said(demo_store: Path, settle: Settle) -> None:
    memory = Memory(None, demo_store)
    memory.place = "samples"
    app = KdtuiApp(demo_store, memory=memory)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "rows.find_row")
        assert not isinstance(app.screen, FindScreen)
        assert any("there are no rows" in str(each.message) for each in app._notifications)
