"""Imports in the app: a dataset from a path, and the demo."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Checkbox, Input, Select, Static

from kdtui.tui.action import PLACES
from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.task_form import TaskDialog
from kdtui.tui.datasets.import_form import ImportDialog
from kdtui.tui.widgets.path_input import completions
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.data import import_dataset as workflow
from kdtui.workflows.demo import import_demo
from store.database import open_database
from store.datasets import dataset_names
from store.knowledge import NewKnowledge, known_formats
from store.knowledge_renewal import renew_knowledge
from store.records import RunSettings
from store.runs import start_run
from tests.support.acting import act, rest
from tests.support.screens import Settle, Until, fill, messages, shown
from tests.support.stores import OUTDOOR


class SlowImport:
    """A stand-in for a slow import: it waits after its first step until it is released."""

    def __init__(self) -> None:
        self.steps, self.may_start, self.released = 0, Event(), Event()
        self.may_start.set()
        self._really_import = workflow.import_dataset

    def __call__(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        assert self.may_start.wait(60)
        for written in self._really_import(*arguments, **options):
            self.steps += 1
            yield written
            assert self.released.wait(60)


@pytest.fixture
def slow_import(monkeypatch: pytest.MonkeyPatch) -> SlowImport:
    stand_in = SlowImport()
    monkeypatch.setattr("store.dataset_writer._BATCH", 20)
    monkeypatch.setattr(workflow, "import_dataset", stand_in)
    return stand_in


def field(app: KdtuiApp, name: str) -> Input:
    return app.screen.query_one(f"#field-{name}", Input)


def names(store: Path) -> list[str]:
    db = open_database(store)
    dataset_list = dataset_names(db)
    db.close()
    return dataset_list


async def filled_in(pilot: Pilot[None], until: Until, path: object, **values: str) -> None:
    """Open the form, and fill it in."""
    await act(pilot, "screen.import_dataset")
    app: Any = pilot.app
    await until(pilot, lambda: isinstance(app.screen, ImportDialog))
    field(app, "path").value = str(path)
    await rest(pilot)
    await fill(pilot, **values)


@pytest.mark.slow
async def test_the_demo_is_a_key_away_where_the_store_is_empty(empty_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test(size=(120, 40)) as pilot:
        for place in [each for each in PLACES if each != "models"]:
            await act(pilot, f"app.{place}")
            await settle(pilot)
            assert "Press D for the demo" in shown(app, "#notice"), place
            assert "or i to import your own sessions" in shown(app, "#notice"), place
        await act(pilot, "screen.import_demo")
        assert isinstance(app.screen, TaskDialog)
        assert shown(app, "#dialog-command") == "$ kdtui demo --data-only"
        await act(pilot, "form.copy")
        assert app.clipboard == "kdtui demo --data-only"
        await until(pilot, lambda: app.current_mode == "workbench")
        await settle(pilot)
        assert app.screen.query_one("#dataset", Select).value == "demo-outdoor"
        assert app.screen.query_one("#sessions").row_count == 36  # type: ignore[attr-defined]
        assert "the demo is imported" in messages(app)
        # Places reload by themselves.
        for place in [each for each in PLACES if each != "models"]:
            await act(pilot, f"app.{place}")
            await settle(pilot)
            assert "There is no dataset yet" not in shown(app, "#notice"), place
    db = open_database(empty_store)
    for name in ("demo-kitchen", "demo-outdoor"):
        assert known_formats(db, name) == ("pattern", "rule", "thought")
    db.close()


async def test_the_demo_keeps_its_existing_parts(empty_store: Path, settle: Settle, until: Until) -> None:
    db = open_database(empty_store)
    list(import_demo(db))
    renew_knowledge(db, "demo-outdoor", "pattern", "mine", [NewKnowledge("tents and mats", "{}")], replace=True)
    before = db.execute("SELECT id, format, statement FROM knowledge ORDER BY id").fetchall()
    db.execute("DELETE FROM datasets WHERE name = 'demo-kitchen'")
    left = db.execute("SELECT id, format, statement FROM knowledge ORDER BY id").fetchall()
    assert 0 < len(left) < len(before)
    assert db.conn is not None
    db.conn.commit()
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "screen.import_demo")
        await until(pilot, lambda: app.current_mode == "workbench")
        await settle(pilot)
    after = db.execute("SELECT id, format, statement FROM knowledge ORDER BY id").fetchall()
    db.close()
    assert after[: len(left)] == left
    assert len(after) == len(before)


async def test_a_dataset_is_imported_and_shown(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my data").mkdir()
    shutil.copy(OUTDOOR, tmp_path / "my data" / "trail.jsonl")
    monkeypatch.chdir(tmp_path)
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await act(pilot, "screen.import_dataset")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        await pilot.press("m", "y")
        await until(pilot, lambda: "my data/" in shown(app, "#help-path"))
        await act(pilot, "path.complete")
        assert field(app, "path").value == "my data/"
        await act(pilot, "path.complete")
        assert field(app, "path").value == "my data/trail.jsonl"
        assert app.focused is field(app, "path")
        await until(pilot, lambda: "JSON Lines; it names the splits of its sessions" in shown(app, "#form-remark"))
        # The name follows the path.
        assert shown(app, "#dialog-command") == "$ kdtui data import 'my data/trail.jsonl' --dataset trail"
        # With nothing to complete, the next field gets the focus.
        await act(pilot, "path.complete")
        assert app.focused is field(app, "name")
        await act(pilot, "form.done")
        await until(pilot, lambda: app.current_mode == "workbench")
        await settle(pilot)
        assert app.screen.query_one("#dataset", Select).value == "trail"
        assert app.current_datasets == ("trail",)
        assert "imported 36 sessions" in messages(app)
        # After an import, the form is empty.
        await act(pilot, "screen.import_dataset")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        assert field(app, "path").value == ""
    assert names(demo_store) == ["demo-outdoor", "trail"]


async def test_a_bundlerec_directory_is_recognized_by_its_files(
    empty_store: Path, settle: Settle, until: Until, real_dataset: Path
) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await filled_in(pilot, until, real_dataset)
        await until(pilot, lambda: "BundleRec directory; it names the splits" in shown(app, "#form-remark"))
        assert field(app, "name").value == real_dataset.name


async def test_a_failed_import_keeps_the_values_of_the_form(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path
) -> None:
    path = tmp_path / "own.jsonl"
    lines = OUTDOOR.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + '{"session": "x"}\n', encoding="utf-8")
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await filled_in(pilot, until, path, name="mine", seed="7")
        await act(pilot, "form.done")
        await until(pilot, lambda: "own.jsonl, line 4: a session is not as expected" in shown(app, "#form-problem"))
        assert isinstance(app.screen, ImportDialog)
        assert (field(app, "name").value, field(app, "seed").value) == ("mine", "7")
        assert not field(app, "name").disabled
        assert not app.screen.query_one("#done", Button).disabled
        # Closed and opened again, the form has the same values.
        await act(pilot, "form.close")
        await act(pilot, "screen.import_dataset")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        assert (field(app, "name").value, field(app, "seed").value) == ("mine", "7")
        assert "line 4" in shown(app, "#form-problem")
        path.write_text("".join(lines[:3]), encoding="utf-8")
        await act(pilot, "form.done")
        await until(pilot, lambda: app.current_mode == "workbench")
        assert "imported 3 sessions" in messages(app)
    assert names(demo_store) == ["demo-outdoor", "mine"]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"path": ""}, "say what to import"),
        ({"path": "x", "name": " "}, "give the dataset a name"),
        ({"path": "x", "seed": "1.5"}, "a seed is a whole number"),
        ({"path": "x", "seed": "--5"}, "a seed is a whole number"),
        ({"path": "x", "seed": "9" * 5000}, "a seed is a whole number"),
        ({"path": "x", "name": "demo-outdoor"}, "there is a dataset 'demo-outdoor' already"),
        ({"path": "x", "replace": "yes"}, "there is no dataset 'x' to replace"),
    ],
)
async def test_the_form_shows_what_is_wrong(
    values: dict[str, str], problem: str, demo_store: Path, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await filled_in(pilot, until, **{"path": "", **values})
        assert problem in shown(app, "#form-problem")
        assert app.screen.query_one("#done", Button).disabled


@pytest.mark.parametrize("kind", ["nothing", "a folder without sessions", "an empty file", "no JSON", "a pipe"])
async def test_a_wrong_file_gives_a_message_before_and_after_the_import(
    kind: str, demo_store: Path, settle: Settle, until: Until, tmp_path: Path
) -> None:
    import os

    path = tmp_path / "x"
    match kind:
        case "a folder without sessions":
            path.mkdir()
        case "an empty file":
            path.touch()
        case "no JSON":
            path.write_text("session,item\n")
        case "a pipe":
            os.mkfifo(path)
    reason = {
        "nothing": "No such file or directory; give a BundleRec directory or a JSON Lines file",
        "a folder without sessions": "dataset: a BundleRec directory ",
        "an empty file": "the file is empty",
        "no JSON": "this is not JSON",
        "a pipe": "this is neither a directory nor a file",
    }[kind]
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        await filled_in(pilot, until, path)
        await until(pilot, lambda: reason in shown(app, "#form-remark"))
        await act(pilot, "form.done")
        await until(pilot, lambda: reason in shown(app, "#form-problem"))
    assert names(demo_store) == ["demo-outdoor"]


async def test_the_contents_of_the_replaced_dataset_are_shown_before(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    db = open_database(demo_store)
    pieces = db.execute("SELECT count(*) FROM knowledge").fetchone()[0]
    start_run(db, "demo-outdoor", "test", "patterns", RunSettings("patterns"))
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        await filled_in(pilot, until, OUTDOOR, name="demo-outdoor")
        counts = f"36 sessions, {pieces} pieces of knowledge, 1 run"
        await until(pilot, lambda: f"demo-outdoor has {counts}" in shown(app, "#form-remark"))
        app.screen.query_one("#field-replace", Checkbox).value = True
        await until(pilot, lambda: f"It replaces demo-outdoor, which has {counts}" in shown(app, "#form-remark"))
        command = f"$ kdtui data import --replace {OUTDOOR} --dataset demo-outdoor"
        assert shown(app, "#dialog-command") == command
        await act(pilot, "form.done")
        await until(pilot, lambda: app.current_mode == "workbench")
        await settle(pilot)
        await act(pilot, "app.knowledge")
        await settle(pilot)
        # Its knowledge is gone too, and the place reloads by itself.
        assert "There is no knowledge yet" in shown(app, "#notice")


async def test_an_import_continues_after_its_form_closes(
    demo_store: Path, settle: Settle, until: Until, slow_import: SlowImport
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        await filled_in(pilot, until, OUTDOOR, name="trail")
        await act(pilot, "form.done")
        await until(pilot, lambda: "importing trail: 20 sessions so far" in shown(app, "#form-remark"))
        assert field(app, "name").disabled
        await act(pilot, "form.done")
        assert "the task is already running" in messages(app)
        await act(pilot, "form.close")
        assert "⏳ importing trail: 20 sessions so far" in str(app.screen.query_one(TopBar).render())
        await act(pilot, "app.runs")
        await settle(pilot)
        assert "⏳ importing trail" in str(app.screen.query_one(TopBar).render())
        # One import runs at a time; its form shows the progress.
        await act(pilot, "screen.import_dataset")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        assert field(app, "name").value == "trail"
        assert "importing trail" in shown(app, "#form-remark")
        await act(pilot, "form.close")
        slow_import.released.set()
        await until(pilot, lambda: "imported 36 sessions" in messages(app))
        # A user in another place stays there.
        assert app.current_mode == "runs"
        assert "⏳" not in str(app.screen.query_one(TopBar).render())
        assert slow_import.steps == 2
    assert names(demo_store) == ["demo-outdoor", "trail"]


@pytest.mark.parametrize("by", ["a key", "a button"])
async def test_a_stopped_import_leaves_nothing(
    by: str, demo_store: Path, settle: Settle, until: Until, slow_import: SlowImport
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await filled_in(pilot, until, OUTDOOR, name="trail")
        await act(pilot, "form.done")
        await until(pilot, lambda: "20 sessions so far" in shown(app, "#form-remark"))
        if by == "a key":
            await act(pilot, "task.stop")
        else:
            await pilot.click("#stop")
        await until(pilot, lambda: "importing trail: stopping" in shown(app, "#form-remark"))
        slow_import.released.set()
        await until(pilot, lambda: "was stopped; nothing has changed" in shown(app, "#form-remark"))
        assert not field(app, "name").disabled
        assert field(app, "name").value == "trail"
    assert names(demo_store) == ["demo-outdoor"]


async def test_an_import_that_fails_without_its_form_gives_a_message(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path, slow_import: SlowImport
) -> None:
    path = tmp_path / "own.jsonl"
    shutil.copy(OUTDOOR, path)
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await filled_in(pilot, until, path)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"session": "x"}))
        slow_import.may_start.clear()
        await act(pilot, "form.done")
        await act(pilot, "form.close")
        slow_import.released.set()
        slow_import.may_start.set()
        await until(pilot, lambda: "importing own" in messages(app))
        assert "a session is not as expected" in messages(app)
        assert "i shows the form again" in messages(app)


def test_a_path_is_completed_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("electronic", "electric", ".hidden"):
        (tmp_path / name).mkdir()
    for name in ("[b]bold", "with\nline", "with\x1bescape", "données.jsonl"):
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert completions("el") == ["electric/", "electronic/"]
    assert completions("~/electro") == ["~/electronic/"]
    assert completions(f"{tmp_path}/d") == [f"{tmp_path}/données.jsonl"]
    assert completions("~") == ["~/"]
    # Names that a terminal cannot show are not offered; hidden files only after a dot.
    assert completions("") == ["[b]bold", "donn\u00e9es.jsonl", "electric/", "electronic/"]
    assert completions(".") == [".hidden/"]
    assert completions("nowhere/x") == []
    assert completions("~nobody-of-this-name/x") == []


async def test_names_of_files_are_shown_as_they_are(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "[red]x.jsonl").touch()
    monkeypatch.chdir(tmp_path / "in")
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await filled_in(pilot, until, "[")
        await until(pilot, lambda: "[red]x.jsonl" in str(app.screen.query_one("#help-path", Static).render()))
