"""The command line as a whole: fast to start, documented, and safe with hostile text."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from kdtui.cli.evaluate import evaluate
from kdtui.cli.study_run import run as run_study
from kdtui.workflows.data.import_dataset import import_dataset
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.repository import ROOT

COMMANDS = ["data", "knowledge", "generate", "calibrate", "evaluate", "demo", "doctor", "model", "sample"]
PAGE = ROOT / "docs" / "command-line.md"


@pytest.mark.parametrize("module", ["kdtui.__main__", "kdtui.tui.app"])
def test_importing_loads_no_heavy_module(module: str) -> None:
    heavy = ["torch", "llama_cpp", "openai", "sklearn", "scipy"] + (
        ["textual", "sqlite_utils"] if "main" in module else []
    )
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_help_names_every_command(kdtui: Kdtui) -> None:
    result = kdtui("--help")
    assert result.code == 0
    for command in COMMANDS:
        assert f"  {command} " in result.out
        assert kdtui(command, "--help").code == 0


def test_the_documentation_shows_the_help_verbatim(kdtui: Kdtui) -> None:
    assert kdtui("--help").out.strip() in PAGE.read_text(encoding="utf-8")


def test_wrong_usage_has_exit_code_two(kdtui: Kdtui) -> None:
    assert kdtui("data", "import").code == 2
    assert kdtui("dance").code == 2


def test_without_a_terminal_the_app_does_not_start(kdtui: Kdtui) -> None:
    result = kdtui()
    assert (result.code, result.err) == (1, "kdtui: the app needs a terminal; kdtui --help lists the commands\n")


def test_the_version_is_printed(kdtui: Kdtui) -> None:
    assert kdtui("--version").out.startswith("kdtui 0.")


def test_an_empty_store_says_what_to_do_first(kdtui: Kdtui) -> None:
    for command in (["data", "ls"], ["evaluate"], ["knowledge", "mine"]):
        assert "kdtui demo" in kdtui(*command).err


@pytest.mark.slow
def test_hostile_titles_are_shown_as_text(db: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    titles = ["[red]x[/red]", "[/oops]", "\x1b[31mred\x1b[2J", "two\nlines", "青い" * 2000, "\u202egnol"]
    items = [
        {"id": f"[b]{number}", "title": title, "categories": [["[i]A", title]]} for number, title in enumerate(titles)
    ]
    bundle = {"items": ["[b]0", "[b]1"], "intent": "[blink]\x1b[5mbuy[/blink]"}
    path = tmp_path / "hostile.jsonl"
    path.write_text(json.dumps({"session": "[s]", "items": items, "bundles": [bundle]}))
    list(import_dataset(db, path, "[d]"))
    for command in (
        ["data", "ls"],
        ["data", "show", "[s]"],
        ["generate", "[s]"],
        ["evaluate", "--floors-only", "--split", "train"],
    ):
        result = kdtui(*command)
        assert result.code == 0, result.err
        assert "\x1b" not in result.out + result.err
        assert "\u202e" not in result.out
    assert "[red]x[/red]" in kdtui("data", "show", "[s]").out


@pytest.mark.slow
def test_the_demo_runs_the_whole_loop_and_keeps_existing_datasets(
    kdtui: Kdtui, db: Database, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It answers only one session of each dataset and in the study: all of them take half a minute.
    monkeypatch.setattr("kdtui.cli.evaluate.evaluate", partial(evaluate, limit=1))
    monkeypatch.setattr("kdtui.cli.study_run.run", partial(run_study, sessions=1, replace=True))
    list(import_dataset(db, few, "demo-outdoor"))
    result = kdtui("demo")
    assert result.code == 0
    assert "demo-outdoor exists already" in result.err
    assert "as dataset demo-kitchen" in result.err
    # Each dataset has two tables.
    assert result.out.count("truth") == 6
    assert "shipped" in result.out
    assert "kdtui data show o01" in result.out
    assert "Do patterns in the prompt help a student?" in result.out
    assert [row["done"] for row in kdtui("study", "ls", "--json").rows] == [2]
    datasets = kdtui("data", "ls", "--json").rows
    assert [row["name"] for row in datasets] == ["demo-kitchen", "demo-outdoor"]


def test_the_demo_imports_only_data_and_keeps_existing_knowledge(kdtui: Kdtui, db: Database) -> None:
    first = kdtui("demo", "--data-only")
    assert first.code == 0
    assert first.out == ""
    assert "imported 36 sessions of invented products as dataset demo-outdoor" in first.err
    assert "patterns of dataset demo-kitchen" in first.err
    known = db.execute("SELECT id, dataset_id, format, statement FROM knowledge ORDER BY id").fetchall()
    assert {row[2] for row in known} == {"pattern", "rule", "thought"}
    again = kdtui("demo", "--data-only")
    assert again.err.splitlines() == [f"dataset demo-{name} exists already" for name in ("outdoor", "kitchen")]
    assert db.execute("SELECT id, dataset_id, format, statement FROM knowledge ORDER BY id").fetchall() == known
    # An interrupted import is completed.
    db.execute("DELETE FROM knowledge WHERE format = 'thought'")
    assert db.conn is not None
    db.conn.commit()
    assert "thoughts from what people bundled" in kdtui("demo", "--data-only").err
    assert "mined" not in kdtui("demo", "--data-only").err


@pytest.mark.slow
def test_the_doctor_finds_the_installed_parts(kdtui: Kdtui) -> None:
    result = kdtui("doctor", "--json")
    assert result.code == 0
    findings = {row["name"]: row for row in result.rows}
    assert findings["embedded student"]["state"] == "ok"
    assert ".gguf" in findings["embedded student"]["found"]
    assert findings["processor"]["found"]
    assert "database" in kdtui("doctor").out


def test_the_doctor_fails_when_the_database_cannot_be_used(tmp_path: Path, kdtui: Kdtui) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 100)
    result = kdtui("doctor", "--db", path)
    assert result.code == 1
    assert "not an SQLite database" in result.out


@pytest.mark.parametrize("kind", ["a page of zeros", "a lost row"])
def test_the_doctor_finds_a_damaged_database(kind: str, db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "demo"))
    [(_, _, file)] = db.execute("PRAGMA database_list")
    if kind == "a lost row":
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM items WHERE id = (SELECT max(item_id) FROM session_items)")
    else:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'items'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    if kind == "a page of zeros":
        with Path(file).open("r+b") as whole:
            whole.seek((page - 1) * size)
            whole.write(bytes(size))
    result = kdtui("doctor", "--json")
    [found] = [row for row in result.rows if row["name"] == "database"]
    assert result.code == 1
    assert found["state"] == "missing"
    assert f"{file} is damaged (" in found["found"]


def test_the_doctor_names_datasets_whose_category_names_were_cut_at_their_commas(
    db: Database, tmp_path: Path, kdtui: Kdtui
) -> None:
    cut, whole = [["Clothing", "Shoes & Jewelry", "Women"]], [["Clothing, Shoes & Jewelry", "Women"]]
    for name, paths in (("old", cut), ("new", whole)):
        items = [{"id": each, "title": each, "categories": paths} for each in ("a", "b")]
        file = tmp_path / f"{name}.jsonl"
        file.write_text(json.dumps({"session": "s", "items": items}) + "\n")
        list(import_dataset(db, file, name))
    result = kdtui("doctor", "--json")
    found = {row["name"]: row for row in result.rows}
    assert "2 items" in found["dataset old"]["found"]
    assert "kdtui data import FOLDER --dataset old --replace" in found["dataset old"]["found"]
    assert "dataset new" not in found
    assert result.code == 0


def test_a_closed_pipe_is_not_an_error(db: Database, database_of_the_test: Path, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "d"))
    command = f"{sys.executable} -m kdtui data export --db {database_of_the_test}"
    result = subprocess.run(["bash", "-c", f"{command} | head -1 | wc -l"], capture_output=True, text=True, check=False)
    assert (result.stdout.strip(), result.stderr) == ("1", "")


def test_numbers_beyond_the_database_are_wrong_usage(kdtui: Kdtui) -> None:
    huge = 10**30
    for command in (["knowledge", "show", huge], ["evaluate", "--resume", huge], ["knowledge", "ls", "-n", huge]):
        assert kdtui(*command).code == 2


def test_an_undecodable_argument_is_one_sentence(kdtui: Kdtui) -> None:
    result = kdtui("data", "show", "caf\udce9")
    assert result.code == 1
    assert "is not UTF-8 text" in result.err
    assert len(result.err.splitlines()) == 1


def test_a_terminal_that_lacks_characters_gets_question_marks(
    db: Database, database_of_the_test: Path, outdoor: Path
) -> None:
    list(import_dataset(db, outdoor, "d"))
    command = [sys.executable, "-m", "kdtui", "data", "show", "o01", "--db", str(database_of_the_test)]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_session_of_one_product_says_that_it_has_no_bundles(kdtui: Kdtui) -> None:
    result = kdtui("generate", "--title", "Tent")
    assert (result.code, result.out) == (0, "session titles\n  no bundles; a bundle needs two products\n")
