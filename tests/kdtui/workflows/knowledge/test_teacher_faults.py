"""A teacher that fails: errors, useless answers and silence lose at most a session, and each call has its row."""

from collections import Counter
from collections.abc import Callable

import pytest

from store.records import Session
from store.sqlite import Database
from tests.support.call_rows import calls
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import good
from tests.support.waiting import PATIENCE


def test_bursts_of_errors_are_survived(train: list[Session], serve: Serve, kdtui: Kdtui, db: Database) -> None:
    def stormy(fake: Fake, number: int) -> None:
        if number % 3 == 0:
            fake.send({"error": {"message": "slow down"}}, 429, {"Retry-After": "0.01"})
        elif number % 7 == 1:
            fake.send({"error": {"message": "oops"}}, 503, {"Retry-After": "0.01"})
        else:
            good(fake, number)

    url, _ = serve(stormy)
    result = kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought")
    assert result.code == 0, result.err
    rows = calls(db)
    assert len(rows) == len(train)
    assert all(row["status"] == "answered" for row in rows)
    assert sum(row["attempts"] for row in rows) > len(rows)


ODD: dict[str, tuple[Callable[[Fake, int], None], str]] = {
    "nonsense": (lambda fake, _: fake.complete("I would rather not."), "is not the JSON that was asked for"),
    "cut off": (lambda fake, _: fake.complete('{"bundles": [', "length"), "is cut off"),
    "other products": (
        lambda fake, _: fake.complete('{"products": [], "bundles": [{"products": [1, 99]}], "left_out": ""}'),
        "names product 99",
    ),
    "a megabyte": (lambda fake, _: fake.complete("x" * 1_000_000), "is cut off"),
    "nothing": (lambda fake, _: fake.complete(""), "gives an empty answer"),
    "another form": (lambda fake, _: fake.send({"hello": 1}), "is it OpenAI-compatible?"),
    "a broken stream": (lambda fake, _: fake.drop(), "cannot be reached"),
    "no JSON": (lambda fake, _: fake.send(b"<html>"), "gives no usable answer"),
    "a refusal": (lambda fake, _: fake.complete(None, refusal="Not me."), "'m' refuses to answer: Not me."),
    "a filter": (lambda fake, _: fake.complete("", "content_filter"), "blocks the answer"),
    "a tool": (
        lambda fake, _: fake.complete(None, tool_calls=[{"function": {"name": "search"}}]),
        "'m' calls the tool 'search' instead of answering",
    ),
    "only reasoning": (lambda fake, _: fake.complete("", reasoning_content="Hm"), "40 tokens went into its reasoning"),
    "an error": (
        lambda fake, _: fake.send({"error": {"message": "no \x1b[31mway"}}),
        "answers with an error (no [31mway)",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_bad_answer_costs_its_session_and_has_its_row(
    db: Database, train: list[Session], serve: Serve, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("models.endpoint.teacher.RETRIES", 0)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    reply, reason = ODD[kind]
    url, _ = serve(lambda fake, number: reply(fake, number) if number == 2 else good(fake, number))
    result = kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought")
    assert result.code == 1
    assert result.err.count(": no thoughts;") == 1
    assert reason in result.err
    assert "1 session gave no knowledge" in result.err
    assert len(calls(db)) == len(train)
    assert Counter(row["status"] for row in calls(db))["failed"] <= 1
    assert "very-secret" not in result.err + "".join(map(str, calls(db)))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "refuses the key in the variable OTHER_KEY (key … is bad)"),
        (404, "has no model 'm'"),
        (402, "has no credit left for the key in OTHER_KEY (key … is bad)"),
        (429, "has no credit left for the key in OTHER_KEY (key … is bad)"),
    ],
)
def test_a_permanent_error_ends_the_run_and_the_same_command_resumes(
    db: Database,
    train: list[Session],
    serve: Serve,
    kdtui: Kdtui,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    reason: str,
) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-very-secret")
    problem = {"message": "key sk-very-secret is bad", "code": "insufficient_quota" if status == 429 else None}
    url, fake = serve(lambda fake, _: fake.send({"error": problem}, status))
    result = kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--key", "OTHER_KEY", "--concurrency", 2)
    assert result.code == 1
    assert reason in result.err
    assert "stopped: " in result.err
    assert len(fake.asked) <= 4
    assert all(row["status"] == "failed" and row["error"] for row in calls(db))
    assert "very-secret" not in result.err + "".join(map(str, calls(db)))
    fake.reply = staticmethod(good)
    assert kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--key", "OTHER_KEY").code == 0
    assert len([row for row in calls(db) if row["status"] == "answered"]) == 4 * len(train)


@pytest.mark.usefixtures("train")
def test_a_server_that_hangs_is_given_up_and_not_asked_again(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    def hanging(fake: Fake, number: int) -> None:
        if number:
            good(fake, number)
        else:
            fake.gate.wait(PATIENCE)

    url, fake = serve(hanging)
    result = kdtui(
        "knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought", "--timeout", 2, "--concurrency", 4
    )
    assert "did not answer in 2 seconds" in result.err
    # On a busy machine a good answer can come too late as well.
    assert Counter(row["status"] for row in calls(db))["failed"] >= 1
    assert len(fake.asked) == len(calls(db))
    assert fake.asked.count(fake.asked[0]) == 1
