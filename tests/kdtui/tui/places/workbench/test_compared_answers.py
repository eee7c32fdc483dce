"""Two settings of a student, compared on one session."""

from pathlib import Path

import pytest
from textual.widgets import Select, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.places.workbench.screen import WorkbenchScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from store.records import RunSettings
from tests.support.acting import act
from tests.support.screens import Settle, Until, column, content_of, fill
from tests.support.session_place import Student, bundles, heading, opened, screen


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_two_settings_are_compared_on_one_session(
    demo_store: Path, student: Student, settle: Settle, until: Until, size: tuple[int, int]
) -> None:
    student.answers = {"shipped": [(2, 4), (1, 3)], "patterns": [(2, 4), (2, 5, 6)], "smollm2": [(5, 6)]}
    app = KdtuiApp(demo_store)
    async with opened(app, settle, size) as pilot:
        await act(pilot, "session.compare")
        await settle(pilot)
        assert isinstance(app.screen, FormDialog)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "done" in heading(app) and "done" in heading(app, "#other"))
        await settle(pilot)
        assert content_of(app, "#asks").splitlines() == ["▸1st shipped", " 2nd patterns"]
        assert content_of(app, "#scores").splitlines() == [
            "1st  pair F1 0.33 (1 right, 1 extra, 3 missing) · strict P 0.50, R 0.50",
            "2nd  pair F1 1.00 (4 right, 0 extra, 0 missing) · strict P 1.00, R 1.00",
            "alike: 1 · only 1st: b · only 2nd: b",
        ]
        assert column(app, 2) == ["b", "a", "b", "a", "", ""]
        assert column(app, 3) == ["", "a b", "", "a", "b", "b"]
        assert [line.rpartition("| ")[2].split(" t")[0] for line in bundles(app, "#truth")] == [
            "1st = a 2nd = a",
            "1st missing 2nd = b weekend",
        ]
        panels = {name: screen(app).query_one(name).display for name in ("#truth", "#generated", "#other")}
        assert panels == {"#truth": size[0] > 100, "#generated": True, "#other": True}
        await act(pilot, "session.other_side")
        assert content_of(app, "#asks").splitlines() == [" 1st shipped", "▸2nd patterns"]
        assert screen(app).command.endswith("--student patterns")
        assert screen(app).query_one("#other").display
        await pilot.press("a")
        assert app.choice == StudentChoice.of(None)
        assert heading(app, "#other") == "2nd  g generates", (
            "what another student said would stand under this one's name"
        )
        await act(pilot, "session.settings")
        await settle(pilot)
        assert str(app.screen.query_one(".heading", Static).content) == "The 2nd settings"
        await fill(pilot, student="patterns")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert content_of(app, "#asks").splitlines() == [" 1st shipped", "▸2nd patterns"]
        assert app.choice == StudentChoice.of(None)
        await pilot.press("right_square_bracket")
        await settle(pilot)
        await pilot.press("g")
        await until(pilot, lambda: "done" in heading(app) and "done" in heading(app, "#other"))
        await act(pilot, "session.single")
        assert column(app, 3)[0] != ""
        assert content_of(app, "#asks") == "asks shipped"
        assert not screen(app).query_one("#other").display
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, WorkbenchScreen)


async def test_the_last_compared_settings_are_offered_again(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers = {"shipped": [(2, 4)], "smollm2": [(2, 4)]}
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("v")
        await settle(pilot)
        app.screen.query_one("#field-student", Select).value = "smollm2"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen) and "done" in heading(app, "#other"))
        await pilot.press("escape", "v")
        await settle(pilot)
        assert app.screen.query_one("#field-student", Select).value == "smollm2"


async def test_a_compared_answer_disappears_when_its_settings_change(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers = {"shipped": [(2, 4), (1, 3)], "patterns": [(2, 4)]}
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.compare")
        await settle(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "done" in heading(app) and "done" in heading(app, "#other"))
        await settle(pilot)
        await act(pilot, "session.next_student")
        assert app.choice.name == "smollm2"
        assert heading(app) == "1st  g generates"
        assert bundles(app) == []
        assert set(column(app, 2)) == {""}
        [score] = content_of(app, "#scores").splitlines()
        assert score.startswith("2nd  pair F1")


async def test_a_compared_answer_disappears_when_another_place_changes_its_student(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers = {"shipped": [(2, 4), (1, 3)], "patterns": [(2, 4)]}
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.compare")
        await settle(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "done" in heading(app) and "done" in heading(app, "#other"))
        await act(pilot, "app.jobs")
        app.use_choice(StudentChoice.of(RunSettings("smollm2")))
        await act(pilot, "app.workbench")
        await settle(pilot)
        assert content_of(app, "#asks").splitlines() == ["▸1st smollm2", " 2nd patterns"]
        assert heading(app) == "1st  g generates"
        assert bundles(app) == []
        assert set(column(app, 2)) == {""}
        [score] = content_of(app, "#scores").splitlines()
        assert score.startswith("2nd  pair F1")
