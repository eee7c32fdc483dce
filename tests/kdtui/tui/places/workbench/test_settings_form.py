"""The settings of a session's student: by keys, by the form, and as its adapter was trained."""

from pathlib import Path

import pytest
from rich.text import Text
from textual.widgets import Checkbox, Input, Select, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.tui.places.workbench.session_screen import SessionScreen
from models.errors import ModelError
from store.database import open_database
from store.models import NamedModel, add_model
from store.records import RunSettings, TrainingSettings
from tests.support.acting import act, rest
from tests.support.screens import Settle, Until, content_of, dialog_command, fill, toasts
from tests.support.session_place import PATTERNS, Student, bundles, form_text, heading, opened, screen, with_adapter


async def test_the_next_student_and_patterns_are_a_key_away_and_remembered(
    demo_store: Path, settle: Settle, tmp_path: Path
) -> None:
    app = KdtuiApp(demo_store, memory=Memory(tmp_path / "memory.json", demo_store))
    async with opened(app, settle) as pilot:
        assert screen(app).command == "kdtui generate o01 --dataset demo-outdoor"
        await act(pilot, "session.toggle_patterns")
        assert any("shown no knowledge" in toast for toast in toasts(app))
        await act(pilot, "session.next_student")
        await act(pilot, "session.toggle_patterns")
        await act(pilot, "screen.copy_command")
        assert app.clipboard == "kdtui generate o01 --dataset demo-outdoor --student smollm2 --knowledge pattern"
        assert content_of(app, "#asks") == "asks smollm2 + pattern"
        await pilot.press("escape", "down", "enter")
        await settle(pilot)
        command_line = "kdtui generate o02 --dataset demo-outdoor --student smollm2 --knowledge pattern"
        assert screen(app).command == command_line
    again = KdtuiApp(demo_store, memory=Memory(tmp_path / "memory.json", demo_store))
    async with opened(again, settle) as pilot:
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert screen(again).command == command_line
        await pilot.press("a", "p")
        assert screen(again).command == "kdtui generate o02 --dataset demo-outdoor --student patterns"
        assert any("learns from the training sessions and is shown no knowledge" in toast for toast in toasts(again))


async def test_named_models_and_adapters_are_students(demo_store: Path, settle: Settle) -> None:
    db = open_database(demo_store)
    add_model(db, NamedModel("large", Path("/l.gguf"), "a test", made=False))
    add_model(db, NamedModel("[b]mine", Path("/a.gguf"), "a test", made=False, kind="adapter"))
    db.close()
    app = KdtuiApp(demo_store, PATTERNS)
    async with opened(app, settle) as pilot:
        names = []
        for _ in range(5):
            await pilot.press("a")
            names.append(app.choice.name)
        assert names == ["large", "smollm2 + [b]mine", "shipped", "smollm2", "patterns"]
        await act(pilot, "session.settings")
        await settle(pilot)
        await rest(pilot)
        select = app.screen.query_one("#field-adapter", Select)
        select.value = "[b]mine"
        await rest(pilot)
        # The file of the adapter is missing: any student that takes adapters is kept.
        assert app.screen.query_one("#field-student", Select).value == "smollm2"
        assert "what [b]mine was trained with is unknown" in str(app.screen.query_one("#form-remark", Static).content)
        app.screen.query_one("#field-student", Select).value = "large"
        app.screen.query_one("#field-scale", Input).value = "0.5"
        await rest(pilot)
        assert "--student large --adapter '[b]mine=0.5'" in str(app.screen.query_one("#dialog-command", Static).content)
        await act(pilot, "form.done")
        await settle(pilot)
        assert app.choice.settings == RunSettings("large", adapters=(("[b]mine", 0.5),))


async def test_the_form_has_all_options_of_the_command(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers["smollm2"] = [(2, 4)]
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        assert isinstance(app.screen, FormDialog)
        app.screen.query_one("#field-student", Select).value = "smollm2"
        app.screen.query_one("#field-pattern", Checkbox).value = True
        app.screen.query_one("#field-strategy", Select).value = "drafts"
        for name, value in (("neighbours", "3"), ("budget", "100"), ("context", "2048")):
            app.screen.query_one(f"#field-{name}", Input).value = value
        await rest(pilot)
        options = "--student smollm2 --knowledge pattern --neighbours 3 --budget 100 --strategy drafts --context 2048"
        command = f"kdtui generate o01 --dataset demo-outdoor {options}"
        assert str(app.screen.query_one("#dialog-command", Static).content) == f"$ {command}"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert screen(app).command == command
        assert "3 neighbours · 100 tokens of knowledge · 2,048 tokens of context" in content_of(app, "#asks")
        await pilot.press("g")
        await until(pilot, lambda: "done in" in heading(app))
        assert student.settings == [
            RunSettings("smollm2", ("pattern",), context=2048, strategy="drafts", neighbours=3, budget=100)
        ]


async def test_an_adapter_sets_the_form_as_it_was_trained_until_the_user_changes_it(
    demo_store: Path, settle: Settle
) -> None:
    with_adapter(demo_store, "camping", TrainingSettings(("demo-outdoor",), knowledge=("pattern",), budget=50))
    with_adapter(demo_store, "plain", TrainingSettings(("demo-outdoor",), form="list"), base="/tiny.gguf")
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        assert not app.screen.query_one("#form-remark").display
        await fill(pilot, strategy="drafts", rule="yes")
        await fill(pilot, adapter="camping")
        assert dialog_command(app).endswith("--student smollm2 --adapter camping --knowledge pattern --budget 50")
        note = app.screen.query_one("#form-remark", Static)
        assert str(note.content) == "student, knowledge and strategy are set as camping was trained"
        box = app.screen.query_one("#field-pattern", Checkbox)
        assert box.render().plain.strip() == "[x] yes"
        await fill(pilot, pattern="", budget="")
        assert box.render().plain.strip() == "[ ] no"
        assert dialog_command(app).endswith("--student smollm2 --adapter camping --knowledge none")
        await fill(pilot, adapter="plain")
        assert dialog_command(app).endswith("--student /tiny.gguf --adapter plain --knowledge none")
        # The choice above is unused then, and shows that.
        assert app.screen.query_one("#field-student", Select).value == ""
        await fill(pilot, student="smollm2")
        assert dialog_command(app).endswith("--student smollm2 --adapter plain --knowledge none")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.choice.settings == RunSettings("smollm2", adapters=(("plain", 1.0),))


@pytest.mark.parametrize("other", ["shipped", "patterns", "http://host/v1#m"])
async def test_choosing_a_student_without_adapters_removes_the_adapter(
    demo_store: Path, settle: Settle, other: str
) -> None:
    with_adapter(demo_store, "camping", TrainingSettings(("demo-outdoor",), knowledge=("pattern",), budget=50))
    app = KdtuiApp(demo_store)
    app.use_choice(StudentChoice.of(RunSettings("smollm2", ("pattern",), adapters=(("camping", 1.0),), budget=50)))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        await fill(pilot, **{"other" if "/" in other else "student": other})
        assert app.screen.query_one("#field-adapter", Select).value == ""
        note = str(app.screen.query_one("#form-remark", Static).content)
        assert note == f"{other} takes no adapter of yours: adapter camping is removed"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.choice.settings == RunSettings(other)


@pytest.mark.parametrize("student", ["shipped", "patterns"])
@pytest.mark.slow
async def test_choosing_a_student_without_knowledge_removes_the_knowledge(
    demo_store: Path, settle: Settle, student: str
) -> None:
    app = KdtuiApp(demo_store, RunSettings("smollm2", ("pattern",), neighbours=3, budget=50))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        await fill(pilot, student=student)
        assert form_text(app, "remark") == f"{student} is shown no knowledge: it is removed"
        assert form_text(app, "problem") == ""
        await fill(pilot, pattern="yes")
        refused = f"the {student} student is shown no knowledge; choose smollm2, or leave knowledge out"
        assert form_text(app, "problem") == refused
        await fill(pilot, pattern="", budget="7")
        assert form_text(app, "problem") == refused
        await fill(pilot, budget="")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.choice.settings == RunSettings(student)


@pytest.mark.slow
async def test_choosing_the_shipped_student_removes_several_adapters(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    app.use_choice(StudentChoice.of(RunSettings("smollm2", adapters=(("x", 1.0), ("y", 0.5)))))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        await fill(pilot, student="shipped")
        assert "the adapters are removed" in str(app.screen.query_one("#form-remark", Static).content)
        await fill(pilot, adapter="=")
        assert "has an adapter of its own" in str(app.screen.query_one("#form-problem", Static).content)


async def test_a_student_is_typed_or_chosen(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store, RunSettings("/tiny.gguf"))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        assert dialog_command(app).endswith("--student /tiny.gguf")
        await fill(pilot, student="smollm2")
        assert dialog_command(app).endswith("--student smollm2")
        assert app.screen.query_one("#field-other", Input).value == ""
        await fill(pilot, other="/small.gguf")
        assert dialog_command(app).endswith("--student /small.gguf")
        await fill(pilot, other="")
        assert "name the other student" in str(app.screen.query_one("#form-problem", Static).content)


@pytest.mark.slow
async def test_the_form_shows_what_is_wrong(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store, RunSettings("smollm2"))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        form = app.screen
        for field, value, problem in (
            ("neighbours", "many", "neighbours: a whole number between 1 and 50"),
            ("neighbours", "51", "neighbours: a whole number between 1 and 50"),
            ("budget", "9" * 40, "tokens: a whole number from 1 on"),
            ("budget", "5", "--budget is about knowledge"),
            ("context", "12", "context: a whole number from 256 on"),
            ("other", "http://me:secret@host/v1#m", "the address of an endpoint must not contain a key"),
        ):
            line = form.query_one(f"#field-{field}", Input)
            before, line.value = line.value, value
            await rest(pilot)
            assert problem in str(form.query_one("#form-problem", Static).content)
            await pilot.press("ctrl+s")
            assert app.screen is form
            assert isinstance(form, FormDialog)
            line.value = before
            await rest(pilot)
            assert problem not in str(form.query_one("#form-problem", Static).content)
        await pilot.press("escape")
        await settle(pilot)
        assert app.choice == StudentChoice.of(RunSettings("smollm2"))


async def test_the_form_shows_which_format_is_missing(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        await fill(pilot, student="smollm2", rule="yes")
        assert "the dataset has no rules yet" in form_text(app, "problem")


async def test_a_choice_of_another_place_is_shown(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("1")
        app.use_choice(StudentChoice.of(PATTERNS))
        await pilot.press("2")
        await settle(pilot)
        assert content_of(app, "#asks") == "asks patterns"
        assert screen(app).command == "kdtui generate o01 --dataset demo-outdoor --student patterns"


async def test_why_shows_the_exact_prompt(demo_store: Path, student: Student, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.why")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        text = "\n".join(str(each.content) for each in app.screen.query(Static) if isinstance(each.content, Text))
        for part in ("is given for session o01", "--show-prompt o01", "how it is", "rule 7: a rule", "1,2?"):
            assert part in text
        assert "<|im_start|> [b]o01" in text
        await act(pilot, "text.copy")
        assert "<|im_start|>" in app.clipboard
        await pilot.press("escape")
        student.problem = ModelError("there is no model")
        await pilot.press("w")
        await until(pilot, lambda: any("there is no model" in toast for toast in toasts(app)))
        assert isinstance(app.screen, SessionScreen)


@pytest.mark.usefixtures("student")
async def test_why_can_be_stopped_while_the_student_runs(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        await pilot.press("w", "w")
        assert heading(app) == "Generated  looking up the prompt…"
        await act(pilot, "screen.reload")
        assert any("the student is running" in toast for toast in toasts(app))
        assert any("already being looked up" in toast for toast in toasts(app))
        await pilot.press("escape")
        await until(pilot, lambda: "stopped" in heading(app) and screen(app).why_not("why") is None)
        assert isinstance(app.screen, SessionScreen)
