"""`kdtui knowledge`: mined, listed, searched and shown."""

import json
from pathlib import Path

import pytest

from kdtui.distill.patterns import Pattern
from kdtui.distill.retrieval import decode_piece
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from store.dataset_writer import write_dataset
from store.knowledge import NewKnowledge, add_knowledge, find_knowledge
from store.records import Item, RunSettings, Session
from store.runs import start_run
from store.samples import pieces_of_sample
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture
def mined(db: Database, outdoor: Path) -> Database:
    list(import_dataset(db, outdoor, "outdoor"))
    mine_patterns(db, "outdoor")
    return db


def test_stored_patterns_are_as_they_were_mined(mined: Database) -> None:
    patterns = [decode_piece(piece, Pattern) for piece in find_knowledge(mined, dataset="outdoor", format="pattern")]
    assert len(patterns) > 20
    strongest = patterns[0]
    assert strongest.support == max(pattern.support for pattern in patterns)
    assert all(0 < pattern.precision <= 1 for pattern in patterns)


def test_mining_again_keeps_the_numbers_of_existing_patterns(mined: Database) -> None:
    before = {piece.statement: piece.id for piece in find_knowledge(mined, dataset="outdoor")}
    mine_patterns(mined, "outdoor", min_support=0.1, replace=True)
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
@pytest.mark.parametrize("text", ['"', "a AND", "(", "*", "tent OR NEAR(", "x' --", "-", '"statement:tent"', "16:9 x"])
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


def test_show_prints_everything_about_a_piece(mined: Database, kdtui: Kdtui) -> None:
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


@pytest.mark.usefixtures("mined")
def test_filters_can_be_mixed_with_words(kdtui: Kdtui) -> None:
    rows = kdtui("knowledge", "search", "tent format:pattern precision:>=0.5", "--json").rows
    assert rows
    assert all("Tent" in row["statement"] and row["precision"] >= 0.5 for row in rows)
    assert kdtui("knowledge", "search", "tent status:rejected", "--json").rows == []
    wrong = kdtui("knowledge", "search", "tent colour:red")
    assert (wrong.code, len(wrong.err.splitlines())) == (1, 1)
    assert "there is no filter colour:" in wrong.err


def test_rejected_pieces_are_shown_on_request(mined: Database, kdtui: Kdtui) -> None:
    add_knowledge(mined, "outdoor", "rule", "t", [NewKnowledge("Tents alone", "{}", 0.9, rejected="too bold")])
    for arguments in (["ls"], ["search", "tents"]):
        shown = [row["statement"] for row in kdtui("knowledge", *arguments, "--json").rows]
        every = [row["statement"] for row in kdtui("knowledge", *arguments, "--all", "--json").rows]
        assert "Tents alone" not in shown
        assert "Tents alone" in every
    rejected = kdtui("knowledge", "search", "status:rejected", "--json").rows
    assert [row["statement"] for row in rejected] == ["Tents alone"]
    assert [row["reason"] for row in kdtui("knowledge", "ls", "--rejected", "--json").rows] == ["too bold"]


@pytest.mark.usefixtures("mined")
@pytest.mark.parametrize("measure", ["support", "precision", "confidence", "lift"])
def test_a_list_is_sorted_by_a_measure(kdtui: Kdtui, measure: str) -> None:
    values = [row[measure] for row in kdtui("knowledge", "ls", "--sort", measure, "--json").rows]
    assert values == sorted(values, reverse=True)
    values = [
        row[measure] for row in kdtui("knowledge", "search", "camping", "--sort", measure, "--reverse", "--json").rows
    ]
    assert values == sorted(values)


def test_pieces_are_deleted_by_number_or_by_a_search(mined: Database, kdtui: Kdtui) -> None:
    numbers = [piece.id for piece in find_knowledge(mined)]
    assert kdtui("knowledge", "rm", numbers[0], f"{numbers[1]}-{numbers[1]}", "--yes").code == 0
    assert kdtui("knowledge", "rm", "--query", "tent", "--yes").code == 0
    left = find_knowledge(mined)
    assert left
    assert not [piece for piece in left if piece.id in numbers[:2] or "Tent" in piece.statement]
    assert kdtui("knowledge", "rm").code == 2
    gone = kdtui("knowledge", "rm", numbers[0], "--yes")
    assert (gone.code, gone.err) == (
        1,
        "kdtui: there is no knowledge of these numbers; kdtui knowledge ls shows the numbers\n",
    )


def test_a_sample_is_picked_by_hand(mined: Database, kdtui: Kdtui) -> None:
    numbers = [piece.id for piece in find_knowledge(mined)]
    assert kdtui("sample", "create", "few", "--pieces", f"{numbers[0]},{numbers[2]}").code == 0
    assert kdtui("sample", "create", "one", "--pieces", numbers[0]).code == 0
    assert pieces_of_sample(mined, "few") == sorted([numbers[0], numbers[2]])
    assert kdtui("sample", "create", "more", "--query", "tent", "--add-to", "few").code == 0
    assert set(pieces_of_sample(mined, "few")) < set(pieces_of_sample(mined, "more"))
    listed = kdtui("sample", "ls").out
    assert "2 pieces of outdoor by hand: patterns" in listed
    assert kdtui("sample", "create", "drawn", "--format", "pattern", "--add-to", "few").code == 0
    both = "pieces of outdoor by hand: patterns; 0.5 of outdoor by random, seed 0: patterns"
    assert both in " ".join(kdtui("sample", "show", "drawn").err.split())
    assert "1 piece of outdoor by hand" in kdtui("sample", "show", "one").err
    taken = kdtui("sample", "create", "few", "--pieces", numbers[1])
    assert (taken.code, taken.out) == (1, "")
    assert kdtui("sample", "create", "x", "--pieces", "one").code == 1
    assert kdtui("sample", "create", "x", "--pieces", 99_999).code == 1


def test_only_chosen_pieces_are_exported(mined: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    number = find_knowledge(mined)[0].id
    assert kdtui("knowledge", "export", "-o", tmp_path / "one", "--pieces", number).code == 0
    [line] = (tmp_path / "one" / "knowledge.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == number
    add_knowledge_of_another_dataset(mined)
    both = kdtui("knowledge", "export", "-o", tmp_path / "two", "--query", "")
    assert both.code == 1
    assert "the pieces are of several datasets, and each needs a folder of its own: other, outdoor" in both.err


def add_knowledge_of_another_dataset(db: Database) -> None:
    list(write_dataset(db, "other", "a test", [Session("s", (Item("a"),))]))
    add_knowledge(db, "other", "rule", "t", [NewKnowledge("Something else", "{}")])


def test_show_lists_where_a_piece_was_used(mined: Database, kdtui: Kdtui) -> None:
    piece = find_knowledge(mined)[0]
    kdtui("sample", "create", "few", "--pieces", piece.id)
    run = start_run(mined, "outdoor", "test", "x", RunSettings("x", ("pattern",), sample="few"))
    start_run(mined, "outdoor", "test", "x", RunSettings("x", ("rule",)))
    [shown] = kdtui("knowledge", "show", piece.id, "--json").rows
    assert (shown["samples"], shown["runs"], shown["trainings"]) == (["few"], [run.id], [])
    other = find_knowledge(mined)[1].id
    [shown] = kdtui("knowledge", "show", other, "--json").rows
    assert (shown["samples"], shown["runs"]) == ([], [])
    assert f"run {run.id}" in kdtui("knowledge", "show", piece.id).out
