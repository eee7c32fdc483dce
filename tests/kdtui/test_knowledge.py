"""`kdtui knowledge`: mined, listed, searched and shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from kdtui.distill.patterns import Pattern
from kdtui.distill.retrieval import decoded
from kdtui.workflows.import_dataset import import_dataset
from kdtui.workflows.mine_patterns import mine_patterns
from store.knowledge import find_knowledge

Kdtui = Callable[..., Any]


@pytest.fixture
def mined(db: Database, outdoor: Path) -> Database:
    list(import_dataset(db, outdoor, "outdoor"))
    mine_patterns(db, "outdoor")
    return db


def test_patterns_come_back_from_the_store_as_they_were_mined(mined: Database) -> None:
    patterns = [decoded(piece, Pattern) for piece in find_knowledge(mined, dataset="outdoor", format="pattern")]
    assert len(patterns) > 20
    strongest = patterns[0]
    assert strongest.support == max(pattern.support for pattern in patterns)
    assert all(0 < pattern.precision <= 1 for pattern in patterns)


def test_mining_again_keeps_the_numbers_of_what_stays(mined: Database) -> None:
    before = {piece.statement: piece.id for piece in find_knowledge(mined, dataset="outdoor")}
    mine_patterns(mined, "outdoor", min_support=0.1)
    after = {piece.statement: piece.id for piece in find_knowledge(mined, dataset="outdoor")}
    assert 0 < len(after) < len(before)
    assert after.items() <= before.items()


@pytest.mark.usefixtures("mined")
def test_search_finds_words_and_their_beginnings(kdtui: Kdtui) -> None:
    whole = kdtui("knowledge", "search", "tents", "--json").rows
    assert whole
    assert all("Tent" in row["statement"] for row in whole)
    assert kdtui("knowledge", "search", "campin ten", "--json").rows


@pytest.mark.usefixtures("mined")
@pytest.mark.parametrize("text", ['"', "a AND", "(", "*", "tent OR NEAR(", "x' --", "-", "statement:tent"])
def test_any_text_can_be_searched_for(kdtui: Kdtui, text: str) -> None:
    result = kdtui("knowledge", "search", "--json", "--", text)
    assert (result.code, result.err) == (0, "")


@pytest.mark.usefixtures("mined")
def test_ls_shows_a_table_or_objects(kdtui: Kdtui) -> None:
    assert "statement" in kdtui("knowledge", "ls").out
    rows = kdtui("knowledge", "ls", "--json", "--limit", 3, "--format", "pattern").rows
    assert len(rows) == 3
    assert rows[0]["content"]["categories"]
    assert kdtui("knowledge", "ls", "--format", "rule").out == ""


def test_show_tells_all_of_one_piece(mined: Database, kdtui: Kdtui) -> None:
    number = find_knowledge(mined)[0].id
    result = kdtui("knowledge", "show", number)
    assert "annotations" in result.out
    assert kdtui("knowledge", "show", number, "--json").rows[0]["id"] == number
    missing = kdtui("knowledge", "show", 99999)
    assert (missing.code, missing.err) == (
        1,
        "kdtui: there is no knowledge number 99999; kdtui knowledge ls shows the numbers\n",
    )


def test_mining_needs_training_bundles(db: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    path = tmp_path / "served.jsonl"
    path.write_text('{"session": "s", "items": [{"id": "x"}, {"id": "y"}]}\n')
    list(import_dataset(db, path, "served"))
    result = kdtui("knowledge", "mine", "-d", "served")
    assert result.code == 1
    assert "no training sessions with bundles" in result.err


@pytest.mark.usefixtures("mined")
def test_an_unknown_dataset_is_named_with_the_nearest(kdtui: Kdtui) -> None:
    assert "did you mean 'outdoor'?" in kdtui("knowledge", "mine", "-d", "outdor").err
