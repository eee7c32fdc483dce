"""The place Runs: the table with floors, plots, a run in full, deletion and errors."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.text import Text
from textual.widgets import Input, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.tui.places.runs.quality_plot import QualityPlot
from kdtui.tui.places.runs.rows import share
from kdtui.tui.places.runs.screen import RunsScreen
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.runs import evaluate
from store.database import open_database
from store.predictions import PredictedBundle, Prediction, add_prediction
from store.records import Bundle, Item, RunSettings, Session
from store.runs import Run, delete_run, finish_run, start_run
from store.sqlite import Database
from tests.support.acting import act, rest
from tests.support.runs_place import add_run, cells_of, numbers, open_runs, row_of, run_rows, wait_until_computed
from tests.support.screens import MakeStore, Settle, Until, command, notice, printed, table, toasts

INTENT_HEADINGS = ["matched", "token", "F1", "ROUGE-L", "cosine"]

# The table


async def test_runs_and_floors_are_listed_with_their_scores(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        assert numbers(app) == ["3", "2", "1"]
        assert cells_of(row_of(app, 1), "Name", "Dataset", "Split", "Sess.") == [
            "patterns",
            "demo-outdoor",
            "test",
            "7",
        ]
        assert row_of(app, 1)["State"] == "finished"
        assert cells_of(row_of(app, 2), "Name", "Split", "Sess.", "P", "R") == [
            "quick + rule",
            "test",
            "3/7",
            ".000",
            ".000",
        ]
        assert row_of(app, 2)["Sec."] == "2.00"
        assert row_of(app, 2)["State"] == "R resumes, 1 failed"
        floors = [row for row in run_rows(app) if row["State"] == "floors"]
        assert [cells_of(row, "Name", "Dataset", "Split") for row in floors] == [
            ["floors: best is category 3", "demo-outdoor", "valid"],
            ["floors: best is category 3", "demo-outdoor", "test"],
        ]
        assert floors[1]["F1"] == ".807"


async def test_known_scores_are_not_computed_again(
    store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdtui.workflows.runs import runs

    asked: list[int] = []

    def score(db: Database, run: Run, sessions: Sequence[Session]) -> evaluate.ScoreRow:
        asked.append(run.id)
        return evaluate.score_run(db, run, sessions)

    monkeypatch.setattr(runs, "score_run", score)
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        assert sorted(asked) == [1, 2, 3]
        await pilot.press("1", "6")
        await wait_until_computed(pilot, settle)
        assert sorted(asked) == [1, 2, 3]
        await act(pilot, "screen.reload")
        await wait_until_computed(pilot, settle)
        assert sorted(asked) == [1, 2, 3], "they are kept in the store"


async def test_a_run_of_another_program_appears_when_the_user_returns(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("1")
        add_run(store)
        await pilot.press("6")
        await wait_until_computed(pilot, settle)
        assert numbers(app) == ["4", "3", "2", "1"]


async def test_a_key_sorts_by_the_next_column_and_another_reverses_the_order(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.sort")
        await rest(pilot)
        names = [row["Name"] for row in run_rows(app)]
        assert names == sorted(names, key=str.casefold)
        await act(pilot, "runs.reverse")
        await rest(pilot)
        names = [row["Name"] for row in run_rows(app)]
        assert names == sorted(names, key=str.casefold, reverse=True)
        for _ in range(6):
            await act(pilot, "runs.sort")
        await rest(pilot)
        qualities = [row["F1"] for row in run_rows(app)]
        assert qualities == sorted(qualities, key=float, reverse=True)


async def test_unknown_values_come_last_in_both_directions(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        for expected in (["3", "2", "1"], ["1", "2", "3"]):
            assert [row["Run"] for row in run_rows(app)][:3] == expected
            await act(pilot, "runs.reverse")
            await rest(pilot)


async def test_a_click_on_a_title_sorts_and_a_second_click_reverses_the_order(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        for expected in (["1", "2", "3"], ["3", "2", "1"]):
            await pilot.click(RowTable, offset=(2, 0))
            await rest(pilot)
            assert numbers(app) == expected


async def test_the_filter_matches_words_of_names_datasets_and_splits(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.search")
        await pilot.press(*"RULE test")
        await wait_until_computed(pilot, settle)
        assert numbers(app) == ["2"]
        await pilot.press(*"zzz")
        await wait_until_computed(pilot, settle)
        assert "No run matches “RULE testzzz”" in notice(app)
        app.screen.query_one(Input).value = "floor valid"
        await wait_until_computed(pilot, settle)
        assert {row["Split"] for row in run_rows(app)} == {"valid"}
        assert not numbers(app)
        app.screen.query_one(Input).clear()
        await act(pilot, "search.leave_search")
        await wait_until_computed(pilot, settle)
        assert app.focused is table(app)
        assert numbers(app) == ["3", "2", "1"]


async def test_escape_shows_all_runs_again(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("slash", *"qqq", "enter")
        await wait_until_computed(pilot, settle)
        assert notice(app) == "No run matches “qqq”.\n\nesc shows all runs again."
        await act(pilot, "runs.clear_search")
        await wait_until_computed(pilot, settle)
        assert numbers(app) == ["3", "2", "1"]
        assert app.focused is table(app)
        assert not app.screen.query_one("#find").display
        await pilot.press("slash", *"rule", "enter", "escape")
        await wait_until_computed(pilot, settle)
        assert numbers(app) == ["3", "2", "1"], "where something was found, too"
        await pilot.press("slash", *"qqq")
        await wait_until_computed(pilot, settle)
        await act(pilot, "search.leave_search")
        await wait_until_computed(pilot, settle)
        assert numbers(app) == ["3", "2", "1"], "from the filter itself, where nothing was found"
        assert app.focused is table(app)


async def test_floors_can_be_hidden(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.floors")
        await rest(pilot)
        assert len(run_rows(app)) == 3
        await act(pilot, "runs.floors")
        await rest(pilot)
        assert len(run_rows(app)) > 3


async def test_choices_are_remembered_and_invalid_ones_ignored(store: Path, settle: Settle, tmp_path: Path) -> None:
    app = KdtuiApp(store, memory=Memory(tmp_path / "tui.json", store))
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        for action in ("runs.sort", "runs.reverse", "runs.floors", "runs.plot"):
            await act(pilot, action)
        await wait_until_computed(pilot, settle)
        before = run_rows(app)
    memory = Memory(tmp_path / "tui.json", store)
    app = KdtuiApp(store, memory=memory)
    async with app.run_test() as pilot:
        await wait_until_computed(pilot, settle)
        assert isinstance(app.screen, RunsScreen)
        assert run_rows(app) == before
        assert app.screen.query(QualityPlot)
        memory.of("runs").update(sort=3, descending="x", floors=None, plot=["y"], filter=4, form={"settings": 7})
    app = KdtuiApp(store, memory=memory)
    async with app.run_test() as pilot:
        await wait_until_computed(pilot, settle)
        assert numbers(app) == ["3", "2", "1"]
        await act(pilot, "runs.new")
        await settle(pilot)
        assert isinstance(app.screen, FormDialog)


async def test_the_command_is_for_the_selected_row(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        assert command(app) == "kdtui run show 3"
        await pilot.press("end")
        await rest(pilot)
        assert command(app) == "kdtui evaluate --floors-only --dataset demo-outdoor --split test"


# Plots


async def test_runs_are_plotted_by_their_numbers(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test(size=(80, 30)) as pilot:
        await open_runs(pilot, settle)
        await pilot.press("j", "j")
        await act(pilot, "runs.plot")
        await wait_until_computed(pilot, settle)
        plot = str(app.screen.query_one(QualityPlot).render())
        assert "pair F1 · demo-outdoor test · numbers are runs" in plot
        assert "[1]" in plot
        assert "seconds a session · line: " in plot
        await act(pilot, "runs.plot")
        await wait_until_computed(pilot, settle)
        assert "tokens a prompt, about" in str(app.screen.query_one(QualityPlot).render())
        await act(pilot, "runs.plot")
        await rest(pilot)
        assert not app.screen.query_one("#plot").display


async def test_a_wide_screen_shows_a_plot_next_to_the_table(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test(size=(200, 60)) as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.plot")
        await wait_until_computed(pilot, settle)
        plot = app.screen.query_one("#plot")
        assert plot.region.x == table(app).region.right
        assert plot.region.height == table(app).region.height
        assert row_of(app, 1)["Tokens"] == "0"
        await pilot.resize_terminal(80, 24)
        await wait_until_computed(pilot, settle)
        assert plot.region.y == table(app).region.bottom


async def test_without_scores_the_plot_says_so(demo_store: Path, settle: Settle) -> None:
    db = open_database(demo_store)
    start_run(db, "demo-outdoor", "test", "nobody", RunSettings("patterns"))
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.plot")
        await wait_until_computed(pilot, settle)
        assert "no run has a score" in str(app.screen.query_one(QualityPlot).render())


# One run in full


async def test_a_run_is_shown_in_full(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("j", "enter")
        await settle(pilot)
        text = printed(app, "#everything")
        assert "3 of 7 answered, 1 of them without bundles" in text
        assert "quick + rule (this run)" in text
        assert "does not beat whole session" in text
        assert "It has answered only 3 sessions" in text
        assert "too long" in text
        assert "kdtui evaluate --dataset demo-outdoor --student patterns" in text
        assert command(app) == "kdtui evaluate --resume 2"
        await act(pilot, "run.back")
        await wait_until_computed(pilot, settle)
        assert isinstance(app.screen, RunsScreen)
        assert row_of(app, 2)


async def test_a_run_in_full_shows_its_cost_and_the_scores_of_its_intents(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("end", "home", "j", "j", "enter")
        await settle(pilot)
        assert str(app.screen.query_one("#title", Static).content) == "Run 1  patterns on demo-outdoor test"
        lines = [Text.from_ansi(line).plain for line in printed(app, "#everything").splitlines()]
        assert any(line.startswith("tokens a session") and "0 read, 0 written" in line for line in lines)
        assert any(line.startswith("peak memory") and line.rstrip().endswith("MB") for line in lines)
        [heading] = [number for number, line in enumerate(lines) if line.split() == INTENT_HEADINGS]
        run = next(number for number, line in enumerate(lines) if number > heading and "(this run)" in line)
        named = [line.split() for line in (lines[run], *lines[run + 1 : run + 3])]
        assert named[1][:4] == ["·", "named", "by", "category"]
        assert named[2][:3] == ["·", "named", "as"]
        # The pattern student itself names bundles by their category.
        assert named[0][-4:] == named[1][-4:]
        assert named[0][-1].startswith(".")


async def test_a_run_in_full_scrolls(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("enter")
        await settle(pilot)
        text = app.screen.query_one("#full")
        seen = [text.scroll_y]
        for action in ("down", "page_down", "up", "page_up", "end", "home"):
            await act(pilot, f"run.{action}")
            await rest(pilot)
            seen.append(text.scroll_y)
        assert seen[0] < seen[1] < seen[2] > seen[3] > seen[4]
        assert seen[5] == text.max_scroll_y > 0 == seen[6]


async def test_a_run_is_resumed_from_its_own_screen(store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("enter")
        await settle(pilot)
        await act(pilot, "run.resume")
        await rest(pilot)
        assert "the run is finished" in toasts(app)
        await act(pilot, "run.back")
        await pilot.press("j", "enter")
        await settle(pilot)
        await act(pilot, "run.resume")
        await until(pilot, lambda: "run 2 is finished" in toasts(app))
        await wait_until_computed(pilot, settle)
        assert row_of(app, 2)["Sess."] == "7"


async def test_floors_are_shown_with_all_metrics(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test(size=(100, 30)) as pilot:
        await open_runs(pilot, settle)
        await pilot.press("end", "enter")
        await rest(pilot)
        assert isinstance(app.screen, TextDialog)
        assert "category&#160;5" in app.export_screenshot()
        await pilot.press("c", "escape")
        assert app.clipboard.splitlines()[-1].startswith("truth\t1.00")


async def test_a_deleted_run_is_reported_in_one_sentence(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        db = open_database(store)
        delete_run(db, 3)
        db.close()
        await pilot.press("enter")
        await settle(pilot)
        assert "there is no run 3" in printed(app, "#everything")


# Deleting


async def test_a_run_is_deleted_after_confirmation(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("j")
        await act(pilot, "runs.delete")
        await rest(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        screenshot = app.export_screenshot().replace("&#160;", " ")
        assert "Its 3 answers" in screenshot
        assert "kdtui run rm 2" in screenshot
        await act(pilot, "confirm.no")
        await wait_until_computed(pilot, settle)
        assert numbers(app) == ["3", "2", "1"]
        await act(pilot, "runs.delete")
        await rest(pilot)
        await act(pilot, "confirm.yes")
        await wait_until_computed(pilot, settle)
        assert numbers(app) == ["3", "1"]
        assert "run 2 is deleted" in toasts(app)
        await pilot.press("end")
        await act(pilot, "runs.delete")
        await rest(pilot)
        assert "the cursor is not on a run" in toasts(app)


# Errors


async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        assert "kdtui demo" in notice(app)
        for key in ("n", "s", "S", "p", "v", "x", "R", "d", "F", "space", "slash", "enter"):
            await pilot.press(key)
        await rest(pilot)
        assert isinstance(app.screen, RunsScreen)
        assert "there is no dataset yet; D imports the demo, and i your own sessions" in toasts(app)
        assert "there are no runs yet" in toasts(app)


async def test_a_broken_store_is_reported_in_one_sentence(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        with sqlite3.connect(store) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("DROP TABLE predictions")
        await act(pilot, "screen.reload")
        await wait_until_computed(pilot, settle)
        assert any("no such table" in toast for toast in toasts(app))
        assert numbers(app) == ["3", "2", "1"]


async def test_a_file_that_is_not_a_store_is_reported_in_one_sentence(tmp_path: Path, settle: Settle) -> None:
    path = tmp_path / "other.db"
    path.write_text("this is not a database, however long it may be\n" * 100)
    app = KdtuiApp(path)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        assert "not an SQLite database" in notice(app)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_hostile_text_is_shown_as_text(make_store: MakeStore, settle: Settle, size: tuple[int, int]) -> None:
    hostile = "[red]x[/] \x1b[31mred \u202egnorw שלום 青い e\u0301 " + "y" * 10_000
    session = Session(
        hostile, (Item("a", hostile, ((hostile,),)), Item("b", hostile)), (Bundle((1, 2), hostile),), "test"
    )
    path = make_store([session])
    db = open_database(path)
    for _ in range(2):
        run = start_run(db, "made", "test", hostile, RunSettings(hostile))
        add_prediction(db, run, Prediction(hostile, (PredictedBundle(("a", "b"), (1, 2), hostile, 0.5),), None, 1))
        finish_run(db, run)
    run = start_run(db, "made", "test", hostile, RunSettings("patterns"))
    add_prediction(db, run, Prediction(hostile, None, hostile, 1))
    db.close()
    app = KdtuiApp(path)
    async with app.run_test(size=size) as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.plot")
        await wait_until_computed(pilot, settle)
        pictures = [app.export_screenshot()]
        await pilot.press("enter")
        await settle(pilot)
        pictures.append(app.export_screenshot())
        await pilot.press("escape", "home", "space", "v")
        await settle(pilot)
        pictures.append(app.export_screenshot())
        await pilot.press("escape", "home", "d")
        await rest(pilot)
        pictures.append(app.export_screenshot())
        for picture in pictures:
            assert "[red]x[/]" in picture
            assert "\x1b" not in picture
            assert "\u202e" not in picture


def test_shares_fit_four_cells() -> None:
    assert [share(value) for value in (0.0, 0.3846, 0.9994, 0.9996, 1.0, 1.63, float("nan"), None)] == [
        ".000", ".385", ".999", "1.00", "1.00", "1.63", "–", "–",
    ]  # fmt: skip
