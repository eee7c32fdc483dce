"""Two runs compared session by session, with the bundles of both."""

from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.places.runs.compared_screen import ComparedRunsScreen
from kdtui.tui.places.runs.screen import RunsScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.student.bundle_panel import BundlePanel
from kdtui.tui.widgets.row_table import RowTable
from store.database import open_database
from store.records import RunSettings
from store.runs import start_run
from tests.support.acting import act, rest
from tests.support.runs_place import open_runs
from tests.support.screens import Settle, command, printed, rows, toasts


async def open_comparison(pilot: Pilot[None], settle: Settle) -> None:
    """Compare run 2 with run 1."""
    await open_runs(pilot, settle)
    await pilot.press("j", "space", "v")
    await settle(pilot)
    assert isinstance(pilot.app.screen, ComparedRunsScreen)


async def test_two_marked_runs_are_compared_worst_session_first(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
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
        assert "2nd wins 0, loses 3, equals 0 of 3 sessions" in printed(app, "#totals")
        assert "4 only in 1st" in printed(app, "#totals")
        differences = [float(row[5]) for row in rows(app)]
        assert differences == sorted(differences)
        assert all(difference < 0 for difference in differences)


async def test_sessions_are_sorted_by_each_column(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_comparison(pilot, settle)
        for place in (6, 7, 0, 1, 2, 3, 4, 5):
            await act(pilot, "compared.sort")
            await settle(pilot)
            values = [row[place] if place in (0, 6, 7) else float(row[place]) for row in rows(app)]
            assert values == sorted(values)
            await act(pilot, "compared.reverse")
            await settle(pilot)
            values = [row[place] if place in (0, 6, 7) else float(row[place]) for row in rows(app)]
            assert values == sorted(values, reverse=True)
        await pilot.click(RowTable, offset=(2, 0))
        await settle(pilot)
        names = [row[0] for row in rows(app)]
        assert names == sorted(names)


async def test_the_selected_session_is_shown_with_the_bundles_of_both_runs(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test(size=(200, 60)) as pilot:
        await open_comparison(pilot, settle)
        await pilot.press("j")
        await settle(pilot)
        session = rows(app)[1][0]
        text = printed(app, "#product-lines")
        assert f"session {session}" in text
        headings = [
            str(panel.query_one(".heading", Static).content) for panel in app.screen.query(BundlePanel).results()
        ]
        assert headings[0].startswith("True  ")
        assert headings[1] == "1st  0 of 0 are true"
        assert headings[2].startswith("2nd  ")
        db = open_database(store)
        asked = (
            "SELECT error FROM predictions JOIN sessions ON sessions.id = session_id WHERE run_id = 2 AND session = ?"
        )
        [(error,)] = db.execute(asked, [session]).fetchall()
        db.close()
        assert (error or "found none") in printed(app, "#of-1st .bundles")


async def test_a_session_opens_with_the_settings_of_the_first_run_and_the_workbench_keeps_its_own(
    store: Path, settle: Settle
) -> None:
    app = KdtuiApp(store)
    before = app.choice
    async with app.run_test() as pilot:
        await open_comparison(pilot, settle)
        [session, *_] = rows(app)[0]
        await act(pilot, "table.select")
        await settle(pilot)
        assert isinstance(app.screen, SessionScreen)
        assert app.screen.command == f"kdtui generate {session} --dataset demo-outdoor --student patterns"
        await act(pilot, "session.next_student")
        await act(pilot, "session.back")
        await settle(pilot)
        assert isinstance(app.screen, ComparedRunsScreen)
        assert app.choice == before
        assert app.memory.of("workbench").get("choice") is None
        await act(pilot, "compared.back")
        await rest(pilot)
        assert isinstance(app.screen, RunsScreen)


async def test_runs_over_other_splits_are_not_compared(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("space", "v")
        await rest(pilot)
        assert any("run 3 is about the valid split, and run 2 about the test split" in each for each in toasts(app))
        assert isinstance(app.screen, RunsScreen)


async def test_a_floor_is_not_compared_and_the_key_says_why(store: Path, settle: Settle) -> None:
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("space", "end", "v")
        await rest(pilot)
        assert isinstance(app.screen, RunsScreen)
        why = "the answers of a floor are not kept for comparison; ⏎ on a run shows its scores next to the floors"
        assert toasts(app) == [why]
        await act(pilot, "runs.mark")
        await rest(pilot)
        assert toasts(app) == [why, why]


async def test_an_impossible_comparison_is_reported_in_one_sentence(store: Path, settle: Settle) -> None:
    db = open_database(store)
    start_run(db, "demo-outdoor", "valid", "nobody", RunSettings("patterns"))
    db.close()
    app = KdtuiApp(store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await pilot.press("space", "v")
        await settle(pilot)
        assert "no session in common" in printed(app, "#totals")
        await act(pilot, "compared.sort")
        await rest(pilot)
        assert "the runs are not compared yet" in toasts(app)
