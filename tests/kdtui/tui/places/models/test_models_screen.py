"""The place Models: the list, details of a model, and the actions on it."""

import sqlite3
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.widgets import Button, Input, Select, Static, TextArea

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.manage_models import add_file
from models.adapters.provenance import about_base
from models.llama.model import LlamaModel
from store.database import open_database
from store.default_adapters import set_default_adapter
from store.jobs import add_job
from store.models import NamedModel, add_model
from store.records import TrainingSettings
from tests.support.acting import act, rest
from tests.support.models_place import cells_of_model, details, has_reported, model_names, open_model
from tests.support.screens import Settle, Until, command, table, text_of, toasts
from tests.support.tiny import make_adapter, make_model

HOSTILE = ["[red]x[/]", "\x1b[31mred", "\u202egnol", "青い" * 30, "e\u0301" * 40, "y" * 10_000]


@pytest.fixture
def model_store(empty_store: Path, tmp_path: Path) -> Path:
    """Return a store with two bases, and an adapter that was trained for one of them."""
    db = open_database(empty_store)
    right = make_model(tmp_path / "right.gguf")
    for path in (right, make_model(tmp_path / "other.gguf", norm=2.0)):
        add_file(db, path, None)
    manifest = {"base": "right.gguf", "seed": 7, **about_base(LlamaModel(right), right)}
    adapter = make_adapter(tmp_path / "tuned.gguf", manifest=manifest)
    add_model(db, NamedModel("tuned", adapter, "training on right.gguf", made=False, kind="adapter"))
    add_job(db, "tuned", tmp_path, TrainingSettings(("demo",)), "key")
    (tmp_path / "exit_code").write_text("0")
    db.close()
    return empty_store


async def test_a_store_without_models_shows_the_shipped_ones_and_what_to_do(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await open_model(pilot, settle)
        assert cells_of_model(app, "smollm2")[1:5] == ["base", "llama", "135 M", "Q4_1"]
        assert cells_of_model(app, "shipped")[1] == "adapter"
        assert "n gives a file of yours a name" in details(app)
        assert "general.license apache-2.0" in details(app)
        assert command(app) == "kdtui model show smollm2"
        assert app.focused is table(app)
        await act(pilot, "models.remove")
        assert "smollm2 comes with kdtui" in toasts(app)[-1]
        await act(pilot, "models.stop")
        assert "nothing is running" in toasts(app)[-1]


async def test_an_adapter_is_shown_with_its_manifest_and_the_bases_that_it_fits(
    model_store: Path, settle: Settle
) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await open_model(pilot, settle, "tuned")
        text = details(app)
        for part in (
            "training tuned",
            "fits right: yes",
            "fits smollm2: its width is 576",
            "it was trained on other weights than those of other.gguf",
            "seed 7",
            "end_of_answer <|im_end|>",
        ):
            assert part in text
        assert "These come with kdtui" not in text
        await act(pilot, "models.quantize")
        assert "an adapter stays as it is" in toasts(app)[-1]


@pytest.mark.parametrize("key", ["v", "enter"])
async def test_the_details_of_a_model_open_over_the_list_and_are_copied(
    model_store: Path, settle: Settle, key: str
) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test() as pilot:
        await open_model(pilot, settle, "tuned")
        if key == "enter":
            await pilot.press(key)
        else:
            await act(pilot, "models.details")
        assert isinstance(app.screen, TextDialog)
        await pilot.press("c")
        assert "seed: 7" in app.clipboard.splitlines()
        assert "fits: right: yes" in app.clipboard.splitlines()


async def test_the_path_of_a_model_is_copied(model_store: Path, settle: Settle, tmp_path: Path) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test() as pilot:
        await open_model(pilot, settle, "right")
        await act(pilot, "models.copy_path")
        assert app.clipboard == str(tmp_path / "right.gguf")


async def test_a_form_gives_a_file_a_name_and_shows_the_command(
    empty_store: Path, settle: Settle, tmp_path: Path
) -> None:
    path = make_model(tmp_path / "My Model.gguf")
    app = KdtuiApp(empty_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_model(pilot, settle)
        await act(pilot, "models.add")
        form = app.screen
        assert isinstance(form, FormDialog)
        assert str(form.query_one("#form-problem", Static).content) == "say which file or folder"
        form.query_one("#field-path", Input).value = str(path)
        await rest(pilot)
        assert "kdtui model add '" in str(form.query_one("#dialog-command", Static).content)
        await act(pilot, "form.done")
        await settle(pilot)
        assert model_names(empty_store) == ["my-model"]
        assert table(app).cursor_key == "my-model"
        assert cells_of_model(app, "my-model")[1] == "base"


async def test_an_unusable_file_is_reported_in_one_sentence(model_store: Path, settle: Settle, tmp_path: Path) -> None:
    model = str(tmp_path / "right.gguf")
    app = KdtuiApp(model_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_model(pilot, settle)
        for path, name, sentence in (
            ("nowhere.gguf", "", "No such file"),
            (__file__, "", "this is not a GGUF file"),
            (model, "a b", "cannot be a name"),
            (model, "smollm2", "comes with kdtui"),
            (model, "right", "there is a model 'right' already"),
        ):
            await act(pilot, "models.add")
            app.screen.query_one("#field-path", Input).value = path
            app.screen.query_one("#field-name", Input).value = name
            await act(pilot, "form.done")
            await settle(pilot)
            assert sentence in toasts(app)[-1]
            assert model_names(model_store) == ["other", "right", "tuned"]


@pytest.mark.slow
async def test_a_model_is_written_in_fewer_bits(model_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test(size=(160, 40)) as pilot:
        await open_model(pilot, settle, "right")
        await act(pilot, "models.quantize")
        await settle(pilot)
        form = app.screen
        assert isinstance(form, FormDialog)
        form.query_one("#field-kind", Select).value = "Q8_0"
        form.query_one("#field-name", Input).value = "small"
        await rest(pilot)
        assert str(form.query_one("#dialog-command", Static).content) == (
            "$ kdtui model quantize right --to Q8_0 --name small"
        )
        await act(pilot, "form.done")
        await until(pilot, lambda: has_reported(app))
        assert any("small has" in each for each in toasts(app))
        await settle(pilot)
        assert table(app).cursor_key == "small"
        assert cells_of_model(app, "small")[1:5:3] == ["quantized", "Q8_0"]
        assert (model_store.parent / "models" / "small.gguf").exists()


async def test_a_stopped_quantization_leaves_nothing(model_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test(size=(160, 40)) as pilot:
        await open_model(pilot, settle)
        await act(pilot, "models.quantize")
        await settle(pilot)
        app.screen.query_one("#field-kind", Select).value = "F32"
        await act(pilot, "form.done")
        await until(pilot, lambda: "MB so far" in str(app.screen.query_one("#work", Static).content))
        await act(pilot, "models.quantize")
        assert "one at a time" in toasts(app)[-1]
        await act(pilot, "models.stop")
        await until(pilot, lambda: any("is not written" in each for each in toasts(app)))
        await settle(pilot)
        assert model_names(model_store) == ["other", "right", "tuned"]
        assert not list((model_store.parent / "models").iterdir())


async def test_a_failed_quantization_is_reported_in_one_sentence(
    model_store: Path, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test(size=(160, 40)) as pilot:
        await open_model(pilot, settle, "right")
        await act(pilot, "models.quantize")
        await settle(pilot)
        app.screen.query_one("#field-name", Input).value = "other"
        await act(pilot, "form.done")
        await until(pilot, lambda: any("cannot be written: there is a model 'other'" in each for each in toasts(app)))


@pytest.mark.slow
async def test_a_form_merges_adapters_and_shows_the_command(model_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test(size=(160, 50)) as pilot:
        await open_model(pilot, settle, "right")
        await act(pilot, "models.merge")
        assert "right is not an adapter" in toasts(app)[-1]
        await open_model(pilot, settle, "tuned")
        await act(pilot, "models.merge")
        form = app.screen
        assert isinstance(form, FormDialog)
        lines = form.query_one("#field-adapters", TextArea)
        assert lines.text == "tuned=1\n"
        for text, rank, problem in (
            ("", "", "name the adapters to merge"),
            ("tuned=nan", "", "the weight of an adapter is a number such as 0.5, not nan"),
            ("tuned\ntuned=2", "", "tuned is named twice"),
            ("tuned", "none", "rank: a whole number"),
            ("tuned=0.5", "1", ""),
        ):
            lines.text = text
            form.query_one("#field-rank", Input).value = rank
            await rest(pilot)
            assert problem in str(form.query_one("#form-problem", Static).content)
        form.query_one("#field-name", Input).value = "half"
        await rest(pilot)
        assert str(form.query_one("#dialog-command", Static).content) == (
            "$ kdtui model merge tuned=0.5 --rank 1 --name half"
        )
        await act(pilot, "form.done")
        await until(pilot, lambda: has_reported(app))
        assert "half has rank 1 and keeps" in toasts(app)[-1]
        await settle(pilot)
        assert table(app).cursor_key == "half"
        assert cells_of_model(app, "half")[1] == "adapter"
        assert "merged.tuned.trained" in details(app)


async def test_an_impossible_merge_is_reported_in_one_sentence(model_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test(size=(160, 50)) as pilot:
        await open_model(pilot, settle, "tuned")
        await act(pilot, "models.merge")
        app.screen.query_one("#field-adapters", TextArea).text = "tuned\nshipped"
        await act(pilot, "form.done")
        await until(pilot, lambda: has_reported(app))
        assert "tuned and shipped cannot be merged" in toasts(app)[-1]
        await settle(pilot)
        assert model_names(model_store) == ["other", "right", "tuned"]


@pytest.mark.slow
async def test_an_adapter_is_exported_and_imported_again(
    model_store: Path, settle: Settle, until: Until, tmp_path: Path
) -> None:
    app = KdtuiApp(model_store)
    folder = tmp_path / "given"
    async with app.run_test(size=(160, 50)) as pilot:
        await open_model(pilot, settle, "other")
        await act(pilot, "models.export")
        assert "other is not an adapter" in toasts(app)[-1]
        await open_model(pilot, settle, "tuned")
        await act(pilot, "models.export")
        form = app.screen
        assert isinstance(form, FormDialog)
        assert str(form.query_one("#form-problem", Static).content) == "say which folder to write"
        form.query_one("#field-folder", Input).value = str(folder)
        form.query_one("#field-licence", Input).value = "mit"
        form.query_one("#field-base", Input).value = "me/right"
        await rest(pilot)
        assert str(form.query_one("#dialog-command", Static).content) == (
            f"$ kdtui model export tuned --output {folder} --licence mit --base me/right"
        )
        await act(pilot, "form.done")
        await until(pilot, lambda: has_reported(app))
        assert "7 files, for the base me/right" in toasts(app)[-1]
        await settle(pilot)
        assert (folder / "adapter_model.safetensors").is_file()
        await act(pilot, "models.add")
        app.screen.query_one("#field-path", Input).value = str(folder)
        app.screen.query_one("#field-name", Input).value = "again"
        await rest(pilot)
        assert str(app.screen.query_one("#dialog-command", Static).content) == (
            f"$ kdtui model add {folder} --name again"
        )
        await act(pilot, "form.done")
        await until(pilot, lambda: has_reported(app))
        assert "again is added" in toasts(app)[-1]
        await settle(pilot)
        assert table(app).cursor_key == "again"
        assert "fits right: yes" in details(app)
        own = model_store.parent / "models" / "again"
        assert own.is_dir()
        await act(pilot, "models.remove")
        await settle(pilot)
        question = " ".join(text_of(each) for each in app.screen.query(Static))
        assert "The files are deleted, since kdtui made or copied them" in " ".join(question.split())
        app.screen.query_one("#yes", Button).press()
        await settle(pilot)
        assert not own.exists()


async def test_the_adapter_of_a_training_is_deleted_with_the_training(model_store: Path, settle: Settle) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test() as pilot:
        await open_model(pilot, settle, "tuned")
        await act(pilot, "models.remove")
        await settle(pilot)
        assert "the adapter of a training; delete both with: kdtui sft rm tuned" in toasts(app)[-1]
        assert "tuned" in model_names(model_store)


async def test_deleting_an_adapter_says_which_datasets_lose_their_default(
    model_store: Path, settle: Settle, tmp_path: Path, outdoor: Path
) -> None:
    db = open_database(model_store)
    list(import_dataset(db, outdoor, "outdoor"))
    add_model(db, NamedModel("mine", make_adapter(tmp_path / "mine.gguf"), "", made=False, kind="adapter"))
    set_default_adapter(db, "outdoor", "mine")
    db.close()
    app = KdtuiApp(model_store)
    async with app.run_test() as pilot:
        await open_model(pilot, settle, "mine")
        await act(pilot, "models.remove")
        await settle(pilot)
        question = " ".join(" ".join(text_of(each) for each in app.screen.query(Static)).split())
        assert "It is the default adapter of outdoor, which the shipped student answers from then on." in question


@pytest.mark.slow
async def test_forgetting_a_model_says_what_happens_to_its_file(
    model_store: Path, settle: Settle, tmp_path: Path
) -> None:
    mine = make_model(tmp_path / "mine.gguf")
    db = open_database(model_store)
    add_model(db, NamedModel("made", mine, "right as Q4_0", made=True))
    db.close()
    app = KdtuiApp(model_store)
    for name, consequence, remaining in (
        ("right", "the file stays", ["made", "other", "tuned"]),
        ("made", "The file is deleted", ["other", "tuned"]),
    ):
        app = KdtuiApp(model_store)
        async with app.run_test() as pilot:
            await open_model(pilot, settle, name)
            await act(pilot, "models.remove")
            await settle(pilot)
            assert isinstance(app.screen, ConfirmDialog)
            question = " ".join(text_of(each) for each in app.screen.query(Static))
            assert consequence in " ".join(question.split())
            await act(pilot, "confirm.no")
            await settle(pilot)
            assert name in model_names(model_store)
            await act(pilot, "models.remove")
            await settle(pilot)
            app.screen.query_one("#yes", Button).press()
            await settle(pilot)
            assert model_names(model_store) == remaining
            assert table(app).row_count == len(remaining) + 3
    assert (tmp_path / "right.gguf").exists()
    assert not mine.exists()


async def test_the_sentence_encoder_is_shown_and_says_why_it_answers_nothing(model_store: Path, settle: Settle) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test() as pilot:
        await open_model(pilot, settle, "minilm")
        assert cells_of_model(app, "minilm")[1] == "encoder"
        for action in ("use", "calibrate", "quantize"):
            assert app.screen.why_not(action) == "minilm makes vectors, and answers nothing"  # type: ignore[attr-defined]
        assert app.screen.why_not("remove") == "minilm comes with kdtui"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("model", "student", "adapters"),
    [
        ("smollm2", "smollm2", ()),
        ("shipped", "shipped", ()),
        ("other", "other", ()),
        ("tuned", "right", (("tuned", 1.0),)),
    ],
)
async def test_a_model_is_used_in_the_workbench(
    model_store: Path, settle: Settle, model: str, student: str, adapters: tuple[tuple[str, float], ...]
) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test() as pilot:
        await open_model(pilot, settle, model)
        await act(pilot, "models.use")
        await settle(pilot)
        assert app.current_mode == "workbench"
        assert (app.choice.settings.student, app.choice.settings.adapters) == (student, adapters)


async def test_an_adapter_without_its_base_cannot_be_used(model_store: Path, settle: Settle) -> None:
    with sqlite3.connect(model_store) as db:
        db.execute("DELETE FROM models WHERE name = 'right'")
    app = KdtuiApp(model_store)
    async with app.run_test() as pilot:
        await open_model(pilot, settle, "tuned")
        await act(pilot, "models.use")
        await settle(pilot)
        assert "adapter 'tuned' needs a GGUF file of its base, right.gguf" in toasts(app)[-1]
        assert app.current_mode == "models"


async def test_a_missing_file_is_shown_as_such(model_store: Path, settle: Settle, tmp_path: Path) -> None:
    (tmp_path / "right.gguf").unlink()
    app = KdtuiApp(model_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await open_model(pilot, settle, "right")
        assert "No such file" in cells_of_model(app, "right")[-1]
        assert "No such file" in details(app)
        await act(pilot, "models.use")
        assert "the file cannot be used" in toasts(app)[-1]
        make_model(tmp_path / "right.gguf")
        await act(pilot, "screen.reload")
        await settle(pilot)
        assert cells_of_model(app, "right")[1] == "base"
        assert "No such file" not in details(app)


async def test_models_added_by_other_programs_appear_and_the_cursor_stays(
    model_store: Path, settle: Settle, tmp_path: Path
) -> None:
    app = KdtuiApp(model_store, memory=Memory(tmp_path / "memory.json", model_store))
    async with app.run_test() as pilot:
        await open_model(pilot, settle, "right")
        await pilot.press("1")
        db = open_database(model_store)
        add_file(db, make_model(tmp_path / "a.gguf"), None)
        db.close()
        await pilot.press("7")
        await settle(pilot)
        assert table(app).row_count == 7
        assert table(app).cursor_key == "right"
    app = KdtuiApp(model_store, memory=Memory(tmp_path / "memory.json", model_store))
    async with app.run_test() as pilot:
        await settle(pilot)
        assert table(app).cursor_key == "right"


async def test_a_broken_store_is_reported_in_one_sentence(model_store: Path, settle: Settle) -> None:
    with sqlite3.connect(model_store) as db:
        db.execute("DROP TABLE models")
    app = KdtuiApp(model_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("7")
        await settle(pilot)
        assert any("no such table" in each for each in toasts(app))
        assert "no such table" in text_of(app.screen.query_one("#notice", Static))
        await act(pilot, "models.use")
        assert "there is no model" in toasts(app)[-1]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
@pytest.mark.slow
async def test_hostile_manifests_and_names_are_text(
    empty_store: Path, settle: Settle, tmp_path: Path, size: tuple[int, int]
) -> None:
    manifest = {**{each: each for each in HOSTILE}, "nested": {"x": {each: [each] for each in HOSTILE}}}
    adapter = make_adapter(tmp_path / "[b]a\u202e.gguf", manifest=manifest)
    db = open_database(empty_store)
    for name in HOSTILE:
        add_model(db, NamedModel(name, adapter, name, made=False, kind="adapter"))
    db.close()
    app = KdtuiApp(empty_store)
    async with app.run_test(size=size) as pilot:
        await open_model(pilot, settle)
        for _ in range(2 + len(HOSTILE)):
            lines = [strip.text for strip in app.screen._compositor.render_strips()]
            assert not any(character in line for line in lines for character in "\x1b\u202e")
            assert {cell_len(line) for line in lines} == {size[0]}
            await pilot.press("j")
            await settle(pilot)
        await act(pilot, "models.details")
        await settle(pilot)
        await pilot.press("end")
        lines = [strip.text for strip in app.screen._compositor.render_strips()]
        assert not any(character in line for line in lines for character in "\x1b\u202e")


async def test_the_screen_can_be_resized_at_any_time(model_store: Path, settle: Settle) -> None:
    app = KdtuiApp(model_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_model(pilot, settle)
        for size in ((200, 60), (30, 8), (80, 24)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            assert table(app).row_count == 6


async def test_a_file_that_is_not_a_store_is_reported_in_place_of_the_list(tmp_path: Path, settle: Settle) -> None:
    path = tmp_path / "other.db"
    path.write_text("this is not a database, however long it may be\n" * 100)
    app = KdtuiApp(path)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("7")
        await settle(pilot)
        notice = text_of(app.screen.query_one("#notice", Static))
        assert "not an SQLite database; choose another one with --db" in notice
        assert "r looks again" in notice
        assert not app.screen.query_one("#halves").display
        path.unlink()
        await act(pilot, "screen.reload")
        await settle(pilot)
        assert cells_of_model(app, "smollm2")
        assert not app.screen.query_one("#notice").display
        assert app.focused is table(app)
