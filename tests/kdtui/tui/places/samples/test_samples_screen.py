"""The place Samples: the contents of a sample, and the overlap of two."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.widgets import Button, Checkbox, Input, Select, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from store.database import open_database
from store.jobs import add_job
from store.knowledge import NewKnowledge, add_knowledge
from store.records import RunSettings, TrainingSettings
from store.runs import start_run
from store.samples import save_sample
from tests.support.acting import act, rest
from tests.support.samples_place import DATASET, draw_sample, open_samples, sample_names, shape
from tests.support.screens import Settle, Until, cells, command, notice, table, text_of, toasts

HOSTILE = ["[red]x[/]", "\x1b[31mred", "\u202egnol", "青い" * 30, "e\u0301" * 40, "-dash", "y" * 10_000]


@pytest.fixture
def known_store(demo_store: Path) -> Path:
    """Return a store of the outdoor demo with knowledge of all formats."""
    db = open_database(demo_store)
    list(distill_annotations(db, DATASET, ["rule", "thought"]))
    db.close()
    return demo_store


@pytest.fixture
def sampled_store(known_store: Path) -> Path:
    """Return that store with two samples, one of which contains the other."""
    draw_sample(known_store, "half", 0.5)
    draw_sample(known_store, "whole", 1.0)
    return known_store


async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        assert "kdtui demo" in notice(app)
        for action, why in (("create", "no knowledge"), ("delete", "no sample"), ("copy_command", "no command")):
            await act(pilot, f"{'screen' if 'copy' in action else 'samples'}.{action}")
            assert why in toasts(app)[-1]


async def test_a_store_without_knowledge_says_how_to_get_some(known_store: Path, settle: Settle) -> None:
    with sqlite3.connect(known_store) as db:
        db.execute("DELETE FROM knowledge")
    app = KdtuiApp(known_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        assert "kdtui knowledge mine" in notice(app)


@pytest.mark.parametrize("has_knowledge", [True, False])
async def test_with_several_datasets_the_command_names_one_with_knowledge(
    known_store: Path, outdoor: Path, settle: Settle, has_knowledge: bool
) -> None:
    db = open_database(known_store)
    # This dataset is the first by name, and has no knowledge.
    list(import_dataset(db, outdoor, "a-bare one"))
    if not has_knowledge:
        db.execute("DELETE FROM knowledge")
        db.conn.commit()
    db.close()
    app = KdtuiApp(known_store)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_samples(pilot, settle)
        wanted = (
            f"kdtui sample create NAME --dataset {DATASET} --ratio 0.5"
            if has_knowledge
            else "kdtui knowledge mine --dataset 'a-bare one'"
        )
        assert wanted in notice(app)


async def test_a_store_without_samples_says_how_to_draw_one(known_store: Path, settle: Settle) -> None:
    app = KdtuiApp(known_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        assert "Press n to draw one" in notice(app)
        assert "kdtui sample create NAME" in notice(app)


async def test_samples_are_listed_with_their_contents(sampled_store: Path, settle: Settle) -> None:
    app = KdtuiApp(sampled_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await open_samples(pilot, settle)
        name, pieces, patterns, rules, thoughts, drawn, _ = cells(app, 1)
        assert "When" in table(app).render_line(0).text
        assert (name, patterns) == ("whole", "0")
        assert int(pieces) == int(rules) + int(thoughts) > 0
        assert drawn == f"1 of {DATASET} by random, seed 0: rules, thoughts"
        assert app.focused is table(app)
        assert command(app) == "kdtui sample show half"
        text = shape(app)
        for part in ("Pieces by format", "Pieces by tokens", "Sessions by products", "█", "no run and no training yet"):
            assert part in text
        [thought] = [line for line in text.splitlines() if line.startswith("thought")]
        assert thought.split()[1] == cells(app, 0)[4]


async def test_two_marked_samples_are_compared_and_a_third_mark_replaces_the_first(
    sampled_store: Path, settle: Settle
) -> None:
    small = draw_sample(sampled_store, "a-small", 0.2)
    whole = draw_sample(sampled_store, "whole-too", 1.0)
    app = KdtuiApp(sampled_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await open_samples(pilot, settle)
        await act(pilot, "samples.overlap")
        assert "mark two samples first, with space" in toasts(app)[-1]
        await act(pilot, "samples.mark")
        await pilot.press("end")
        await act(pilot, "samples.mark")
        await settle(pilot)
        text = " ".join(shape(app).split())
        assert f"in both {small:,}" in text
        assert f"only in whole-too {whole - small:,}" in text
        assert "only in a-small 0" in text
        assert f"shared: 100.0% of a-small, {small / whole:.1%} of whole-too" in text
        assert f"Jaccard index {small / whole:.3f}" in text
        assert command(app) == "kdtui sample compare a-small whole-too"
        await act(pilot, "samples.overlap")
        await settle(pilot)
        assert isinstance(app.screen, TextDialog)
        dialog = "".join(text_of(each, 300) for each in app.screen.query(Static))
        assert dialog.count(DATASET) == small
        await pilot.press("c")
        assert len(app.clipboard.splitlines()) == small
        await pilot.press("escape", "up")
        await act(pilot, "samples.mark")
        await settle(pilot)
        assert command(app) == "kdtui sample compare whole-too whole"
        await act(pilot, "samples.mark")
        await settle(pilot)
        assert "Overlap" not in shape(app)


async def test_a_form_draws_a_sample_and_shows_the_command(known_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(known_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await open_samples(pilot, settle)
        await act(pilot, "samples.create")
        await settle(pilot)
        form = app.screen
        assert isinstance(form, FormDialog)
        problem = form.query_one("#form-problem", Static)
        assert str(problem.content) == "give it a name"
        await pilot.press(*"mine")
        for name, value, why in (("ratio", "2", "above 0"), ("ratio", "x", "above 0"), ("seed", "--5", "whole number")):
            field = form.query_one(f"#field-{name}", Input)
            before, field.value = field.value, value
            await rest(pilot)
            assert why in str(problem.content)
            field.value = before
        # Like the command, the form begins with all formats of the dataset.
        assert all(form.query_one(f"#field-{each}", Checkbox).value for each in ("pattern", "rule", "thought"))
        for format in ("pattern", "thought"):
            form.query_one(f"#field-{format}", Checkbox).value = False
        form.query_one("#field-strategy", Select).value = "diversity"
        await rest(pilot)
        assert str(form.query_one("#dialog-command", Static).content) == (
            f"$ kdtui sample create mine --dataset {DATASET} --format rule --strategy diversity --ratio 0.5 --seed 0"
        )
        await act(pilot, "form.done")
        await until(pilot, lambda: "sample mine has" in " ".join(toasts(app)))
        await settle(pilot)
        assert sample_names(known_store) == ["mine"]
        # The notice comes before the rows.
        await until(pilot, lambda: table(app).row_at(0) is not None)
        assert cells(app, 0)[5] == f"0.5 of {DATASET} by diversity, seed 0: rules"


async def test_the_form_shows_why_a_sample_cannot_be_drawn(sampled_store: Path, settle: Settle) -> None:
    app = KdtuiApp(sampled_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await open_samples(pilot, settle)
        await act(pilot, "samples.create")
        await settle(pilot)
        problem = app.screen.query_one("#form-problem", Static)
        await pilot.press(*"half")
        assert "there is a sample 'half' already" in str(problem.content)
        assert app.screen.query_one("#done", Button).disabled
        app.screen.query_one("#field-replace", Checkbox).value = True
        await rest(pilot)
        assert not str(problem.content)
        assert "kdtui sample create --replace half" in str(app.screen.query_one("#dialog-command", Static).content)
        await pilot.press("x")
        assert "there is no sample 'halfx' to replace" in str(problem.content)
        app.screen.query_one("#field-replace", Checkbox).value = False
        app.screen.query_one("#field-dataset-0", Checkbox).value = False
        await rest(pilot)
        assert "choose a dataset" in str(problem.content)
        await pilot.press("escape")
        assert sample_names(sampled_store) == ["half", "whole"]


async def test_a_failed_draw_is_reported_in_one_sentence(known_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(known_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await open_samples(pilot, settle)
        await act(pilot, "samples.create")
        await settle(pilot)
        await pilot.press(*"hard")
        app.screen.query_one("#field-strategy", Select).value = "difficulty"
        await act(pilot, "form.done")
        await until(pilot, lambda: any("sample hard cannot be drawn" in each for each in toasts(app)))
        assert any(
            f"kdtui evaluate --dataset {DATASET} --split train --student smollm2" in each for each in toasts(app)
        )
        await settle(pilot)
        assert sample_names(known_store) == []


async def test_the_uses_of_a_sample_are_shown_before_it_is_deleted(sampled_store: Path, settle: Settle) -> None:
    db = open_database(sampled_store)
    run = start_run(db, DATASET, "test", "someone", RunSettings("smollm2", ("rule",), sample="half"))
    add_job(db, "a-training", sampled_store.parent, TrainingSettings((DATASET,), sample="half"), "key")
    db.close()
    app = KdtuiApp(sampled_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        assert f"run {run.id}, training a-training" in shape(app)
        await act(pilot, "samples.delete")
        await settle(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        question_text = " ".join(text_of(each) for each in app.screen.query(Static))
        assert f"It is used by run {run.id}, training a-training" in " ".join(question_text.split())
        await act(pilot, "confirm.no")
        await settle(pilot)
        assert sample_names(sampled_store) == ["half", "whole"]
        await act(pilot, "samples.delete")
        await settle(pilot)
        await act(pilot, "confirm.yes")
        await settle(pilot)
        assert sample_names(sampled_store) == ["whole"]
        assert cells(app, 0)[0] == "whole"


@pytest.mark.parametrize("key", ["p", "enter"])
async def test_the_pieces_of_a_sample_are_shown_in_the_place_knowledge(
    sampled_store: Path, settle: Settle, key: str
) -> None:
    app = KdtuiApp(sampled_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        if key == "enter":
            await pilot.press(key)
        else:
            await act(pilot, "samples.pieces")
        await settle(pilot)
        assert app.current_mode == "knowledge"
        assert app.screen.query_one("#search", Input).value == "sample:half"


async def test_changes_of_other_programs_appear(sampled_store: Path, settle: Settle) -> None:
    app = KdtuiApp(sampled_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        draw_sample(sampled_store, "another", 0.1)
        await act(pilot, "screen.reload")
        await settle(pilot)
        assert [cells(app, number)[0] for number in range(3)] == ["another", "half", "whole"]
        assert table(app).cursor_key == "half"
        await pilot.press("1")
        draw_sample(sampled_store, "zzz", 0.1)
        await pilot.press("4")
        await settle(pilot)
        assert table(app).row_count == 4


async def test_no_sample_is_drawn_from_deleted_knowledge(sampled_store: Path, settle: Settle) -> None:
    app = KdtuiApp(sampled_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        with closing(open_database(sampled_store)) as db, db.conn:
            db.execute("DELETE FROM knowledge")
        await act(pilot, "samples.create")
        await settle(pilot)
        assert toasts(app) == ["there is no knowledge to draw from"]
        assert not isinstance(app.screen, FormDialog)


async def test_the_position_of_the_cursor_is_remembered(sampled_store: Path, settle: Settle, tmp_path: Path) -> None:
    for remembered in ("whole", "gone", 7):
        memory = Memory(tmp_path / "memory.json", sampled_store)
        memory.of("samples")["sample"] = remembered
        app = KdtuiApp(sampled_store, memory=memory)
        async with app.run_test() as pilot:
            await open_samples(pilot, settle)
            assert table(app).cursor_key == ("whole" if remembered == "whole" else "half")


async def test_a_broken_store_is_reported_in_one_sentence(sampled_store: Path, settle: Settle) -> None:
    app = KdtuiApp(sampled_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        with sqlite3.connect(sampled_store) as db:
            db.execute("DROP TABLE samples")
        await act(pilot, "screen.reload")
        await settle(pilot)
        assert any("no such table" in each for each in toasts(app))
    app = KdtuiApp(sampled_store)
    async with app.run_test() as pilot:
        await open_samples(pilot, settle)
        assert "no such table" in notice(app)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_hostile_names_and_statements_are_text(known_store: Path, settle: Settle, size: tuple[int, int]) -> None:
    db = open_database(known_store)
    numbers = add_knowledge(db, DATASET, "rule", "[b]me", [NewKnowledge(each, "{}") for each in HOSTILE])
    for name in HOSTILE:
        save_sample(db, name, [], numbers, replace=False)
    db.close()
    app = KdtuiApp(known_store)
    async with app.run_test(size=size) as pilot:
        await open_samples(pilot, settle)
        for _ in HOSTILE:
            await act(pilot, "samples.mark")
            await settle(pilot)
            lines = [strip.text for strip in app.screen._compositor.render_strips()]
            assert not any(character in line for line in lines for character in "\x1b\u202e")
            assert {cell_len(line) for line in lines} == {size[0]}
            await pilot.press("j")
        await act(pilot, "samples.overlap")
        await settle(pilot)
        assert isinstance(app.screen, TextDialog)
        await pilot.press("escape", "home")
        await act(pilot, "samples.delete")
        await settle(pilot)
        await act(pilot, "confirm.yes")
        await settle(pilot)
        assert len(sample_names(known_store)) == len(HOSTILE) - 1


async def test_the_screen_can_be_resized_at_any_time(sampled_store: Path, settle: Settle) -> None:
    app = KdtuiApp(sampled_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_samples(pilot, settle)
        narrow = shape(app)
        assert "Pieces by format" in narrow
        assert "Sessions by products" in next(line for line in narrow.splitlines() if "Pieces by format" in line)
        await pilot.resize_terminal(200, 60)
        await settle(pilot)
        assert "Sessions by products" not in next(
            line for line in shape(app).splitlines() if "Pieces by format" in line
        )
        await pilot.resize_terminal(30, 8)
        await settle(pilot)
        assert table(app).row_count == 2
