"""What is known, searched while one types."""

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.table import Table
from textual.pilot import Pilot
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.screens.knowledge import KnowledgeScreen
from kdtui.tui.widgets.flex_table import FlexTable
from store.database import open_database
from store.knowledge import NewKnowledge, replace_knowledge

Settle = Callable[[Pilot[None]], Awaitable[None]]


def statements(app: KdtuiApp) -> list[str]:
    table = app.screen.query_one(FlexTable)
    return [table.get_row_at(row)[2].plain for row in range(table.row_count)]


def detail(app: KdtuiApp) -> list[str]:
    content = app.screen.query_one("#piece", Static).content
    assert isinstance(content, Table)
    return [str(cell) for cell in content.columns[1].cells]


def command(app: KdtuiApp) -> str:
    assert isinstance(app.screen, KnowledgeScreen)
    return app.screen.command


async def test_all_knowledge_is_listed_with_its_measures(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        assert len(statements(app)) == 39
        row = [cell.plain for cell in app.screen.query_one(FlexTable).get_row_at(0)]
        assert row == [
            "pattern",
            "demo-outdoor",
            "Outdoor > Camping + Outdoor > Camping",
            "0.47",
            "0.95",
            "1.90",
            "0.85",
        ]
        assert command(app) == "kdtui knowledge ls"


async def test_the_search_goes_with_the_typing(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("slash", *"sleep bag")
        await settle(pilot)
        assert statements(app)
        assert all("Sleeping Bags" in statement for statement in statements(app))
        assert command(app) == "kdtui knowledge search 'sleep bag'"
        await pilot.press("escape", "1", "2")
        await settle(pilot)
        assert all("Sleeping Bags" in statement for statement in statements(app))


async def test_the_piece_under_the_cursor_is_shown_in_full(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("j")
        await pilot.pause()
        statement, measures, source = detail(app)
        assert statement == statements(app)[1]
        assert "support 0.150" in measures
        assert "teacher annotations" in source


async def test_text_from_outside_is_only_text(demo_store: Path, settle: Settle) -> None:
    statement = "[red]x[/red] \x1b[31m\u202e two\nlines " + "y" * 10_000
    db = open_database(demo_store)
    replace_knowledge(db, "demo-outdoor", "rule", "[b]teacher", [NewKnowledge(statement, "{}")])
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("slash", *'two "x[')
        await settle(pilot)
        assert statements(app)[0].startswith("[red]x[/red] two lines yyy")
        assert detail(app)[1] == "none"
        assert "[b]teacher" in detail(app)[2]


async def test_what_matches_nothing_says_so(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("slash", *"[zz")
        await settle(pilot)
        notice = app.screen.query_one("#notice", Static)
        assert notice.display
        assert "matches “[zz”" in str(notice.content)


async def test_a_dataset_without_knowledge_says_how_to_mine_it(demo_store: Path, settle: Settle) -> None:
    with sqlite3.connect(demo_store) as connection:
        connection.execute("DELETE FROM knowledge")
    connection.close()
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        assert "kdtui knowledge mine --dataset demo-outdoor" in str(app.screen.query_one("#notice", Static).content)
