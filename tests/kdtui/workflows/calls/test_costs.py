"""The cost of calls to a teacher: estimated if unreported, never 0 if unknown, and within the budget."""

import json
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.calls.costs import Prices, cost_text
from kdtui.workflows.calls.requests import ANSWER_TOKENS
from kdtui.workflows.data.import_dataset import import_dataset
from store.database import open_database
from store.records import Session
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.call_rows import calls
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import answer_for, good

PRICES = ("--prompt-price", 1000, "--answer-price", 1000)


@pytest.fixture(autouse=True)
def train(db: Database, outdoor: Path) -> list[Session]:
    list(import_dataset(db, outdoor, "outdoor"))
    return list(iter_sessions(db, "outdoor", split="train"))


def spent(db: Database) -> float:
    return sum(row["cost"] or 0 for row in calls(db))


def distil(kdtui: Kdtui, url: str, *more: object) -> Any:
    formats = () if "--format" in more else ("--format", "thought")
    return kdtui("knowledge", "distill", "--teacher", f"{url}#m", *formats, *more)


def silent(fake: Fake, _: int) -> None:
    """A server that does not report its usage."""
    fake.complete(json.dumps(answer_for(fake)), usage=None)


def empty(fake: Fake, _: int) -> None:
    fake.complete("", usage=(300, 40))


def test_unreported_tokens_are_estimated_and_marked(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, fake = serve(silent)
    result = distil(kdtui, url, *PRICES, "--limit", 3)
    assert result.code == 0, result.err
    for row, asked in zip(calls(db), fake.asked, strict=True):
        sent = sum(len(message["content"].encode()) for message in asked["messages"])
        assert sent / 5 < row["prompt_tokens"] < sent
        assert len(row["response"]) / 5 < row["completion_tokens"] < len(row["response"])
        assert row["cost"] == pytest.approx((row["prompt_tokens"] + row["completion_tokens"]) / 1000)
        assert row["estimated"] == 1
    assert f"cost ~{spent(db):.4f} (tokens of 3 calls estimated)" in result.err
    shown = kdtui("knowledge", "calls")
    assert "~" in shown.out
    assert "~ marks estimates" in shown.err
    assert "estimated: the server did not report" in kdtui("knowledge", "calls", 1).out
    assert all(row["is_estimated"] for row in kdtui("knowledge", "calls", "--json").rows)
    assert kdtui("knowledge", "calls", "--totals", "--json").rows[0]["estimated"] == 3


@pytest.mark.parametrize("usage", [None, (0, 0), {"prompt_tokens": -1}, {"completion_tokens": "many"}])
@pytest.mark.parametrize("limit", [0.5, 5])
def test_a_budget_holds_without_reported_tokens(
    db: Database, serve: Serve, kdtui: Kdtui, usage: Any, limit: float
) -> None:
    url, fake = serve(lambda fake, _: fake.complete(json.dumps(answer_for(fake)), usage=usage))
    result = distil(kdtui, url, *PRICES, "--max-cost", limit)
    assert result.code == 1
    assert "stopped: the next call might pass the budget" in result.err
    assert len(fake.asked) < 22
    assert spent(db) <= limit
    assert spent(db) > 0 or limit < 1


def test_running_calls_are_reserved_and_the_budget_is_still_used_up(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, fake = serve(good)
    # A call can cost 2 at most and costs .34: two can run at a time, and 12 are paid for in the end.
    assert distil(kdtui, url, *PRICES, "--max-cost", 6).code == 1
    assert fake.most_at_once <= 3
    assert 6 - 2.6 < spent(db) <= 6


def test_calls_that_cost_more_than_their_bound_are_noticed(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, _ = serve(lambda fake, _: fake.complete(json.dumps(answer_for(fake)), usage=(9_000, 9_000)))
    distil(kdtui, url, *PRICES, "--max-cost", 100, "--concurrency", 1)
    assert 50 < spent(db) <= 100


def test_an_empty_answer_was_paid_for_and_is_not_paid_for_again(
    db: Database, train: list[Session], serve: Serve, kdtui: Kdtui
) -> None:
    url, fake = serve(empty)
    result = distil(kdtui, url, *PRICES)
    assert result.code == 1
    assert spent(db) == pytest.approx(len(train) * 0.34)
    assert f"{len(train)} failed, cost {spent(db):.4f}" in result.err
    assert {row["status"] for row in calls(db)} == {"failed"}
    again = distil(kdtui, url, *PRICES)
    assert again.code == 1
    assert "gives an empty answer" in again.err
    assert "--retry-failed asks again" in again.err
    assert len(fake.asked) == len(train)
    assert kdtui("knowledge", "calls", 1).out.count("--retry-failed") == 1
    fake.reply = staticmethod(good)
    retried = distil(kdtui, url, *PRICES, "--retry-failed")
    assert retried.code == 0, retried.err
    assert len(fake.asked) == 2 * len(train)
    # Both have been paid for.
    assert spent(db) == pytest.approx(2 * len(train) * 0.34)
    assert all((row["attempts"], row["prompt_tokens"], row["final"]) == (2, 600, 0) for row in calls(db))
    assert distil(kdtui, url, "--retry-failed").code == 0
    assert len(fake.asked) == 2 * len(train)


def test_an_empty_answer_without_reported_tokens_counts_its_full_limit(
    db: Database, serve: Serve, kdtui: Kdtui
) -> None:
    url, _ = serve(lambda fake, _: fake.complete("", "length", usage=None, reasoning_content="Let me think"))
    distil(kdtui, url, *PRICES, "--limit", 1, "--answer-tokens", 77)
    [row] = calls(db)
    assert (row["completion_tokens"], row["estimated"]) == (77, 1)
    assert "went into its reasoning" in row["error"]


def test_a_budget_of_calls_counts_failed_calls(serve: Serve, kdtui: Kdtui) -> None:
    url, fake = serve(empty)
    distil(kdtui, url, "--max-calls", 5)
    assert len(fake.asked) == 5


@pytest.mark.parametrize("formats", ["rule", "thought"])
def test_an_unusable_answer_is_asked_for_again_on_request(
    db: Database, serve: Serve, kdtui: Kdtui, formats: str
) -> None:
    def rambling(fake: Fake, number: int) -> None:
        good(fake, number) if number % 2 else fake.complete("I would rather not.", usage=(300, 40))

    url, fake = serve(rambling)
    options = [*PRICES, "--format", formats, "--limit", 6]
    assert distil(kdtui, url, *options).code == 1
    asked = len(fake.asked)
    fake.reply = staticmethod(good)
    assert distil(kdtui, url, *options).code == 1
    assert len(fake.asked) == asked
    [row] = distil(kdtui, url, *options, "--retry-failed", "--dry-run", "--json").rows
    assert row["estimate"]["paid"] > 0
    before = spent(db)
    retried = distil(kdtui, url, *options, "--retry-failed")
    assert retried.code == 0, retried.err
    assert len(fake.asked) - asked <= row["estimate"]["paid"]
    assert spent(db) == pytest.approx(before + 0.34 * (len(fake.asked) - asked))
    # Unread answers, such as a first attempt, can be anything.
    unread = [row["step"] for row in calls(db) if row["response"] == "I would rather not."]
    assert set(unread) <= {"detect"}
    done = len(fake.asked)
    assert distil(kdtui, url, *options, "--retry-failed").code == 0
    assert len(fake.asked) == done


def test_a_temporary_failure_is_retried_automatically(
    db: Database, serve: Serve, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.endpoint.teacher.RETRIES", 0)
    url, fake = serve(lambda fake, number: good(fake, number) if number else fake.send({"error": "busy"}, 503))
    assert distil(kdtui, url, "--limit", 3).code == 1
    [failed] = [row for row in calls(db) if row["status"] == "failed"]
    assert (failed["cost"], failed["prompt_tokens"], failed["final"]) == (None, None, 0)
    assert distil(kdtui, url, "--limit", 3).code == 0
    assert len(fake.asked) == 4


def test_requests_without_an_answer_may_cost_and_count_in_the_budget(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    def hanging(fake: Fake, number: int) -> None:
        if number == 0:
            fake.gate.wait(20)
        else:
            good(fake, number)

    url, _ = serve(hanging)
    distil(kdtui, url, *PRICES, "--max-cost", 6, "--timeout", 0.3, "--concurrency", 1)
    # A call that can have cost 2 leaves less for the others.
    assert 0 < spent(db) < 4


def test_without_prices_a_cost_is_unknown_and_never_0(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, _ = serve(good)
    dry = distil(kdtui, url, "--dry-run")
    assert "unknown" in dry.out
    assert "the cost is unknown without --prompt-price" in dry.err
    assert distil(kdtui, url, "--dry-run", "--json").rows[0]["estimate"]["cost"] is None
    result = distil(kdtui, url, "--limit", 3)
    assert "3 paid, cost unknown: no prices given" in result.err
    assert [row["cost"] for row in calls(db)] == [None] * 3
    assert [row["cost"] for row in kdtui("knowledge", "calls", "--json").rows] == [None] * 3
    assert "cost: unknown" in kdtui("knowledge", "calls", 1).out
    [total] = kdtui("knowledge", "calls", "--totals", "--json").rows
    assert (total["cost"], total["unknown"]) == (None, 3)
    # Some are known, and some are not.
    distil(kdtui, url, *PRICES, "--limit", 5)
    [total] = kdtui("knowledge", "calls", "--totals", "--json").rows
    assert (total["cost"], total["unknown"]) == (pytest.approx(0.68), 3)
    assert "3 calls" in kdtui("knowledge", "calls", "--totals").out


def test_a_free_call_costs_0_and_a_missing_price_is_named(serve: Serve, kdtui: Kdtui) -> None:
    url, _ = serve(good)
    free = distil(kdtui, url, "--limit", 1, "--prompt-price", 0, "--answer-price", 0)
    assert "1 paid, cost 0.0000" in free.err
    half = distil(kdtui, url, "--limit", 2, "--prompt-price", 10)
    assert "--answer-price was not given and counts as 0" in half.err


@pytest.mark.parametrize("formats", ["rule", "thought", "rule,thought"])
@pytest.mark.parametrize("words", [1, 250])
def test_a_dry_run_bounds_the_cost_from_above(
    db: Database, serve: Serve, kdtui: Kdtui, formats: str, words: int
) -> None:
    def counting(fake: Fake, _: int) -> None:
        answer = {**answer_for(fake), "note": "word " * words}
        text = json.dumps(answer)
        sent = sum(len(message["content"].encode()) // 3 + 8 for message in fake.body["messages"])
        fake.complete(text, usage=(sent, min(len(text) // 3, ANSWER_TOKENS)))

    url, _ = serve(counting)
    options = ("--prompt-price", 1, "--answer-price", 4, "--format", formats)
    estimate = distil(kdtui, url, *options, "--dry-run", "--json").rows[0]["estimate"]
    assert distil(kdtui, url, *options).code == 0
    assert spent(db) <= estimate["most_cost"]
    if words == 1:
        # Usual answers.
        assert estimate["cost"] / 3 < spent(db) < estimate["cost"] * 1.1


@pytest.mark.parametrize(
    ("cost", "estimated", "text"),
    [(None, False, "unknown"), (0.0, False, "0.0000"), (1.5, True, "~1.5000"), (0.00003, False, "3e-05")],
)
def test_a_written_cost_is_never_0_or_certain_by_mistake(cost: float | None, estimated: bool, text: str) -> None:
    assert cost_text(cost, is_estimated=estimated) == text


def test_an_unknown_price_gives_no_cost() -> None:
    assert Prices().of(1000, 1000) is None
    assert Prices(0, 0).of(1000, 1000) == 0
    assert Prices(None, 2).of(1000, 1_000_000) == 2


def test_costs_of_0_in_an_older_store_become_unknown(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    db = open_database(path)
    # As it was before.
    with db.atomic():
        db.execute("DROP INDEX calls_by_teacher")
        for column in ("estimated", "final"):
            db.execute(f"ALTER TABLE calls DROP COLUMN {column}")
        db.execute("CREATE INDEX calls_by_teacher ON calls (teacher, status, prompt_tokens, completion_tokens, cost)")
        db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0019_costs'")
        for number, cost in enumerate((0.0, 0.5, None)):
            db.execute(
                "INSERT INTO calls (key, cost, teacher, step, request, status, response, seconds, attempts, "
                "created_at) VALUES (?, ?, 't', 's', '{}', 'answered', '{}', 1, 1, '')",
                [str(number), cost],
            )
    db.close()
    db = open_database(path)
    assert [row["cost"] for row in db.query("SELECT cost FROM calls ORDER BY id")] == [None, 0.5, None]
    db.close()
