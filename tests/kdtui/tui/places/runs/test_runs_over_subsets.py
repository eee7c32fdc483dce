"""The place Runs with runs over different sessions: their floors and plots, and tags."""

from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from textual.widgets import Input

from kdtui.tui.app import KdtuiApp
from kdtui.tui.places.runs.quality_plot import QualityPlot
from kdtui.workflows.runs import evaluate, floors
from kdtui.workflows.runs.floors import score_floors
from store.database import open_database
from store.records import RunSettings
from store.runs import get_run, list_runs
from tests.support.acting import act, rest
from tests.support.runs_place import numbers, open_runs, row_of, run_rows, wait_until_computed
from tests.support.screens import (
    Settle,
    Until,
    command,
    content_of,
    dialog_command,
    fill,
    notice,
    printed,
    toasts,
)

SUBSETS: list[tuple[int | None, int | None]] = [(None, None), (3, 0), (3, 0), (3, 1), (3, None)]
"""Limit and seed of the runs 1 to 5; an earlier version made the last one."""


@pytest.fixture
def subsets(demo_store: Path) -> Path:
    """Return a store with runs of the pattern student over the test split, and over parts of it."""
    db = open_database(demo_store)
    for limit, seed in SUBSETS:
        sessions = evaluate.split_to_score(db, "demo-outdoor", "test", limit, seed)
        settings = RunSettings("patterns", limit=limit, seed=seed)
        list(evaluate.evaluate_split(db, "demo-outdoor", "test", settings, sessions))
    db.close()
    return demo_store


async def test_each_subset_has_one_row_of_floors_that_names_it(subsets: Path, settle: Settle) -> None:
    app = KdtuiApp(subsets)
    async with app.run_test(size=(200, 40)) as pilot:
        await open_runs(pilot, settle)
        blocks = [row for row in run_rows(app) if row["State"] == "floors"]
        assert [(row["Sess."], row["Of"]) for row in blocks] == [
            ("3", "7, the first"),
            ("3", "7, seed 1"),
            ("3", "7, seed 0"),
            ("7", "all"),
        ]
        assert (row_of(app, 4)["Sess."], row_of(app, 4)["Of"]) == ("3", "7, seed 1")
        await pilot.press("end")
        commands = []
        for _ in blocks:
            await rest(pilot)
            commands.append(command(app))
            await pilot.press("up")
        assert commands == [
            "kdtui evaluate --floors-only --dataset demo-outdoor --split test",
            "kdtui evaluate --floors-only --dataset demo-outdoor --split test --limit 3",
            "kdtui evaluate --floors-only --dataset demo-outdoor --split test --limit 3 --seed 1",
            "kdtui run show 5",
        ]
        await pilot.press("home", "enter")
        await settle(pilot)
        assert "the first 3 of 7 test sessions, in import order" in printed(app, "#everything")


async def test_only_runs_over_the_same_sessions_are_plotted_together(subsets: Path, settle: Settle) -> None:
    app = KdtuiApp(subsets)
    async with app.run_test(size=(100, 40)) as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.plot")
        for steps, plotted in ((0, {5}), (2, {2, 3})):
            await pilot.press(*["down"] * steps)
            await wait_until_computed(pilot, settle)
            content: Any = app.screen.query_one(QualityPlot)._content
            points, _, _, title, _ = content
            assert {point.number for point in points} == plotted
        assert "demo-outdoor, 3 of 7 test sessions, drawn at random, seed 0" in title


async def test_an_unfinished_run_is_not_plotted(subsets: Path, settle: Settle) -> None:
    with closing(open_database(subsets)) as db:
        db.execute("DELETE FROM predictions WHERE rowid = (SELECT max(rowid) FROM predictions WHERE run_id = 3)")
        db.conn.commit()
    app = KdtuiApp(subsets)
    async with app.run_test(size=(100, 40)) as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.plot")
        await pilot.press("down", "down")
        await wait_until_computed(pilot, settle)
        content: Any = app.screen.query_one(QualityPlot)._content
        assert {point.number for point in content[0]} == {2}


async def test_a_row_says_that_floors_are_being_computed(
    subsets: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on = Event(), Event()

    def held(*arguments: Any) -> Any:
        begun.set()
        may_go_on.wait()
        return score_floors(*arguments)

    monkeypatch.setattr(floors, "score_floors", held)
    app = KdtuiApp(subsets)
    async with app.run_test(size=(100, 40)) as pilot:
        try:
            await settle(pilot)
            await pilot.press("6")
            await until(pilot, begun.is_set)
            await until(pilot, lambda: [row["State"] for row in run_rows(app)].count("computing…") == 4)
            await pilot.press("end", "enter")
            await rest(pilot)
            assert "these floors are still being computed" in toasts(app)
        finally:
            may_go_on.set()
        await wait_until_computed(pilot, settle)
        assert [row["State"] for row in run_rows(app)].count("floors") == 4


@pytest.mark.slow
async def test_a_run_gets_tags_and_a_note_and_the_filter_finds_them(
    subsets: Path, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(subsets)
    async with app.run_test(size=(200, 40)) as pilot:
        await open_runs(pilot, settle)
        for tags, note, does_it in (
            ("paper two", "it's new", "kdtui run tag 5 paper two && kdtui run note 5 'it'\"'\"'s new'"),
            ("two", "it's new", "kdtui run tag --remove 5 paper"),
        ):
            await act(pilot, "runs.note")
            app.screen.query_one("#field-tags", Input).value = f"{tags},"
            await rest(pilot)
            assert "is not a tag" in content_of(app, "#form-problem")
            app.screen.query_one("#field-tags", Input).value = tags
            app.screen.query_one("#field-note", Input).value = note
            await rest(pilot)
            assert does_it in dialog_command(app)
            await act(pilot, "form.done")
            await until(pilot, lambda: "tags and note of run 5 are saved" in toasts(app))
            await wait_until_computed(pilot, settle)
        assert row_of(app, 5)["Tags"] == "two"
        for text in ("two", "it's new"):
            await act(pilot, "runs.search")
            app.screen.query_one("#filter", Input).value = text
            await wait_until_computed(pilot, settle)
            assert numbers(app) == ["5"]
        await pilot.press("enter", "enter")
        await settle(pilot)
        assert "it's new" in printed(app, "#everything")
    db = open_database(subsets)
    assert (get_run(db, 5).tags, get_run(db, 5).note) == (("two",), "it's new")
    db.close()


@pytest.mark.slow
async def test_an_evaluation_of_a_drawn_subset_starts_with_tags(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await open_runs(pilot, settle)
        assert "No student has been evaluated yet" in notice(app)
        await act(pilot, "runs.new")
        await settle(pilot)
        await fill(pilot, other="patterns", seed="2")
        assert "the seed draws sessions; say how many" in content_of(app, "#form-problem")
        await fill(pilot, limit="4", tags="a b,")
        assert "'b,' is not a tag" in content_of(app, "#form-problem")
        await fill(pilot, tags="a b")
        does_it = "kdtui evaluate --dataset demo-outdoor --student patterns --limit 4 --seed 2 --tag a --tag b"
        assert does_it in dialog_command(app)
        await act(pilot, "form.done")
        await until(pilot, lambda: "run 1 is finished" in toasts(app))
        await wait_until_computed(pilot, settle)
    db = open_database(demo_store)
    [run] = [summary.run for summary in list_runs(db)]
    assert (run.settings, run.tags) == (RunSettings("patterns", limit=4, seed=2), ("a", "b"))
    db.close()
