"""A table with any number of rows, of which a few are in memory."""

from typing import Any

import pytest
from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import PAGE, Column, Row
from tests.support.acting import act, rest
from tests.support.screens import Until

MILLION = 1_000_000
COLUMNS = (
    Column("Name", 8, share=1, sort="name"),
    Column("Size", 6, right=True, sort="size"),
    Column("Remark", 10, wide=True),
)


def row(number: int) -> Row:
    return Row(str(number), (f"row {number}", str(number * 2), "there is room"))


class TableApp(App[None]):
    """An app with a table of this number of rows, which are delivered on request."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.asked: list[int] = []
        self.opened: list[str] = []
        self.sorts: list[str] = []
        self.highlighted: list[str] = []

    def compose(self) -> ComposeResult:
        yield RowTable(COLUMNS, id="table")

    def on_mount(self) -> None:
        self.table.show_count(self.count)
        self.table.focus()

    @property
    def table(self) -> RowTable:
        return self.query_one(RowTable)

    @property
    def lines(self) -> list[str]:
        return ["".join(part.text for part in self.table.render_line(y)) for y in range(self.table.size.height)]

    @on(RowTable.RowsWanted)
    def bring(self, event: RowTable.RowsWanted) -> None:
        self.asked.append(event.first)
        last = min(event.first + event.limit, self.count)
        event.table.put_rows(event.first, [row(number) for number in range(event.first, last)])

    @on(RowTable.RowHighlighted)
    def note(self, event: RowTable.RowHighlighted) -> None:
        # `RowSelected` derives from `RowHighlighted`.
        if not isinstance(event, RowTable.RowSelected):
            self.highlighted.append(event.key)

    @on(RowTable.RowSelected)
    def open(self, event: RowTable.RowSelected) -> None:
        self.opened.append(event.key)

    @on(RowTable.SortWanted)
    def sort(self, event: RowTable.SortWanted) -> None:
        self.sorts.append(event.sort)


async def test_the_last_of_a_million_rows_is_a_key_away_and_few_rows_are_requested() -> None:
    app = TableApp(MILLION)
    async with app.run_test(size=(60, 20)) as pilot:
        await rest(pilot)
        assert app.lines[1].startswith("row 0 ")
        await act(pilot, "table.bottom")
        await rest(pilot)
        assert app.lines[-1].startswith("row 999999 ")
        assert app.highlighted[-1] == "999999"
        await act(pilot, "table.top")
        await rest(pilot)
        assert app.lines[1].startswith("row 0 ")
        assert len(app.asked) <= 6


async def test_the_cursor_moves_by_rows_and_pages_and_stays_in_sight() -> None:
    app = TableApp(1000)
    async with app.run_test(size=(60, 11)) as pilot:
        await rest(pilot)
        await act(pilot, "table.down")
        await act(pilot, "table.down")
        await act(pilot, "table.up")
        assert app.table.cursor_key == "1"
        await act(pilot, "table.page_down")
        assert app.table.cursor_key == "10"
        assert app.lines[-1].startswith("row 10 ")
        await act(pilot, "table.page_up")
        await act(pilot, "table.up")
        await act(pilot, "table.up")
        assert app.table.cursor_key == "0"
        await act(pilot, "table.select")
        assert app.opened == ["0"]


async def test_only_pages_near_the_cursor_stay_in_memory() -> None:
    app = TableApp(MILLION)
    async with app.run_test(size=(60, 20)) as pilot:
        for number in range(0, 200 * PAGE, PAGE):
            app.table.move_to(number)
            await rest(pilot)
        rows_in_memory = sum(len(page) for page in app.table._cache._pages.values())
        assert rows_in_memory <= 85 * PAGE
        assert app.table.cursor_key == str(199 * PAGE)


async def test_a_click_moves_the_cursor_a_double_click_opens_and_a_click_on_a_title_sorts() -> None:
    app = TableApp(50)
    async with app.run_test(size=(60, 20)) as pilot:
        await rest(pilot)
        await pilot.click(RowTable, offset=(2, 4))
        assert app.table.cursor_key == "3"
        await pilot.click(RowTable, offset=(2, 4), times=2)
        assert app.opened == ["3"]
        await pilot.click(RowTable, offset=(2, 0))
        await pilot.click(RowTable, offset=(55, 0))
        assert app.sorts == ["name", "size"]
        app.table.show_sorted("size", descending=True)
        await rest(pilot)
        assert "Size▾" in app.lines[0]


async def test_marks_are_signs_and_not_only_colours() -> None:
    app = TableApp(5)
    async with app.run_test(size=(60, 20)) as pilot:
        await rest(pilot)
        app.table.show_marks(["1", "3"])
        await rest(pilot)
        assert [line.startswith("✓row") for line in app.lines[1:6]] == [False, True, False, True, False]


async def test_a_mark_does_not_cover_a_number() -> None:
    class Numbered(TableApp):
        def compose(self) -> ComposeResult:
            yield RowTable((Column("Run", 4, right=True), Column("Name", 8, share=1)), id="table")

    app = Numbered(2)
    async with app.run_test(size=(60, 20)) as pilot:
        await rest(pilot)
        app.table.put_rows(0, [Row(number, (number, "one")) for number in ("7", "123")])
        app.table.show_marks(["7", "123"])
        await rest(pilot)
        assert app.lines[1].startswith("✓  7 one")
        assert app.lines[2].startswith("✓123 one")


@pytest.mark.parametrize("width", [12, 30, 60, 119, 120, 200])
async def test_columns_share_the_room_and_wide_ones_need_a_wide_table(width: int) -> None:
    app = TableApp(5)
    async with app.run_test(size=(width, 10)) as pilot:
        await rest(pilot)
        assert all(len(line) == width - 1 for line in app.lines)
        assert ("Remark" in app.lines[0]) == (width >= 120)


async def test_a_long_text_of_a_middle_column_loses_its_middle() -> None:
    class Paths(App[None]):
        def compose(self) -> ComposeResult:
            yield RowTable((Column("Path", 15, middle=True),), id="table")

    paths = ["Camping > Fuel", "Outdoor > Camping > Fuel", "Outdoor > Camping > Mats", "青い" * 20, "x" * 1000]
    app = Paths()
    async with app.run_test(size=(17, 10)) as pilot:
        table = app.query_one(RowTable)
        table.show_rows([Row(path, (path,)) for path in paths])
        for marks in ([], paths):
            table.show_marks(marks)
            await rest(pilot)
            lines = [table.render_line(y).text.rstrip() for y in range(1, len(paths) + 1)]
            if marks:
                assert [line[0] for line in lines] == ["✓"] * len(paths)
                assert lines[1].endswith("> Fuel")
            else:
                assert lines == [
                    "Camping > Fuel",
                    "Outdoor… > Fuel",
                    "Outdoor… > Mats",
                    "青い青い…い青い",
                    "x" * 14 + "…",
                ]


async def test_new_rows_keep_the_cursor_on_the_row_of_its_key() -> None:
    app = TableApp(0)
    async with app.run_test(size=(60, 20)) as pilot:
        await rest(pilot)
        app.table.show_rows([row(number) for number in range(10)])
        app.table.move_to(7)
        app.table.show_rows([row(number) for number in range(9, -1, -1)], keep=True)
        assert app.table.cursor_key == "7"
        app.table.show_rows([row(1)], keep=True)
        assert app.table.cursor_key == "1"
        app.table.show_rows([])
        assert app.table.row_count == 0
        await act(pilot, "table.select")
        await act(pilot, "table.bottom")
        assert app.opened == []


async def test_a_table_that_grows_or_shrinks_shows_its_rows() -> None:
    app = TableApp(150)
    async with app.run_test(size=(60, 20)) as pilot:
        await rest(pilot)
        app.count = 1234
        app.table.grow(1234)
        await act(pilot, "table.bottom")
        await rest(pilot)
        assert app.lines[-1].startswith("row 1233 ")
        app.count = 10
        app.table.grow(10)
        await rest(pilot)
        assert app.table.cursor_key == "9"
        assert app.lines[10].startswith("row 9 ")


async def test_one_row_can_change() -> None:
    app = TableApp(20)
    async with app.run_test(size=(60, 20)) as pilot:
        await rest(pilot)
        app.table.put_row(3, Row("3", ("another", Text("9", style="bold"), "")))
        await rest(pilot)
        assert app.lines[4].startswith("another ")


HOSTILE = [
    "[red]x[/red]",
    "\x1b[31mred",
    "a\tb\nc\rd",
    "\u202eright to left",
    "字" * 300,
    "e\u0301" * 200,
    "👩‍👩‍👧" * 50,
]


@pytest.mark.parametrize("text", [*HOSTILE, "long " * 2000])
async def test_any_text_fits_exactly_into_one_line(text: str) -> None:
    app = TableApp(0)
    async with app.run_test(size=(60, 5)) as pilot:
        await rest(pilot)
        app.table.show_rows([Row("1", (text, text, text))])
        await rest(pilot)
        strip = app.table.render_line(1)
        assert strip.cell_length == 59
        assert not set(strip.text) & set("\x1b\t\n\r\u202e")


async def test_a_table_can_be_resized_at_any_time(until: Until) -> None:
    app = TableApp(MILLION)
    async with app.run_test(size=(60, 20)) as pilot:
        await act(pilot, "table.bottom")
        for size in [(3, 3), (200, 60), (1, 1), (80, 24)]:
            await resize(pilot, *size)
        await until(pilot, lambda: app.lines[-1].startswith("row 999999 "))
        assert app.table.cursor_key == "999999"


async def resize(pilot: Pilot[Any], width: int, height: int) -> None:
    await pilot.resize_terminal(width, height)
    await rest(pilot)
