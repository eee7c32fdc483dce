"""What a teacher may cost: budgets of calls and money, calls at a time, and the pace of calls."""

import json
from time import sleep

import pytest
from aiolimiter import AsyncLimiter

from store.records import Session
from store.sessions import draw_sessions
from store.sqlite import Database
from tests.support.call_rows import calls
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import answer_for, good
from tests.support.waiting import until


def test_a_dry_run_says_what_it_would_cost_and_asks_nothing(train: list[Session], serve: Serve, kdtui: Kdtui) -> None:
    url, fake = serve(good)
    distil = ["knowledge", "distill", "--teacher", f"{url}#m"]
    dry = [*distil, "--prompt-price", 1, "--answer-price", 2, "--dry-run", "--json"]
    [row] = kdtui(*dry).rows
    assert row["estimate"]["paid"] == 4 * len(train)
    assert row["estimate"]["cost"] > 0
    assert fake.asked == []
    kdtui(*distil, "--max-calls", 7)
    [row] = kdtui(*dry).rows
    assert (row["estimate"]["hits"], row["estimate"]["paid"]) == (7, 4 * len(train) - 7)
    assert kdtui("knowledge", "distill", "--dry-run").code == 1


@pytest.mark.parametrize("limit", [0, 1, 5, 23])
@pytest.mark.usefixtures("train")
def test_a_budget_of_calls_is_never_exceeded(db: Database, serve: Serve, kdtui: Kdtui, limit: int) -> None:
    url, fake = serve(good)
    result = kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--max-calls", limit)
    assert result.code == 1
    assert "the same command resumes" in result.err
    assert len(fake.asked) == len(calls(db)) == limit


@pytest.mark.parametrize("seed", [None, 3])
def test_a_budget_of_calls_goes_to_sessions_drawn_by_chance(
    db: Database, train: list[Session], serve: Serve, kdtui: Kdtui, seed: int | None
) -> None:
    url, fake = serve(good)
    distil = ["knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought", "--concurrency", 1]
    kdtui(*distil, "--max-calls", 4, *([] if seed is None else ["--seed", seed]))
    order = [session.id for session in draw_sessions(db, "outdoor", "train", len(train) - 1, seed or 0)]
    prompts = ["".join(message["content"] for message in request["messages"]) for request in fake.asked]
    asked = [
        session.id
        for prompt in prompts
        for session in train
        if all(str(item.title)[:20] in prompt for item in session.items)
    ]
    assert asked == order[:4]
    assert asked != [session.id for session in train][:4]


@pytest.mark.usefixtures("train")
def test_a_budget_of_money_is_never_exceeded(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    url, _ = serve(lambda fake, _: fake.complete(json.dumps(answer_for(fake)), usage=(400, 900)))
    result = kdtui(
        "knowledge", "distill", "--teacher", f"{url}#m", "--prompt-price", 1, "--answer-price", 10, "--max-cost", 0.1
    )
    assert result.code == 1
    cost = sum(row["cost"] for row in calls(db))
    assert cost == pytest.approx(len(calls(db)) * 0.0094)
    assert 0.05 < cost <= 0.1


@pytest.mark.usefixtures("train")
def test_a_budget_holds_for_scripts_of_many_tokens(db: Database, serve: Serve, kdtui: Kdtui) -> None:
    def costly(fake: Fake, _: int) -> None:
        # A tokenizer makes at most a token for every byte.
        tokens = sum(len(message["content"].encode()) for message in fake.body["messages"])
        fake.complete(json.dumps(answer_for(fake)), usage=(tokens, 1024))

    url, _ = serve(costly)
    result = kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--prompt-price", 100, "--max-cost", 2)
    assert result.code == 1
    assert 1 < sum(row["cost"] for row in calls(db)) <= 2


@pytest.mark.usefixtures("train")
def test_no_more_calls_run_than_requested(serve: Serve, kdtui: Kdtui) -> None:
    def slow(fake: Fake, number: int) -> None:
        # The first waits for the next one, and each for possible further ones.
        if not number:
            until(lambda: type(fake).at_once > 1)
        sleep(0.02)
        good(fake, number)

    url, fake = serve(slow)
    assert kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought", "--concurrency", 3).code == 0
    assert 1 < fake.most_at_once <= 3


@pytest.mark.usefixtures("train")
@pytest.mark.parametrize("pace", [["--requests-per-minute", 600], ["--tokens-per-minute", 360_000]])
def test_calls_keep_to_the_pace(
    serve: Serve, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch, pace: list[object]
) -> None:
    taken: list[float] = []

    async def acquire(self: AsyncLimiter, amount: float = 1) -> None:
        taken.append(amount / self.max_rate)

    monkeypatch.setattr(AsyncLimiter, "acquire", acquire)
    url, fake = serve(good)
    kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought", "--limit", 9, *pace)
    # Each call uses its share of the rate limit.
    assert len(fake.asked) == len(taken) == 9
    assert all(1 / 10_000 < share < 1 / 100 for share in taken)
