"""Output of commands: tables that fit the terminal, and the same data as Markdown, CSV and JSON."""

import csv
import io
import json
import os
import pty
import re
import sys
from pathlib import Path

import pytest

from kdtui.bundling.tables import as_csv, csv_lines, fit_widths, markdown_lines
from kdtui.cli.output import print_table
from kdtui.workflows.data.import_dataset import import_dataset
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture
def hostile(db: Database, tmp_path: Path) -> None:
    titles = ["=HYPERLINK(1)", "a | b\\", "\x1b[31mred", "two\nlines", "- 20 %"]
    items = [{"id": str(number), "title": title} for number, title in enumerate(titles)]
    path = tmp_path / "hostile.jsonl"
    path.write_text(json.dumps({"session": "s", "items": items}))
    list(import_dataset(db, path, "d"))


def products(text: str) -> list[str]:
    return [row["product"] for row in csv.DictReader(io.StringIO(text))]


@pytest.mark.usefixtures("hostile")
def test_a_title_is_not_a_formula_in_csv(kdtui: Kdtui) -> None:
    result = kdtui("data", "show", "s", "--format", "csv")
    assert products(result.out) == ["'=HYPERLINK(1)", "a | b\\", "red", "two lines", "'- 20 %"]
    assert "\x1b" not in result.out


@pytest.mark.usefixtures("hostile")
def test_json_keeps_titles_unchanged(kdtui: Kdtui) -> None:
    for arguments in (["--json"], ["--format", "json"]):
        [row] = kdtui("data", "show", "s", *arguments).rows
        assert row["items"][2]["title"] == "\x1b[31mred"
        assert row["items"][3]["title"] == "two\nlines"


@pytest.mark.usefixtures("hostile")
def test_a_title_is_escaped_in_markdown(kdtui: Kdtui) -> None:
    lines = kdtui("data", "show", "s", "--format", "markdown").out.splitlines()
    assert lines[0] == "| # | bundles | product | category |"
    assert lines[1] == "| ---: | --- | --- | --- |"
    assert lines[3] == r"| 2 |  | a \| b\\ | - |"


def test_csv_and_json_have_the_same_fields(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    [row] = kdtui("data", "ls", "--json").rows
    [line] = csv.DictReader(io.StringIO(kdtui("data", "ls", "--format", "csv").out))
    assert line == {name: str(value) for name, value in row.items()}


@pytest.mark.parametrize(
    "command",
    [
        ("data", "ls"),
        ("knowledge", "ls"),
        ("knowledge", "search", "tents"),
        ("sample", "ls"),
        ("run", "ls"),
        ("model", "ls"),
        ("host", "ls"),
        ("sft", "ls"),
        ("knowledge", "calls"),
    ],
    ids=" ".join,
)
def test_each_list_has_each_format(db: Database, outdoor: Path, kdtui: Kdtui, command: tuple[str, ...]) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    kdtui("knowledge", "mine")
    kdtui("sample", "create", "small", "--format", "pattern")
    counts = {}
    for output in ("json", "csv", "markdown"):
        result = kdtui(*command, "--format", output)
        assert result.code == 0, result.err
        counts[output] = len(result.out.splitlines())
    rows = counts["json"]
    assert counts == {"json": rows, "csv": rows + (rows > 0), "markdown": rows + 2 * (rows > 0)}


def test_an_option_takes_formats_of_knowledge_and_of_output(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    kdtui("knowledge", "mine")
    kdtui("knowledge", "distill")
    found = csv.DictReader(io.StringIO(kdtui("knowledge", "ls", "--format", "rule", "--format", "csv").out))
    assert {row["format"] for row in found} == {"rule"}
    both = kdtui("knowledge", "ls", "--format", "rule,pattern", "--limit", "1000", "--json").rows
    assert {row["format"] for row in both} == {"rule", "pattern"}
    assert "there is no format 'xml' here" in kdtui("knowledge", "ls", "--format", "xml").err


def test_two_formats_at_once_are_a_usage_error(kdtui: Kdtui) -> None:
    result = kdtui("data", "ls", "--json", "--format", "csv")
    assert result.code == 2
    assert "--json and --format csv contradict each other" in result.err


def test_objects_in_records_become_columns() -> None:
    text = as_csv([{"run": 1, "scores": None}, {"run": 2, "scores": {"n": 3, "f1": 0.25}, "tags": ["a"]}])
    assert text == 'run,scores.n,scores.f1,tags\n1,,,\n2,3,0.25,"[""a""]"\n'


def test_numbers_are_exact_in_csv_and_rounded_in_markdown() -> None:
    row = (1234567, 1 / 3, -2.5, None, True)
    assert csv_lines(None, [row]) == "1234567,0.3333333333333333,-2.5,,true\n"
    assert markdown_lines(None, [row]) == "| 1,234,567 | 0.333 | -2.500 | - | yes |\n"


@pytest.mark.parametrize(
    ("widths", "room", "fitted"),
    [
        ([5, 10], 20, [5, 10]),
        ([5, 90, 10], 30, [5, 15, 10]),
        ([90, 90, 10], 50, [20, 20, 10]),
        ([5, 50, 50], 8, [2, 3, 3]),
    ],
)
def test_the_longest_column_shrinks_first(widths: list[int], room: int, fitted: list[int]) -> None:
    found = fit_widths(widths, range(len(widths)), room)
    assert sum(found) <= max(room, 4 * len(widths))
    if room >= 4 * len(widths):
        assert found == fitted


def test_text_shrinks_before_numbers() -> None:
    assert fit_widths([40, 6, 60], [0, 2], 46) == [20, 6, 20]


def test_without_a_terminal_nothing_is_shortened(capfd: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "note"], [("n" * 300, "x" * 500)])
    assert f"{'n' * 300}   {'x' * 500}\n" in capfd.readouterr().out


def test_in_a_terminal_each_line_fits_and_short_columns_stay_whole(
    db: Database, outdoor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(import_dataset(db, outdoor, "d" * 200))
    monkeypatch.setenv("COLUMNS", "90")
    leader, follower = pty.openpty()
    if (child := os.fork()) == 0:
        os.dup2(follower, 1)
        os.execv(sys.executable, [sys.executable, "-m", "kdtui", "data", "ls"])
    os.close(follower)
    text = b""
    try:
        while part := os.read(leader, 10_000):
            text += part
    except OSError:
        pass
    assert os.waitpid(child, 0)[1] == 0
    lines = re.sub(r"\x1b\[[0-9;]*m|\r", "", text.decode()).split("\n")
    assert max(map(len, lines)) <= 90
    assert "with bundles" in lines[1]
    assert "d…" in text.decode()


def test_a_title_of_many_million_characters_is_shown_quickly(db: Database, kdtui: Kdtui) -> None:
    with db.conn:
        for statement in (
            "INSERT INTO datasets (id, name, source, created_at) VALUES (1, 'd', '', '')",
            "INSERT INTO sessions (id, dataset_id, session) VALUES (1, 1, 's')",
            "INSERT INTO items (id, dataset_id, item, title, categories) VALUES (1, 1, 'i', 'x', '[]')",
            "INSERT INTO session_items (session_id, position, item_id) VALUES (1, 1, 1)",
        ):
            db.execute(statement)
        db.execute("DROP TRIGGER items_au")
        db.execute("UPDATE items SET title = ?", ["ü" * 20_000_000])
    result = kdtui("data", "show", "s")
    assert result.code == 0
    # The title, the rule, and the heading next to it.
    assert 9_000 < len(result.out) < 40_000
