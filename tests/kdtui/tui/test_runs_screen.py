"""The runs: the table beside the floors, plots, evaluations, one run in full, and two compared."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest
from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import Input, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.memory import Memory
from kdtui.tui.run_rows import share
from kdtui.tui.screens.compared_runs import ComparedRunsScreen
from kdtui.tui.screens.dialogs import ConfirmDialog, FormDialog, TextDialog
from kdtui.tui.screens.run import RunScreen
from kdtui.tui.screens.runs import RunsScreen
from kdtui.tui.widgets.bundle_panel import BundlePanel
from kdtui.tui.widgets.quality_plot import QualityPlot
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows import evaluate
from kdtui.workflows.students import SessionStudent, open_student
from models.answers import Answered, Grew, StudentEvent
from models.bundle_list import WrittenBundle
from store.database import open_database
from store.records import Bundle, Item, RunSettings, Session
from store.runs import Predicted, Prediction, Run, add_prediction, delete_run, finish_run, list_runs, start_run
from store.sqlite import Database
from tests.acting import act, rest
from tests.kdtui.tui.conftest import copy_store

MakeStore = Callable[[Sequence[Session]], Path]
Settle = Callable[[Pilot[None]], Awaitable[None]]
Until = Callable[[Pilot[None], Callable[[], bool]], Awaitable[None]]

TESTED = ("o25", "o26", "o27", "o28", "o29", "o30", "o31")


def evaluated(path: Path, split: str = "test", name: str | None = None, keep: int | None = None) -> None:
    """A run of the pattern student; it has answered `keep` sessions, or all."""
    db = open_database(path)
    sessions = evaluate.split_to_score(db, "demo-outdoor", split, None)  # type: ignore[arg-type]
    list(evaluate.evaluate(db, "demo-outdoor", split, RunSettings("patterns"), sessions))  # type: ignore[arg-type]
    number = list_runs(db)[-1].run.id
    if name is not None:
        db.execute("UPDATE runs SET student = ? WHERE id = ?", [name, number])
    if keep is not None:
        db.execute(
            "DELETE FROM predictions WHERE run_id = ? AND rowid NOT IN "
            "(SELECT rowid FROM predictions WHERE run_id = ? LIMIT ?)",
            [number, number, keep],
        )
        db.execute("UPDATE runs SET finished_at = NULL WHERE id = ?", [number])
    assert db.conn is not None
    db.conn.commit()
    db.close()


@pytest.fixture(scope="module")
def evaluated_store(mined_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1 is whole; run 2 has answered three sessions, one of them with an error, and nothing right; run 3 is over
    another split."""
    path = tmp_path_factory.mktemp("evaluated") / "kdtui.db"
    copy_store(mined_store, path)
    evaluated(path)
    evaluated(path, name="quick + rule", keep=3)
    evaluated(path, split="valid")
    db = open_database(path)
    db.execute("UPDATE predictions SET bundles = '[]', seconds = 2 WHERE run_id = 2")
    db.execute(
        "UPDATE predictions SET bundles = NULL, error = 'too long' WHERE run_id = 2 AND rowid = "
        "(SELECT max(rowid) FROM predictions WHERE run_id = 2)"
    )
    assert db.conn is not None
    db.conn.commit()
    db.close()
    return path


@pytest.fixture
def store(evaluated_store: Path, empty_store: Path) -> Path:
    """A copy of it, where the app finds it."""
    copy_store(evaluated_store, empty_store)
    return empty_store


def table(app: KdtuiApp) -> RowTable:
    return app.screen.query_one(RowTable)


def rows(app: KdtuiApp) -> list[list[str]]:
    found = [table(app).row_at(number) for number in range(table(app).row_count)]
    return [[str(cell) for cell in row.cells] for row in found if row is not None]


def numbers(app: KdtuiApp) -> list[str]:
    return [row[0] for row in rows(app) if row[0] != "–"]


def row_of(app: KdtuiApp, number: int) -> list[str]:
    return next(row for row in rows(app) if row[0] == str(number))


def notice(app: KdtuiApp) -> str:
    widget = app.screen.query_one("#notice", Static)
    return str(widget.content) if widget.display else ""


def toasts(app: KdtuiApp) -> list[str]:
    return [note.message for note in app._notifications]


def command(app: KdtuiApp) -> str:
    assert isinstance(app.screen, RunsScreen | RunScreen | ComparedRunsScreen)
    return app.screen.command


def shown(app: KdtuiApp, what: str) -> str:
    content = app.screen.query_one(what, Static).content
    console = Console(width=500, no_color=True)
    with console.capture() as capture:
        console.print(content)
    return capture.get()


async def at_runs(pilot: Pilot[None], settle: Settle) -> None:
    await settle(pilot)
    await pilot.press("6")
    await rested(pilot, settle)


async def rested(pilot: Pilot[None], settle: Settle) -> None:
    """Nothing is asked for, all numbers are computed, and the table shows them."""
    await settle(pilot)
    screen = pilot.app.screen
    deadline = monotonic() + 30
    while isinstance(screen, RunsScreen) and any((screen._numbers, screen._redraw, screen._replot)):
        assert monotonic() < deadline, "the numbers never come"
        await pilot.pause(0.01)
    await settle(pilot)


class Stubborn:
    """Stands in for `open_student`: answers two sessions, and then writes until it is stopped. Floors are as ever."""

    def __init__(self) -> None:
        self.closed = Event()
        self.problem: Exception | None = None

    @contextmanager
    def __call__(self, db: Database, dataset: str, settings: RunSettings) -> Iterator[SessionStudent]:
        if settings.student == "patterns":
            with open_student(db, dataset, settings) as student:
                yield student
            return
        if self.problem is not None:
            raise self.problem
        try:
            yield SessionStudent("stubborn", self._answer, lambda _: [])  # type: ignore[arg-type,return-value]
        finally:
            self.closed.set()

    def _answer(self, sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        bundle = WrittenBundle(0, (1, 2), "things", 0.5, complete=True)
        for number, session in enumerate(sessions):
            while number >= 2:
                yield Grew(session, bundle)
                sleep(0.005)
            yield Answered(session, [bundle], 0.1)


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Stubborn:
    student = Stubborn()
    monkeypatch.setattr(evaluate, "open_student", student)
    return student


# The table


async def test_runs_and_floors_are_listed_with_their_scores(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        assert numbers(app) == ["3", "2", "1"]
        assert row_of(app, 1)[1:5] == ["patterns", "demo-outdoor", "test", "7"]
        assert row_of(app, 1)[-1] == "finished"
        assert row_of(app, 2)[1:8] == ["quick + rule", "demo-outdoor", "test", "3/7", ".000", ".000", ".000"]
        assert row_of(app, 2)[9] == "2.00"
        assert row_of(app, 2)[-1] == "R goes on, 1 failed"
        floors = [row for row in rows(app) if row[-1] == "floor"]
        assert [row[1] for row in floors if row[3] == "valid"][-2:] == ["patterns", "truth"]
        assert next(row for row in floors if row[1] == "patterns" and row[3] == "test")[7] == row_of(app, 1)[7]


async def test_scores_that_are_known_are_not_computed_again(
    store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdtui.workflows import runs

    asked: list[int] = []

    def score(db: Database, run: Run, sessions: Sequence[Session]) -> evaluate.ResultRow:
        asked.append(run.id)
        return evaluate.score_run(db, run, sessions)

    monkeypatch.setattr(runs, "score_run", score)
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        assert sorted(asked) == [1, 2, 3]
        await pilot.press("1", "6")
        await rested(pilot, settle)
        assert sorted(asked) == [1, 2, 3]
        await act(pilot, "screen.reload")
        await rested(pilot, settle)
        assert sorted(asked) == [1, 1, 2, 2, 3, 3]


async def test_a_run_of_another_program_appears_when_the_place_is_come_back_to(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await pilot.press("1")
        evaluated(store)
        await pilot.press("6")
        await rested(pilot, settle)
        assert numbers(app) == ["4", "3", "2", "1"]


async def test_a_key_sorts_by_the_next_column_and_another_turns_it(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.sort")
        await rest(pilot)
        assert [row[1] for row in rows(app)] == sorted((row[1] for row in rows(app)), key=str.casefold)
        await act(pilot, "runs.reverse")
        await rest(pilot)
        assert [row[1] for row in rows(app)] == sorted((row[1] for row in rows(app)), key=str.casefold, reverse=True)
        for _ in range(6):
            await act(pilot, "runs.sort")
        await rest(pilot)
        qualities = [row[7] for row in rows(app)]
        assert qualities[0] == "1.00"
        assert qualities == sorted(qualities, key=float, reverse=True)


async def test_what_is_not_known_comes_last_in_both_directions(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        for expected in (["3", "2", "1"], ["1", "2", "3"]):
            assert [row[0] for row in rows(app)][:3] == expected
            await act(pilot, "runs.reverse")
            await rest(pilot)


async def test_a_click_on_a_title_sorts_and_a_second_one_turns_it(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        for expected in (["1", "2", "3"], ["3", "2", "1"]):
            await pilot.click(RowTable, offset=(2, 0))
            await rest(pilot)
            assert numbers(app) == expected


async def test_words_of_names_datasets_and_splits_filter(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.search")
        await pilot.press(*"RULE test")
        await rested(pilot, settle)
        assert numbers(app) == ["2"]
        await pilot.press(*"zzz")
        await rested(pilot, settle)
        assert "No run matches “RULE testzzz”" in notice(app)
        app.screen.query_one(Input).value = "floor valid"
        await rested(pilot, settle)
        assert {row[3] for row in rows(app)} == {"valid"}
        assert not numbers(app)
        app.screen.query_one(Input).clear()
        await act(pilot, "search.leave_search")
        await rested(pilot, settle)
        assert app.focused is table(app)
        assert numbers(app) == ["3", "2", "1"]


async def test_floors_can_be_left_out(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.floors")
        await rest(pilot)
        assert len(rows(app)) == 3
        await act(pilot, "runs.floors")
        await rest(pilot)
        assert len(rows(app)) > 3


async def test_what_was_chosen_is_remembered_and_nonsense_is_not(store: Path, settle: Settle, tmp_path: Path) -> None:
    app = KdtuiApp(store, memory=Memory(tmp_path / "tui.json", store))
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        for action in ("runs.sort", "runs.reverse", "runs.floors", "runs.plot"):
            await act(pilot, action)
        await rested(pilot, settle)
        before = rows(app)
    memory = Memory(tmp_path / "tui.json", store)
    app = KdtuiApp(store, memory=memory)
    async with app.run_test() as pilot:
        await rested(pilot, settle)
        assert isinstance(app.screen, RunsScreen)
        assert rows(app) == before
        assert app.screen.query(QualityPlot)
        memory.of("runs").update(sort=3, descending="x", floors=None, plot=["y"], filter=4, form={"settings": 7})
    app = KdtuiApp(store, memory=memory)
    async with app.run_test() as pilot:
        await rested(pilot, settle)
        assert numbers(app) == ["3", "2", "1"]
        await act(pilot, "runs.new")
        await settle(pilot)
        assert isinstance(app.screen, FormDialog)


async def test_the_command_is_that_of_the_row(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        assert command(app) == "kdtui run show 3"
        await pilot.press("end")
        await rest(pilot)
        assert command(app) == "kdtui evaluate --floors-only --dataset demo-outdoor --split test"


# Plots


async def test_runs_are_plotted_by_their_numbers(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test(size=(80, 30)) as pilot:
        await at_runs(pilot, settle)
        await pilot.press("j")
        await act(pilot, "runs.plot")
        await rested(pilot, settle)
        plot = str(app.screen.query_one(QualityPlot).render())
        assert "pair F1 · demo-outdoor test · numbers are runs" in plot
        assert "[2]" in plot
        assert "1" in plot
        assert "seconds a session · line: " in plot
        await act(pilot, "runs.plot")
        await rested(pilot, settle)
        assert "tokens a prompt, about" in str(app.screen.query_one(QualityPlot).render())
        await act(pilot, "runs.plot")
        await rest(pilot)
        assert not app.screen.query_one("#plot").display


async def test_there_is_a_plot_beside_the_table_where_there_is_room(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test(size=(200, 60)) as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.plot")
        await rested(pilot, settle)
        plot = app.screen.query_one("#plot")
        assert plot.region.x == table(app).region.right
        assert plot.region.height == table(app).region.height
        assert row_of(app, 1)[10] == "0"
        await pilot.resize_terminal(80, 24)
        await rested(pilot, settle)
        assert plot.region.y == table(app).region.bottom


async def test_without_scores_the_plot_says_so(demo_store: Path, settle: Settle) -> None:
    db = open_database(demo_store)
    start_run(db, "demo-outdoor", "test", "nobody", RunSettings("patterns"))
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.plot")
        await rested(pilot, settle)
        assert "no run has a score" in str(app.screen.query_one(QualityPlot).render())


# One run in full


async def test_a_run_is_shown_in_full(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await pilot.press("j", "enter")
        await settle(pilot)
        text = shown(app, "#everything")
        assert "3 of 7 answered, 1 of them without bundles" in text
        assert "quick + rule (this run)" in text
        assert "does not beat whole session" in text
        assert "It has answered 3 sessions only" in text
        assert "too long" in text
        assert "kdtui evaluate --dataset demo-outdoor --student patterns" in text
        assert command(app) == "kdtui evaluate --resume 2"
        await act(pilot, "run.back")
        await rested(pilot, settle)
        assert isinstance(app.screen, RunsScreen)
        assert row_of(app, 2)


async def test_a_run_in_full_scrolls(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
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


async def test_a_run_is_gone_on_with_from_where_it_is_shown(store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
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
        await rested(pilot, settle)
        assert row_of(app, 2)[4] == "7"


async def test_floors_are_shown_with_all_metrics(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test(size=(100, 30)) as pilot:
        await at_runs(pilot, settle)
        await pilot.press("end", "enter")
        await rest(pilot)
        assert isinstance(app.screen, TextDialog)
        assert "category&#160;5" in app.export_screenshot()
        await pilot.press("c", "escape")
        assert "truth\t7\t1.00" in app.clipboard


async def test_a_run_that_is_gone_is_one_sentence(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        db = open_database(store)
        delete_run(db, 3)
        db.close()
        await pilot.press("enter")
        await settle(pilot)
        assert "there is no run 3" in shown(app, "#everything")


# Two runs


async def test_two_marked_runs_are_compared_the_worst_first(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.compare")
        await rest(pilot)
        assert any("mark two runs first" in toast for toast in toasts(app))
        await pilot.press("end", "home", "j", "j")
        await act(pilot, "runs.mark")
        await pilot.press("home", "j")
        await act(pilot, "runs.mark")
        await rest(pilot)
        assert command(app) == "kdtui run compare 1 2"
        await act(pilot, "runs.compare")
        await settle(pilot)
        assert isinstance(app.screen, ComparedRunsScreen)
        assert command(app) == "kdtui run compare 1 2"
        assert "B wins 0, loses 3, equals 0 of 3 sessions" in shown(app, "#totals")
        assert "4 of A alone" in shown(app, "#totals")
        differences = [float(row[5]) for row in rows(app)]
        assert differences == sorted(differences)
        assert all(difference < 0 for difference in differences)


async def compared(pilot: Pilot[None], settle: Settle) -> None:
    """Run 2 and run 1, the latter as B."""
    await at_runs(pilot, settle)
    await pilot.press("j", "space", "v")
    await settle(pilot)
    assert isinstance(pilot.app.screen, ComparedRunsScreen)


async def test_sessions_are_sorted_by_each_column(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await compared(pilot, settle)
        for place in (6, 7, 0, 1, 2, 3, 4, 5):
            await act(pilot, "compared.sort")
            await settle(pilot)
            there = [row[place] if place in (0, 6, 7) else float(row[place]) for row in rows(app)]
            assert there == sorted(there)
            await act(pilot, "compared.reverse")
            await settle(pilot)
            there = [row[place] if place in (0, 6, 7) else float(row[place]) for row in rows(app)]
            assert there == sorted(there, reverse=True)
        await pilot.click(RowTable, offset=(2, 0))
        await settle(pilot)
        names = [row[0] for row in rows(app)]
        assert names == sorted(names)


async def test_the_session_under_the_cursor_is_shown_with_the_bundles_of_both(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test(size=(200, 60)) as pilot:
        await compared(pilot, settle)
        await pilot.press("j")
        await settle(pilot)
        session = rows(app)[1][0]
        text = shown(app, "#product-lines")
        assert f"session {session}" in text
        headings = [
            str(panel.query_one(".heading", Static).content) for panel in app.screen.query(BundlePanel).results()
        ]
        assert headings[0].startswith("True  ")
        assert headings[1] == "A  0 of 0 are true"
        assert headings[2].startswith("B  ")
        db = open_database(store)
        asked = (
            "SELECT error FROM predictions JOIN sessions ON sessions.id = session_id WHERE run_id = 2 AND session = ?"
        )
        [(error,)] = db.execute(asked, [session]).fetchall()
        db.close()
        assert (error or "found none") in shown(app, "#of-a .bundles")


async def test_a_session_is_opened_in_the_workbench_with_the_settings_of_a(
    store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[object, ...]] = []
    app = KdtuiApp(store)
    monkeypatch.setattr(app, "open_session", lambda *arguments: opened.append(arguments))
    async with app.run_test() as pilot:
        await compared(pilot, settle)
        await act(pilot, "table.select")
        await rest(pilot)
        [(dataset, session, choice)] = opened
        assert (dataset, session) == ("demo-outdoor", rows(app)[0][0])
        assert choice.settings.student == "patterns"  # type: ignore[attr-defined]
        await act(pilot, "compared.back")
        await rest(pilot)
        assert isinstance(app.screen, RunsScreen)


async def test_runs_over_other_splits_are_not_compared(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await pilot.press("space", "v")
        await rest(pilot)
        assert "the two runs are not over the same split" in toasts(app)
        assert isinstance(app.screen, RunsScreen)


async def test_a_comparison_that_cannot_be_made_is_one_sentence(store: Path, settle: Settle) -> None:
    db = open_database(store)
    start_run(db, "demo-outdoor", "valid", "nobody", RunSettings("patterns"))
    db.close()
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await pilot.press("space", "v")
        await settle(pilot)
        assert "no session in common" in shown(app, "#totals")
        await act(pilot, "compared.sort")
        await rest(pilot)
        assert "the runs are not compared yet" in toasts(app)


# Evaluations


async def test_an_evaluation_is_started_and_its_scores_come(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await at_runs(pilot, settle)
        assert "No student has been evaluated yet" in notice(app)
        assert "kdtui evaluate --dataset demo-outdoor --limit 20" in notice(app)
        await act(pilot, "runs.new")
        await settle(pilot)
        app.screen.query_one("#field-other", Input).value = "patterns"
        app.screen.query_one("#field-limit", Input).value = "x"
        await rest(pilot)
        assert "sessions: a whole number" in shown(app, "#form-problem")
        app.screen.query_one("#field-limit", Input).value = "5"
        await rest(pilot)
        assert "kdtui evaluate --dataset demo-outdoor --student patterns --limit 5" in shown(app, "#dialog-command")
        await act(pilot, "form.done")
        await until(pilot, lambda: "run 1 is finished" in toasts(app))
        await rested(pilot, settle)
        assert row_of(app, 1)[1:5] == ["patterns", "demo-outdoor", "test", "5"]
        assert row_of(app, 1)[7] != "–"
        await act(pilot, "runs.new")
        await settle(pilot)
        assert (
            app.screen.query_one("#field-other", Input).value
            + str(
                app.screen.query_one("#field-student").value  # type: ignore[attr-defined]
            )
            == "patterns"
        )


async def test_an_evaluation_is_stopped_and_gone_on_with(
    demo_store: Path, settle: Settle, until: Until, stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.new")
        await settle(pilot)
        await act(pilot, "form.done")
        await until(pilot, lambda: bool(numbers(app)) and row_of(app, 1)[4] == "2/7")
        assert row_of(app, 1)[-1] == "at work"
        await act(pilot, "runs.new")
        await act(pilot, "runs.delete")
        await act(pilot, "runs.resume")
        await rest(pilot)
        assert "an evaluation is at work; x stops it" in toasts(app)
        assert "the run is at work; x stops it" in toasts(app)
        await pilot.press("1", "6")
        await act(pilot, "runs.cancel")
        await until(pilot, lambda: any("run 1 has been stopped" in toast for toast in toasts(app)))
        await rested(pilot, settle)
        assert stubborn.closed.is_set()
        assert row_of(app, 1)[4] == "2/7"
        assert row_of(app, 1)[-1] == "R goes on"
        await act(pilot, "runs.cancel")
        await rest(pilot)
        assert "no evaluation is at work" in toasts(app)
        monkeypatch.undo()
        monkeypatch.setenv("KDTUI_DB", str(demo_store))
        db = open_database(demo_store)
        db.execute("UPDATE runs SET settings = json_set(settings, '$.student', 'patterns', '$.strategy', NULL)")
        assert db.conn is not None
        db.conn.commit()
        db.close()
        await act(pilot, "screen.reload")
        await rested(pilot, settle)
        await act(pilot, "runs.resume")
        await until(pilot, lambda: "run 1 is finished" in toasts(app))
        await rested(pilot, settle)
        assert row_of(app, 1)[4] == "7"
        await act(pilot, "runs.resume")
        await rest(pilot)
        assert "the run is finished" in toasts(app)


async def test_an_evaluation_that_cannot_be_made_is_one_sentence(
    demo_store: Path, settle: Settle, until: Until, stubborn: Stubborn
) -> None:
    from models.errors import ModelError

    stubborn.problem = ModelError("the weights are [b]broken[/b]")
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.new")
        await settle(pilot)
        await act(pilot, "form.done")
        await until(pilot, lambda: "the weights are [b]broken[/b]" in toasts(app))
        await rested(pilot, settle)
        assert "No student has been evaluated yet" in notice(app)


async def test_leaving_the_program_stops_the_evaluation(
    demo_store: Path, settle: Settle, until: Until, stubborn: Stubborn
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.new")
        await settle(pilot)
        await act(pilot, "form.done")
        await until(pilot, lambda: bool(numbers(app)))
    assert stubborn.closed.is_set()


# Deleting


async def test_a_run_is_deleted_once_that_is_confirmed(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        await pilot.press("j")
        await act(pilot, "runs.delete")
        await rest(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        said = app.export_screenshot().replace("&#160;", " ")
        assert "Its 3 answers" in said
        assert "kdtui run rm 2" in said
        await act(pilot, "confirm.no")
        await rested(pilot, settle)
        assert numbers(app) == ["3", "2", "1"]
        await act(pilot, "runs.delete")
        await rest(pilot)
        await act(pilot, "confirm.yes")
        await rested(pilot, settle)
        assert numbers(app) == ["3", "1"]
        assert "run 2 is deleted" in toasts(app)
        await pilot.press("end")
        await act(pilot, "runs.delete")
        await rest(pilot)
        assert "the cursor is on no run" in toasts(app)


# What goes wrong


async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        assert "kdtui demo" in notice(app)
        for key in ("n", "s", "S", "p", "v", "x", "R", "d", "F", "space", "slash", "enter"):
            await pilot.press(key)
        await rest(pilot)
        assert isinstance(app.screen, RunsScreen)
        assert "there is no dataset yet" in toasts(app)
        assert "there are no runs yet" in toasts(app)


async def test_a_store_that_breaks_is_one_sentence(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        with sqlite3.connect(store) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("DROP TABLE predictions")
        await act(pilot, "screen.reload")
        await rested(pilot, settle)
        assert any("no such table" in toast for toast in toasts(app))
        assert numbers(app) == ["3", "2", "1"]


async def test_a_file_that_is_no_store_is_one_sentence(tmp_path: Path, settle: Settle) -> None:
    path = tmp_path / "other.db"
    path.write_text("this is not a database, however long it may be\n" * 100)
    app = KdtuiApp(path)
    async with app.run_test() as pilot:
        await at_runs(pilot, settle)
        assert "not an SQLite database" in notice(app)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_text_from_outside_is_only_text(make_store: MakeStore, settle: Settle, size: tuple[int, int]) -> None:
    hostile = "[red]x[/] \x1b[31mred \u202egnorw שלום 青い e\u0301 " + "y" * 10_000
    session = Session(
        hostile, (Item("a", hostile, ((hostile,),)), Item("b", hostile)), (Bundle((1, 2), hostile),), "test"
    )
    path = make_store([session])
    db = open_database(path)
    for _ in range(2):
        run = start_run(db, "made", "test", hostile, RunSettings(hostile))
        add_prediction(db, run, Prediction(hostile, (Predicted(("a", "b"), (1, 2), hostile, 0.5),), None, 1))
        finish_run(db, run)
    run = start_run(db, "made", "test", hostile, RunSettings("patterns"))
    add_prediction(db, run, Prediction(hostile, None, hostile, 1))
    db.close()
    app = KdtuiApp(path)
    async with app.run_test(size=size) as pilot:
        await at_runs(pilot, settle)
        await act(pilot, "runs.plot")
        await rested(pilot, settle)
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
