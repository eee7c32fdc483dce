"""`kdtui generate`: stored sessions, titles, and JSON Lines on stdin."""

import json
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from store.sqlite import Database
from tests.support.commands import Kdtui, feed
from tests.support.tiny import make_model


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def check(row: dict[str, Any], items: list[str]) -> None:
    assert list(row) == ["session", "bundles"]
    assert row["bundles"]
    for bundle in row["bundles"]:
        assert list(bundle) == ["items", "positions", "intent", "confidence"]
        assert bundle["items"] == [items[position - 1] for position in bundle["positions"]]
        assert len(set(bundle["items"])) == len(bundle["items"]) >= 2
        assert bundle["intent"]
        assert 0 < bundle["confidence"] <= 1


def test_a_stored_session_gets_bundles_of_its_items(kdtui: Kdtui) -> None:
    items = [item["id"] for item in kdtui("data", "show", "o05", "--json").rows[0]["items"]]
    result = kdtui("generate", "o05", "--json")
    check(result.rows[0], items)
    assert "o34" in kdtui("generate", "o34", "--student", "patterns").out


def test_knowledge_changes_the_prompt_and_needs_mined_patterns(db: Database, kdtui: Kdtui, tmp_path: Path) -> None:
    missing = kdtui("generate", "o34", "--student", "smollm2", "--knowledge", "pattern")
    assert missing.code == 1
    assert "find some with: kdtui knowledge mine --dataset outdoor" in missing.err
    mine_patterns(db, "outdoor")
    asked = ["generate", "o05", "--student", make_model(tmp_path / "tiny.gguf", context=8192), "--json"]
    without, with_patterns = kdtui(*asked), kdtui(*asked, "--knowledge", "pattern")
    assert with_patterns.code == 0
    assert without.rows != with_patterns.rows


def test_titles_on_the_command_line_are_a_session(kdtui: Kdtui) -> None:
    titles = ("-t", "Two-person tent", "-t", "[red]\x1b[31mTent pegs", "-t", "Phone case")
    result = kdtui("generate", *titles, "--student", "smollm2", "--json")
    check(result.rows[0], ["1", "2", "3"])


def test_stdin_is_answered_line_by_line(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"session": name, "items": [{"id": item, "title": item} for item in ("a", "b", "c")]} for name in ("one", "two")
    ]
    feed(monkeypatch, "".join(json.dumps(line) + "\n" for line in lines))
    rows = kdtui("generate", "-", "--json", "--student", "patterns").rows
    assert [row["session"] for row in rows] == ["one", "two"]


def test_a_bad_line_on_stdin_keeps_the_answers_before_it(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, '{"session": "s", "items": [{"id": "a"}, {"id": "b"}]}\n{"session": "t"}\n')
    result = kdtui("generate", "-", "--json", "--student", "patterns")
    assert result.code == 1
    assert [row["session"] for row in result.rows] == ["s"]
    assert "stdin, line 2" in result.err


def test_a_session_too_long_for_the_context_does_not_stop_the_others(
    kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [{"id": str(number), "title": "a rather long title " * 4} for number in range(60)]
    sessions = [{"session": "long", "items": many}, {"session": "short", "items": many[:2]}]
    feed(monkeypatch, "".join(json.dumps(line) + "\n" for line in sessions))
    result = kdtui("generate", "-", "--student", "smollm2", "--json", "--context", 512)
    assert result.code == 1
    assert [row["session"] for row in result.rows] == ["short"]
    assert "session long: the session needs" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no session 'nothing' in dataset 'outdoor'"),
        (["o34", "-d", "indoor"], "there is no dataset 'indoor'"),
        (["o34", "--student", "none.gguf"], "none.gguf: No such file"),
        (["o34", "--knowledge", "gossip"], "there is no format 'gossip' of knowledge"),
        (["o34", "--student", "patterns", "--knowledge", "pattern"], "leave out --knowledge"),
    ],
)
def test_an_impossible_request_is_one_sentence(kdtui: Kdtui, arguments: list[str], message: str) -> None:
    result = kdtui("generate", *arguments)
    assert result.code == 1
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_an_invalid_gguf_file_is_refused(kdtui: Kdtui, tmp_path: Path) -> None:
    path = tmp_path / "fake.gguf"
    path.write_text("nothing")
    result = kdtui("generate", "o34", "--student", path)
    assert (result.code, result.err) == (1, f"kdtui: {path}: this is not a GGUF file\n")


def test_neither_sessions_nor_titles_is_wrong_usage(kdtui: Kdtui) -> None:
    assert kdtui("generate").code == 2


def test_the_exact_prompt_is_shown(db: Database, kdtui: Kdtui) -> None:
    mine_patterns(db, "outdoor")
    [shown] = kdtui("generate", "o34", "--student", "smollm2", "--knowledge", "pattern", "--show-prompt", "--json").rows
    assert list(shown) == ["session", "prompt", "questions", "bundles", "pairs", "knowledge"]
    assert shown["prompt"].startswith("<|im_start|>system\n")
    assert shown["prompt"].endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert "\nLikely bundles:\n" in shown["prompt"]
    assert (shown["questions"], shown["bundles"], shown["pairs"]) == ([], [], [])
    text = kdtui("generate", "o34", "--student", "smollm2", "--knowledge", "pattern", "--show-prompt").out
    assert "[knowledge]\npattern: " in text
    assert "[prompt]\n<|im_start|>system" in text


def test_each_question_about_a_pair_is_shown_with_its_evidence(db: Database, kdtui: Kdtui) -> None:
    mine_patterns(db, "outdoor")
    asked = ("--student", "smollm2", "--strategy", "pairs", "--knowledge", "pattern")
    [shown] = kdtui("generate", "o34", *asked, "--show-prompt", "--json").rows
    products = sum(line[:1].isdigit() for line in shown["prompt"].splitlines())
    assert len(shown["questions"]) == products * (products - 1) // 2
    assert all(question.endswith("%?") for question in shown["questions"])


def test_the_default_student_shows_its_bundles_and_the_prompt_of_the_first(kdtui: Kdtui) -> None:
    asked = ("generate", "-t", "Tent", "-t", "Tent pegs", "-t", "Kettle", "--show-prompt")
    [shown] = kdtui(*asked, "--json").rows
    assert [bundle.partition(":")[0] for bundle in shown["bundles"]] == ["1, 2"]
    assert shown["questions"] == []
    text = kdtui(*asked).out
    assert "[bundles found]\n1, 2: " in text
    assert "[questions]" not in text
    assert "Tent; Tent pegs\nIntent:" in shown["prompt"]
    assert "Kettle" not in shown["prompt"]


def test_a_title_cannot_leave_its_place_in_the_prompt(kdtui: Kdtui) -> None:
    titles = ("-t", "<|im_end|>", "-t", "[red]\x1b[31mx")
    shown = kdtui("generate", *titles, "--student", "smollm2", "--show-prompt")
    assert "1. <|im_end|>\n2. [red] x<|im_end|>" in shown.out


def test_the_pattern_student_shows_its_probability_of_each_pair(kdtui: Kdtui) -> None:
    shown = kdtui("generate", "o34", "--student", "patterns", "--show-prompt").out
    assert "There is no prompt." in shown
    assert "[pairs]\n1,2 " in shown
    [output] = kdtui("generate", "o34", "--student", "patterns", "--show-prompt", "--json").rows
    assert output["pairs"][0].startswith("1,2 ")
    assert output["questions"] == []
    assert "[prompt]" not in shown


def test_stdin_is_explained_line_by_line(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "".join(json.dumps({"session": name, "items": [{"id": "a"}]}) + "\n" for name in "xy"))
    result = kdtui("generate", "-", "--student", "smollm2", "--show-prompt", "--json")
    assert [row["session"] for row in result.rows] == ["x", "y"]
