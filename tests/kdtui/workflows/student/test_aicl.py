"""AICL: the nearest training session as the demonstration, in a conversation with a teacher or in the prompt."""

import json
from pathlib import Path
from typing import Any

import pytest

from kdtui.bundling.truth import minimal_bundles
from kdtui.workflows.data.import_dataset import import_dataset
from store.nearest_sessions import nearest_sessions
from store.sessions import get_session, iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.tiny import make_model

ENDPOINT = "http://127.0.0.1:9/v1#m"
RULES: dict[str, Any] = {
    "explanations": [],
    "rules": [{"rule": "Nights need shelter", "categories": [], "together": None}],
}


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def last(fake: Fake) -> str:
    return str(fake.body["messages"][-1]["content"])


def never_right(fake: Fake, _: int) -> None:
    wrong = {"bundles": [{"products": [1, 2], "intent": "night outside"}]}
    fake.complete(json.dumps(RULES if "Which rules" in last(fake) else wrong))


def test_the_conversation_has_at_most_four_rounds_of_feedback(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, fake = serve(never_right)
    result = kdtui("generate", "o34", "--student", f"{url}#m", "--strategy", "aicl", "--json")
    assert result.code == 0, result.err
    assert result.rows[0]["bundles"][0]["positions"] == [1, 2]
    steps = [row["step"] for row in db.query("SELECT step FROM calls ORDER BY id")]
    neighbour = get_session(db, "outdoor", nearest_sessions(db, "outdoor", get_session(db, "outdoor", "o34"), 1)[0])
    truth = {bundle.positions for bundle in minimal_bundles(neighbour.bundles)}
    rounds = 0 if truth == {(1, 2)} else 4
    assert steps == ["detect", "correct", *["adjust"] * rounds, "rules", "aicl"]
    final = fake.asked[-1]["messages"]
    assert [message["role"] for message in final] == ["user", "assistant"] * (3 + rounds) + ["user"]
    assert "Nights need shelter" in final[-2]["content"]
    assert "Compared with their bundles" in final[4]["content"]


def test_a_teacher_that_is_right_gets_no_more_feedback(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    neighbour = get_session(db, "outdoor", nearest_sessions(db, "outdoor", get_session(db, "outdoor", "o34"), 1)[0])
    right = {
        "bundles": [
            {"products": bundle.positions, "intent": bundle.intent} for bundle in minimal_bundles(neighbour.bundles)
        ]
    }
    url, _ = serve(lambda fake, _: fake.complete(json.dumps(RULES if "Which rules" in last(fake) else right)))
    assert kdtui("generate", "o34", "--student", f"{url}#m", "--strategy", "aicl").code == 0
    assert [row["step"] for row in db.query("SELECT step FROM calls ORDER BY id")] == [
        "detect",
        "correct",
        "rules",
        "aicl",
    ]


def test_a_split_is_answered_and_no_call_is_made_twice(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, fake = serve(never_right)
    evaluate = ["evaluate", "--student", f"{url}#m", "--strategy", "aicl", "--json"]
    result = kdtui(*evaluate)
    assert result.code == 0, result.err
    [row] = [row for row in result.rows if row["name"].endswith("aicl")]
    assert row["valid"] == 1
    asked = len(fake.asked)
    test = list(iter_sessions(db, "outdoor", split="test"))
    assert asked == db.execute("SELECT count(*) FROM calls").fetchone()[0]
    assert asked <= 8 * len(test)
    assert kdtui(*evaluate).code == 0
    assert len(fake.asked) == asked


def test_the_tokens_of_a_run_are_those_of_all_its_calls_whenever_they_were_paid_for(
    db: Database, serve: Serve, kdtui: Kdtui
) -> None:
    url, _ = serve(never_right)
    evaluate = ["evaluate", "--student", f"{url}#m", "--strategy", "aicl", "--json"]
    for number in (1, 2):
        assert kdtui(*evaluate).code == 0
        calls = db.execute("SELECT sum(prompt_tokens), sum(completion_tokens) FROM calls").fetchone()
        # Sessions can share a demonstration, whose calls count once.
        query = "SELECT sum(prompt_tokens), sum(completion_tokens) FROM predictions WHERE run_id = ?"
        assert db.execute(query, [number]).fetchone() == calls
        assert calls[0] > 0


def test_a_bad_answer_costs_only_its_session(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    bad: list[int] = []

    def reply(fake: Fake, number: int) -> None:
        if not bad and last(fake).startswith("Look at your bundles again"):
            bad.append(number)
            fake.complete("no")
        else:
            never_right(fake, number)

    url, _ = serve(reply)
    result = kdtui("evaluate", "--student", f"{url}#m", "--strategy", "aicl", "--json", "--limit", 4)
    assert result.code == 0
    assert "is not the JSON that was asked for" in result.err
    rows = list(db.query("SELECT bundles, error FROM predictions"))
    assert len(rows) == 4
    assert 1 <= sum(row["error"] is not None for row in rows) < 4


@pytest.mark.parametrize("step", ["correct", "rules", "aicl"])
def test_an_unusable_answer_is_asked_for_again_by_the_next_command(
    db: Database, serve: Serve, kdtui: Kdtui, step: str
) -> None:
    def step_of(fake: Fake) -> str:
        question = last(fake)
        if question.startswith("Look at your bundles again"):
            return "correct"
        # The first and the last question have the same instructions.
        is_last = len(fake.body["messages"]) > 1 and question[:40] == fake.body["messages"][0]["content"][:40]
        return "aicl" if is_last else "rules" if "Which rules" in question else "other"

    def cut_off(fake: Fake, number: int) -> None:
        fake.complete('{"bundles": [', "length") if step_of(fake) == step else never_right(fake, number)

    url, fake = serve(cut_off)
    generate = ["generate", "o34", "--student", f"{url}#m", "--strategy", "aicl", "--json"]
    first = kdtui(*generate)
    assert "is cut off; ask the student again to repeat the call" in first.err
    assert "--answer-tokens" not in first.err
    asked = len(fake.asked)
    # Nothing but the unusable answer is paid for again, and only once.
    assert "is cut off" in kdtui(*generate).err
    assert len(fake.asked) == asked + 1
    fake.reply = staticmethod(never_right)
    good = kdtui(*generate)
    assert good.rows[0]["bundles"][0]["positions"] == [1, 2], good.err
    [repeated] = db.query("SELECT step, prompt_tokens FROM calls WHERE prompt_tokens > 300")
    assert repeated == {"step": step, "prompt_tokens": 3 * 300}
    asked = len(fake.asked)
    assert kdtui(*generate).rows == good.rows
    assert len(fake.asked) == asked


def test_the_tokens_of_a_run_include_those_of_a_repeated_call(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, fake = serve(lambda fake, _: fake.complete("no"))
    evaluate = ["evaluate", "--student", f"{url}#m", "--strategy", "aicl", "--limit", 1, "--json"]
    assert kdtui(*evaluate).code == 0
    fake.reply = staticmethod(never_right)
    assert kdtui(*evaluate).code == 0
    calls = db.execute("SELECT sum(prompt_tokens), sum(completion_tokens) FROM calls").fetchone()
    query = "SELECT sum(prompt_tokens), sum(completion_tokens) FROM predictions WHERE run_id = 2"
    assert db.execute(query).fetchone() == calls


def test_a_local_student_is_shown_the_nearest_session_in_the_form_of_the_answer(
    db: Database, kdtui: Kdtui, tmp_path: Path
) -> None:
    near = get_session(db, "outdoor", nearest_sessions(db, "outdoor", get_session(db, "outdoor", "o05"), 1)[0])
    bundle = minimal_bundles(near.bundles)[0]
    [row] = kdtui("knowledge", "for", "o05", "--knowledge", "none", "--strategy", "aicl", "--json").rows
    content = row["messages"][1][1]
    assert f"Answer:\n{','.join(map(str, bundle.positions))}: {bundle.intent}" in content
    assert content.count("Products:") == 2
    tiny = make_model(tmp_path / "tiny.gguf")
    bare, shown = (
        kdtui("generate", "o05", "--student", tiny, "--json", *more) for more in ((), ("--strategy", "aicl"))
    )
    assert shown.code == 0, shown.err
    assert shown.rows != bare.rows


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["o34", "--student", ENDPOINT, "--strategy", "list"], "no --strategy but aicl"),
        (
            ["o34", "--student", ENDPOINT, "--strategy", "aicl", "--knowledge", "pattern"],
            "leave out --knowledge",
        ),
        (["o34", "--student", "patterns", "--strategy", "aicl"], "leave out --strategy"),
    ],
)
def test_invalid_settings_are_one_sentence(kdtui: Kdtui, arguments: list[str], problem: str) -> None:
    result = kdtui("generate", *arguments)
    assert result.code == 1
    assert problem in result.err


def test_an_unreachable_server_ends_the_run(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.endpoint.teacher.RETRIES", 0)
    result = kdtui("evaluate", "--student", ENDPOINT, "--strategy", "aicl")
    assert result.code == 1
    assert "cannot be reached" in result.err
