"""The find line: a row of a list, a line of a text, and a place in a log of any length."""

from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.events import Key
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.find import FindScreen
from kdtui.tui.core.help import HelpScreen
from kdtui.tui.memory import Memory
from kdtui.tui.places.jobs.log_view import LogView
from kdtui.tui.places.jobs.training_screen import TrainingScreen
from kdtui.tui.widgets.readable import Readable
from kdtui.tui.widgets.row_table import RowTable
from models.sft.job_files import EXIT_CODE, JOB, LOG
from models.sft.log_search import Search
from store.database import open_database
from store.jobs import add_job
from store.records import TrainingSettings
from store.samples import save_sample
from tests.support.acting import act
from tests.support.screens import Settle, Until

NAMES = ("few rules", "half of it", "many rules", "red [b]Rules[/]")


@pytest.fixture
def app(demo_store: Path) -> KdtuiApp:
    """Open the app in the place Samples, with four samples."""
    db = open_database(demo_store)
    for name in NAMES:
        save_sample(db, name, [], [1], replace=False)
    db.close()
    memory = Memory(None, demo_store)
    memory.place = "samples"
    return KdtuiApp(demo_store, memory=memory)


def sample_under_cursor(app: KdtuiApp) -> str | None:
    """Return the sample under the cursor."""
    return app.screen_stack[0].query_one(RowTable).cursor_key


async def test_the_cursor_moves_to_the_matching_rows(app: KdtuiApp, settle: Settle) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        first = sample_under_cursor(app)
        await act(pilot, "rows.find_row")
        await pilot.press(*"RULES")
        with_words = []
        for _ in range(4):
            with_words.append(sample_under_cursor(app))
            await act(pilot, "find.next")
        assert sorted(map(str, with_words[:3])) == ["few rules", "many rules", "red [b]Rules[/]"]
        assert with_words[3] == with_words[0], "behind the last comes the first"
        await act(pilot, "find.previous")
        assert sample_under_cursor(app) == with_words[0]
        await act(pilot, "find.close")
        assert not isinstance(app.screen, FindScreen)
        assert sample_under_cursor(app) == first


async def test_the_cursor_stays_at_a_match_and_a_missing_match_gives_a_message(app: KdtuiApp, settle: Settle) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "rows.find_row")
        await pilot.press(*"half it")
        assert sample_under_cursor(app) == "half of it"
        await pilot.press("x")
        assert "no row matches" in str(app.screen.query_one("#found").render())
        app.screen.query_one(Input).value = "many"
        await pilot.press("enter")
        assert not isinstance(app.screen, FindScreen)
        assert sample_under_cursor(app) == "many rules"


async def test_a_list_without_rows_gives_a_message(demo_store: Path, settle: Settle) -> None:
    memory = Memory(None, demo_store)
    memory.place = "samples"
    app = KdtuiApp(demo_store, memory=memory)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "rows.find_row")
        assert not isinstance(app.screen, FindScreen)
        assert any("there are no rows" in str(each.message) for each in app._notifications)


def reversed_rows(widget: Readable | LogView) -> list[str]:
    """Return the reversed rows."""
    strips = [widget.render_line(number) for number in range(widget.size.height)]
    return [
        strip.text.strip().removesuffix("│").strip()
        for strip in strips
        if any(part.style is not None and part.style.reverse for part in strip)
    ]


async def test_a_line_of_a_text_is_found_and_shown(app: KdtuiApp, settle: Settle) -> None:
    lines = [f"line {number}" for number in range(200)] + ["[b]other[/] WORDS"]
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.push_screen(TextDialog("much to read", "\n".join(lines)))
        await settle(pilot)
        text = app.screen.query_one(Readable)
        scrolled = text.parent
        assert scrolled is not None
        await act(pilot, "text.find")
        await pilot.press(*"words [b]")
        await settle(pilot)
        assert reversed_rows(text) == ["[b]other[/] WORDS"]
        assert text.region.bottom == scrolled.region.bottom  # type: ignore[attr-defined]
        app.screen.query_one(Input).value = "line 19"
        await settle(pilot)
        assert reversed_rows(text) == ["line 19"]
        await act(pilot, "find.next")
        assert reversed_rows(text) == ["line 119"]
        await act(pilot, "find.close")
        assert isinstance(app.screen, TextDialog)
        assert (reversed_rows(text), scrolled.scroll_y) == ([], 0)  # type: ignore[attr-defined]
        await act(pilot, "text.find")
        await pilot.press(*"199", "enter")
        assert reversed_rows(text) == ["line 199"]


async def test_the_last_words_are_found_again_after_the_line_closes(app: KdtuiApp, settle: Settle) -> None:
    lines = [f"line {number}" for number in range(200)]
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.push_screen(TextDialog("much to read", "\n".join(lines)))
        await settle(pilot)
        text = app.screen.query_one(Readable)
        await act(pilot, "text.find_next")
        assert "nothing was searched here yet" in [str(each.message) for each in app._notifications]
        # At any typing speed.
        for key in ("slash", *"7 9", "enter", "n"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        assert isinstance(app.screen, TextDialog)
        assert reversed_rows(text) == ["line 97"]
        await act(pilot, "text.find_next")
        assert reversed_rows(text) == ["line 179"]
        await act(pilot, "text.find_previous")
        assert reversed_rows(text) == ["line 97"]
        # After the line is closed by going back, the match is not highlighted, but can be found again.
        await act(pilot, "text.find")
        await pilot.press(*"line 12")
        await act(pilot, "find.close")
        await act(pilot, "text.find_next")
        assert reversed_rows(text) == ["line 112"]
        await act(pilot, "text.find")
        await act(pilot, "find.close")
        await act(pilot, "text.find_next")
        assert reversed_rows(text)[0].startswith("line 1"), "an empty line leaves it as it was"


async def test_finding_again_without_a_match_gives_a_message(app: KdtuiApp, settle: Settle) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.push_screen(TextDialog("little to read", "a line"))
        await settle(pilot)
        await act(pilot, "text.find")
        await pilot.press(*"words", "enter")
        await act(pilot, "text.find_next")
        assert [str(each.message) for each in app._notifications] == ["no line matches"]


async def test_the_line_shows_its_keys_until_there_is_a_message(app: KdtuiApp, settle: Settle) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "rows.find_row")
        keys_or_message = app.screen.query_one("#found", Static)
        keys = "↓ next  ↑ previous  enter stay  esc back"
        assert str(keys_or_message.render()) == keys
        await pilot.press(*"half")
        assert str(keys_or_message.render()) == keys
        await pilot.press("x")
        assert str(keys_or_message.render()) == "no row matches"


async def resize(pilot: Pilot[None], until: Until, width: int, height: int) -> None:
    """Resize the terminal; Textual waits a moment for the last of many sizes."""
    await pilot.resize_terminal(width, height)
    await until(pilot, lambda: pilot.app.screen.size == (width, height))


async def test_a_matching_line_stays_after_a_resize(app: KdtuiApp, settle: Settle, until: Until) -> None:
    lines = [f"line {number} {'and so on ' * 20}" for number in range(40)]
    lines[30] = "WORDS"
    async with app.run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        app.push_screen(TextDialog("much to read", "\n".join(lines)))
        await settle(pilot)
        text = app.screen.query_one(Readable)
        scrolled = text.parent
        assert isinstance(scrolled, Widget)
        await act(pilot, "text.find")
        await pilot.press(*"words")
        await settle(pilot)
        for size in ((80, 24), (200, 50), (50, 24)):
            await resize(pilot, until, *size)
            await settle(pilot)
            assert reversed_rows(text) == ["WORDS"]
            await until(pilot, lambda: text.region.y + text.cursor_row in scrolled.region.line_range)


async def test_a_key_is_found_by_its_purpose(app: KdtuiApp, settle: Settle) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "app.help")
        await act(pilot, "help.find")
        await pilot.press(*"program quit")
        await settle(pilot)
        help_screen = app.screen_stack[-2]
        assert isinstance(help_screen, HelpScreen)
        [row] = reversed_rows(help_screen.query_one(Readable))
        assert row.split() == ["q", "Quit", "the", "program"]
        app.screen.query_one(Input).value = "row"
        await pilot.press("enter")
        first = reversed_rows(help_screen.query_one(Readable))
        await act(pilot, "help.find_next")
        [second] = reversed_rows(help_screen.query_one(Readable))
        assert second not in first
        assert "row" in second
        await act(pilot, "help.find_previous")
        assert reversed_rows(help_screen.query_one(Readable)) == first


async def test_a_match_in_a_log_stays_in_sight_after_a_resize(until: Until) -> None:
    log, data = LogView(id="log"), b"".join(b"line %d\n" % number for number in range(40))

    class Logged(App[None]):
        def compose(self) -> ComposeResult:
            yield log

    async with Logged().run_test(size=(200, 50)) as pilot:
        log.put(0, data, len(data))
        search = Search("line 7", 0)
        log.find(search, lambda _: None)
        log.show_match(search, data.index(b"line 7"))
        for size in ((80, 24), (200, 50), (80, 24)):
            await resize(pilot, until, *size)
            assert reversed_rows(log) == ["line 7"]
        log.action_scroll("end")
        await resize(pilot, until, 80, 20)
        assert reversed_rows(log) == []
        assert log.text.endswith("line 39"), "it was left"


@pytest.mark.slow
async def test_a_text_is_found_in_a_log_that_is_not_in_memory(demo_store: Path, settle: Settle, until: Until) -> None:
    folder = demo_store.parent / "jobs" / "ended"
    folder.mkdir(parents=True)
    (folder / JOB).write_text('{"base": "x"}')
    (folder / EXIT_CODE).write_text("0")
    with (folder / LOG).open("wb") as file:
        for at, line in ((0, b"at first"), (50_000_000, b"a Warning"), (100_000_000, b"a warning\nthe end")):
            file.seek(at)
            file.write(b"\n" + line + b"\n")
    db = open_database(demo_store)
    add_job(db, "ended", folder, TrainingSettings(("demo-outdoor",)), "ended")
    db.close()
    memory = Memory(None, demo_store)
    memory.place = "jobs"
    app = KdtuiApp(demo_store, memory=memory)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await until(
            pilot, lambda: isinstance(app.screen, TrainingScreen) and "the end" in app.screen.query_one(LogView).text
        )
        log = app.screen.query_one(LogView)
        await act(pilot, "job.find")
        app.screen.query_one(Input).value = "warning"
        await until(pilot, lambda: reversed_rows(log) == ["a warning"])
        await act(pilot, "find.next")
        await until(pilot, lambda: reversed_rows(log) == ["a Warning"])
        assert "50%" in str(log.border_title)
        await act(pilot, "find.previous")
        await until(pilot, lambda: reversed_rows(log) == ["a warning"])
        app.screen.query_one(Input).value = "Warning"
        await until(pilot, lambda: reversed_rows(log) == ["a Warning"])
        app.screen.query_one(Input).value = "waring"
        keys_or_message = app.screen.query_one("#found", Static)
        await until(pilot, lambda: "no line of the log has that" in str(keys_or_message.render()))
        await act(pilot, "find.close")
        await until(pilot, lambda: log.follows and "the end" in log.text)
        assert reversed_rows(log) == []
        await act(pilot, "job.find")
        app.screen.query_one(Input).value = "warning"
        await until(pilot, lambda: reversed_rows(log) == ["a warning"])
        await pilot.press("enter")
        assert isinstance(app.screen, TrainingScreen)
        await act(pilot, "job.find_next")
        await until(pilot, lambda: reversed_rows(log) == ["a Warning"])
        await act(pilot, "job.find_previous")
        await until(pilot, lambda: reversed_rows(log) == ["a warning"])
