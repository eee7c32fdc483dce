"""Mining and distilling again: pieces are deleted only after they were counted, and the count is reported."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.findings import possible_loss
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.knowledge.sample import pick_sample
from store.calls import record_call
from store.knowledge import Knowledge, NewKnowledge, add_knowledge, find_knowledge, sessions_of_piece
from store.knowledge_renewal import renew_knowledge
from store.records import STATUSES
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import good


@pytest.fixture
def known(db: Database, outdoor: Path) -> Database:
    list(import_dataset(db, outdoor, "outdoor"))
    mine_patterns(db, "outdoor")
    list(distill_annotations(db, "outdoor", ["rule", "thought"]))
    return db


def everything(db: Database) -> list[Knowledge]:
    return sorted(
        (piece for status in STATUSES for piece in find_knowledge(db, status=status)), key=lambda piece: piece.id
    )


def test_patterns_that_are_not_found_again_stay_and_are_counted(known: Database, kdtui: Kdtui) -> None:
    before = everything(known)
    patterns = len(find_knowledge(known, format="pattern"))
    result = kdtui("knowledge", "mine", "--min-support", 0.1)
    assert result.code == 0
    found = int(result.err.split()[1])
    assert 0 < found < patterns
    assert f"patterns: {patterns - found} earlier ones were not found again; they stay as they are" in result.err
    assert everything(known) == before


def test_patterns_are_replaced_on_request_and_counted_before_and_after(known: Database, kdtui: Kdtui) -> None:
    patterns = [piece.id for piece in find_knowledge(known, format="pattern")]
    pick_sample(known, "few", patterns[-2:])
    result = kdtui("knowledge", "mine", "--min-support", 0.1, "--replace")
    left = len(find_knowledge(known, format="pattern"))
    gone = len(patterns) - left
    before, mined, after = result.err.splitlines()
    assert before.startswith(f"{gone} of the existing {len(patterns)} patterns would be deleted")
    assert "Samples lose 2 of them: few." in before
    assert mined == f"mined {left} patterns of dataset outdoor (0 new)"
    assert after == f"patterns: deleted {gone} that were not found again"


@pytest.mark.parametrize("arguments", [["--level", 99], ["--level", 2, "--level", 9], ["--min-support", 1]])
def test_mining_that_finds_nothing_replaces_nothing(known: Database, kdtui: Kdtui, arguments: list[object]) -> None:
    before = everything(known)
    result = kdtui("knowledge", "mine", "--replace", *arguments)
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert everything(known) == before


def test_a_category_tree_that_is_less_deep_than_the_usual_levels_can_be_mined(
    db: Database, tmp_path: Path, kdtui: Kdtui
) -> None:
    items = [{"id": each, "categories": [["Shop", each]]} for each in "ab"]
    path = tmp_path / "flat.jsonl"
    lines = [
        {"session": f"s{n}", "items": items, "bundles": [{"items": ["a", "b"]}], "split": "train"} for n in range(3)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    list(import_dataset(db, path, "flat"))
    assert "mined 1 pattern of dataset flat (1 new)" in kdtui("knowledge", "mine").err


def test_pieces_that_a_smaller_distillation_would_reject_stay_kept(known: Database, kdtui: Kdtui) -> None:
    before = everything(known)
    result = kdtui("knowledge", "distill", "--limit", 12, "--json")
    assert result.code == 0
    rules, thoughts = result.rows
    assert rules["worse"] > 0
    assert rules["not_found_again"] > 0
    assert thoughts["not_found_again"] == 10
    assert not rules["replaced"]
    after = {piece.id: piece for piece in everything(known)}
    assert all(after[piece.id].status == piece.status for piece in before)
    assert f"{rules['worse']} earlier ones would be rejected now; they stay as they are" in result.err


def test_pieces_found_again_in_fewer_sessions_keep_their_sessions_and_measures(known: Database, kdtui: Kdtui) -> None:
    def all_of(pieces: list[Knowledge]) -> dict[int, tuple[object, ...]]:
        return {
            each.id: (each.status, each.support, each.precision, sessions_of_piece(known, each.id)) for each in pieces
        }

    before = all_of(everything(known))
    assert kdtui("knowledge", "distill", "--limit", 12, "--keep").code == 0
    after = all_of(everything(known))
    assert {number: after[number] for number in before} == before


def test_a_sample_changes_only_pieces_that_it_finds_in_more_sessions(known: Database) -> None:
    first, second, third = [session.id for session in iter_sessions(known, "outdoor", split="train")][:3]

    def renew(*sessions: str, precision: float, rejected: str | None = None, **options: bool) -> tuple[object, ...]:
        found = [NewKnowledge("a rule", "{}", precision=precision, rejected=rejected, sessions=sessions)]
        given = {"replace": False, "is_sample": True} | options
        renewal = renew_knowledge(known, "outdoor", "rule", "somebody", found, **given)
        [piece] = [each for each in everything(known) if each.teacher == "somebody"]
        return renewal.kept, piece.status, piece.precision, set(sessions_of_piece(known, piece.id))

    assert renew(first, second, precision=0.3, rejected="wrong too often") == (0, "rejected", 0.3, {first, second})
    for fewer in ((first,), (first, second), (second, third)):
        assert renew(*fewer, precision=1.0) == (0, "rejected", 0.3, {first, second})
    assert renew(first, second, third, precision=0.6) == (1, "kept", 0.6, {first, second, third})
    assert renew(first, precision=0.7, replace=True) == (1, "kept", 0.7, {first})
    assert renew(first, precision=0.8, is_sample=False) == (1, "kept", 0.8, {first})


def test_findings_of_a_sample_replace_imported_pieces(known: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    content = json.dumps({"text": "a rule"})
    line = {"id": 1, "format": "rule", "dataset": "outdoor", "statement": "a rule", "content": content, "teacher": "s"}
    path = tmp_path / "rules.jsonl"
    path.write_text(json.dumps(line))
    assert kdtui("knowledge", "import", path).code == 0
    found = [NewKnowledge("a rule", "{}", precision=0.9)]
    renew_knowledge(known, "outdoor", "rule", "s", found, replace=False, is_sample=True)
    assert [piece.precision for piece in everything(known) if piece.statement == "a rule"] == [0.9]


def test_a_distillation_that_replaces_says_how_many_go_and_how_many_are_rejected(known: Database, kdtui: Kdtui) -> None:
    before = {piece.id: piece for piece in everything(known) if piece.format != "pattern"}
    result = kdtui("knowledge", "distill", "--limit", 12, "--json", "--replace")
    after = {piece.id: piece for piece in everything(known) if piece.format != "pattern"}
    rows = result.rows
    assert all(row["replaced"] for row in rows)
    assert sum(row["not_found_again"] for row in rows) == len(before) - len(after)
    worse = [number for number in after if before[number].status == "kept" and after[number].status == "rejected"]
    assert rows[0]["worse"] == len(worse) > 0
    assert "would be deleted" in result.err.splitlines()[1]
    assert f"deleted {rows[0]['not_found_again']} that were not found again and rejected {len(worse)}" in result.err


def test_pieces_that_are_kept_after_a_rejection_are_counted(known: Database, kdtui: Kdtui) -> None:
    piece = find_knowledge(known, format="pattern")[0]
    known.execute("UPDATE knowledge SET status = 'rejected', reason = 'by hand' WHERE id = ?", [piece.id])
    known.conn.commit()
    result = kdtui("knowledge", "mine")
    assert result.err.endswith("patterns: kept 1 that had been rejected\n")
    assert find_knowledge(known, format="pattern")[0] == piece


def test_if_all_findings_are_rejected_nothing_is_replaced(known: Database, kdtui: Kdtui) -> None:
    kept = find_knowledge(known, format="rule")
    # A rule from a single session is never kept.
    result = kdtui("knowledge", "distill", "--format", "rule", "--limit", 1, "--replace")
    assert result.code == 0
    assert find_knowledge(known, format="rule") == kept
    assert "they stay as they are, since no finding can be used instead" in result.err


@pytest.mark.parametrize(("answer", "stays"), [("y", False), ("n", True), ("", True)])
def test_a_terminal_asks_and_the_default_answer_is_no(
    known: Database, database_of_the_test: Path, answer: str, stays: bool
) -> None:
    patterns = len(find_knowledge(known, format="pattern"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kdtui", "--db", str(database_of_the_test), "knowledge", "mine", "--min-support", "0.1"],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    os.close(theirs)
    screen = ""
    while "Go ahead? [y/N]:" not in screen:
        screen += os.read(ours, 1000).decode()
    assert f"of the existing {patterns} patterns would be deleted" in " ".join(screen.split())
    assert len(find_knowledge(known, format="pattern")) == patterns, "nothing may go before the answer"
    os.write(ours, f"{answer}\n".encode())
    assert process.wait(60) == 0
    os.close(ours)
    assert (len(find_knowledge(known, format="pattern")) == patterns) == stays


def test_rules_of_a_model_are_deleted_only_if_all_sessions_gave_an_answer(
    known: Database, serve: Serve, kdtui: Kdtui
) -> None:
    url, fake = serve(good)
    teacher = f"m at {url.split('/')[2]}"
    [old] = add_knowledge(known, "outdoor", "rule", teacher, [NewKnowledge("As it was", '{"text": "As it was"}')])
    distil = ["knowledge", "distill", "--teacher", f"{url}#m", "--format", "rule", "--replace"]
    stopped = kdtui(*distil, "--concurrency", 1, "--max-calls", 15)
    assert stopped.code == 1
    assert f"dataset outdoor has 1 rule of {teacher}; those not found again would be deleted" in stopped.err
    assert old in [piece.id for piece in everything(known)]
    assert "1 earlier one was not found again; it stays as it is, since not all sessions gave an answer" in stopped.err
    done = kdtui(*distil)
    assert done.code == 0, done.err
    assert old not in [piece.id for piece in everything(known)]
    assert "deleted 1 that was not found again" in done.err
    assert fake.asked


def test_an_unreachable_teacher_deletes_nothing(known: Database, serve: Serve, kdtui: Kdtui) -> None:
    def refuse(fake: Fake, _: int) -> None:
        fake.send({"error": {"message": "no such key"}}, 401)

    url, _ = serve(refuse)
    add_knowledge(known, "outdoor", "rule", f"m at {url.split('/')[2]}", [NewKnowledge("As it was", "{}")])
    before = everything(known)
    result = kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--replace")
    assert result.code == 1
    assert everything(known) == before


@pytest.mark.usefixtures("known")
def test_a_dry_run_stores_no_thought(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, _ = serve(good)
    distil = ["knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought"]
    assert kdtui(*distil).code == 0
    teacher = f"m at {url.split('/')[2]}"
    db.execute("DELETE FROM knowledge WHERE teacher = ?", [teacher])
    db.conn.commit()
    assert kdtui(*distil, "--dry-run").code == 0
    assert not [piece for piece in everything(db) if piece.teacher == teacher]


def test_dependents_of_pieces_of_a_model_are_listed_with_its_answers(known: Database) -> None:
    record_call(known, key="k", teacher="t", step="reflect", request="{}", response="{}", seconds=1.0, attempts=1)
    numbers = add_knowledge(
        known, "outdoor", "rule", "t", [NewKnowledge("One", "{}", call=1), NewKnowledge("Two", "{}")]
    )
    pick_sample(known, "\x1b[31mred", numbers[:1])
    loss = possible_loss(known, "outdoor", ["rule", "thought"], "t")
    assert loss.numbers == tuple(numbers)
    assert loss.sentence == (
        "dataset outdoor has 2 rules of t; those not found again would be deleted. Samples lose 1 of them: red. "
        "A model was asked for 1 of them; its answers stay."
    )
    assert not possible_loss(known, "outdoor", ["thought"], "t")


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_findings_with_one_sentence_the_usable_one_is_stored(known: Database, reverse: bool) -> None:
    usable = NewKnowledge("Put tents with lamps", '{"a": 1}', support=0.2)
    findings = [
        NewKnowledge("Put tents with lamps", '{"b": 1}', support=0.1),
        usable,
        NewKnowledge("Put tents with lamps", '{"c": 1}', support=0.9, rejected="it names no category"),
    ]
    renewal = renew_knowledge(
        known, "outdoor", "rule", "someone", findings[::-1] if reverse else findings, replace=False
    )
    assert (renewal.kept, renewal.rejected, renewal.new) == (1, 0, 1)
    [stored] = find_knowledge(known, dataset="outdoor", format="rule", teacher="someone")
    assert stored.content == usable.content
