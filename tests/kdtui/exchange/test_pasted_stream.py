"""Plain titles on stdin, and products without a description."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdtui.errors import BadFile
from kdtui.exchange.lines import bounded_lines
from kdtui.exchange.pasted_text import read_stream
from kdtui.workflows.data.import_dataset import import_dataset
from store.records import Item
from store.sqlite import Database
from tests.support.commands import Kdtui, feed


@pytest.fixture
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def test_an_empty_line_ends_a_session_of_titles() -> None:
    lines = ["\ufeff\n", "Tent | Outdoor > Shelter\n", " Tent pegs \r\n", "\t\n", "\n", "Kettle\n"]
    sessions = list(read_stream([line.encode() for line in lines], "stdin"))
    assert [session.id for session in sessions] == ["1", "2"]
    assert sessions[0].items == (Item("1", "Tent", (("Outdoor", "Shelter"),)), Item("2", "Tent pegs"))
    assert sessions[1].items == (Item("1", "Kettle"),)


def test_a_session_is_read_before_the_next_one_arrives() -> None:
    def lines() -> Iterator[bytes]:
        yield b"Tent\n"
        yield b"\n"
        raise AssertionError("the next line was not asked for yet")

    assert next(read_stream(lines(), "stdin")).items == (Item("1", "Tent"),)


def test_a_first_line_that_begins_like_json_makes_all_of_them_json() -> None:
    lines = [b"\n", b'{"session": "s", "items": [{"id": "i"}]}\n', b"Tent\n"]
    found = read_stream(lines, "stdin")
    assert next(found).id == "s"
    with pytest.raises(BadFile, match="stdin, line 3: this is not JSON"):
        next(found)


def test_an_undecodable_title_is_reported_with_its_line() -> None:
    with pytest.raises(BadFile, match="stdin, line 2: this is not UTF-8 text"):
        list(read_stream([b"Tent\n", b"caf\xe9\n"], "stdin"))


def test_an_endless_line_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(BadFile, match="stdin, line 2: this line is longer than 1 MB"):
        list(bounded_lines(io.BytesIO(b"short\n" + b"x" * 3_000_000), "stdin", longest=1_000_000))


@pytest.mark.usefixtures("imported")
def test_titles_on_stdin_are_answered(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "Two-person tent | Outdoor > Shelter\nTent pegs | Outdoor > Shelter\n\nKettle\n")
    rows = kdtui("generate", "-", "--student", "patterns", "--json").rows
    assert [row["session"] for row in rows] == ["1", "2"]
    assert rows[1] == {"session": "2", "bundles": [], "reason": "a bundle needs two products"}


@pytest.mark.usefixtures("imported")
def test_empty_stdin_is_reported(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "\n \n")
    result = kdtui("generate", "-", "--student", "patterns", "--json")
    assert (result.code, result.out, result.err) == (0, "", "kdtui: stdin was empty\n")


def unknown(*titles: str | None) -> str:
    items = [{"id": f"i{number}", "title": title} for number, title in enumerate(titles, start=1)]
    return json.dumps({"session": "s", "items": items})


@pytest.mark.usefixtures("imported")
def test_products_without_title_and_category_form_no_bundle(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, unknown(None, " ", "\x1b[2J"))
    result = kdtui("generate", "-", "--student", "patterns", "--json")
    assert result.code == 0
    assert result.rows == [
        {
            "session": "s",
            "bundles": [],
            "not_judged": ["i1", "i2", "i3"],
            "reason": "a bundle needs two products with a title or a category",
        }
    ]
    feed(monkeypatch, unknown(None, " "))
    result = kdtui("generate", "-", "--student", "patterns")
    assert "no bundles; a bundle needs two products with a title or a category" in result.out
    assert "session s: products 1, 2 have neither a title nor a category" in result.err


@pytest.mark.usefixtures("imported")
def test_products_without_description_are_in_no_bundle(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"id": "x"}, *kdtui("data", "show", "o34", "--json").rows[0]["items"]]
    line = json.dumps({"session": "s", "items": items})
    feed(monkeypatch, line)
    [row] = kdtui("generate", "-", "--student", "patterns", "--json").rows
    assert row["not_judged"] == ["x"]
    assert row["bundles"]
    for bundle in row["bundles"]:
        assert [items[position - 1]["id"] for position in bundle["positions"]] == bundle["items"]
        assert "x" not in bundle["items"]
    feed(monkeypatch, line)
    rows = list(csv.DictReader(io.StringIO(kdtui("generate", "-", "--student", "patterns", "--format", "csv").out)))
    assert len(rows) == len(row["bundles"])
    assert rows[0]["products"] == ", ".join(map(str, row["bundles"][0]["positions"]))


@pytest.mark.usefixtures("imported")
def test_a_product_with_only_a_category_is_judged(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"id": name, "categories": [["Outdoor", "Shelter"]]} for name in "ab"]
    feed(monkeypatch, json.dumps({"session": "s", "items": items}))
    [row] = kdtui("generate", "-", "--student", "patterns", "--json").rows
    assert "not_judged" not in row
