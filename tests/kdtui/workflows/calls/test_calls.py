"""The ledger of calls: listed, searched, added up and shown in full."""

import json

import pytest

from store.calls import call_hits, calls_after, record_call
from store.dataset_writer import write_dataset
from store.knowledge import NewKnowledge, add_knowledge
from store.records import Item, Session
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture
def ledger(db: Database) -> Database:
    for number in range(1, 8):
        failed = number in (3, 6)
        record_call(
            db,
            key=str(number),
            teacher="big [b]model[/b]" if number % 2 else "small",
            step="thought",
            request=json.dumps(
                {"model": "m", "messages": [["user", f'a "tent"\nfor 50%_{number}']], "schema": {"type": "object"}},
                ensure_ascii=False,
            ),
            response=None if failed else json.dumps({"left_out": f"lamp {number}"}),
            error="the server\x1b[31m hangs" if failed else None,
            prompt_tokens=None if failed else 100,
            completion_tokens=None if failed else 10,
            cost=None if failed else 0.25,
            seconds=1.5,
            attempts=2,
        )
    return db


def found(db: Database, text: str = "", *, failed: bool = False) -> list[int]:
    return [number for part in call_hits(db, text, failed=failed) for number in part.ids]


def test_calls_come_newest_first(ledger: Database) -> None:
    assert found(ledger) == [7, 6, 5, 4, 3, 2, 1]
    assert found(ledger, failed=True) == [6, 3]
    assert list(calls_after(ledger, 5)) == [7, 6]
    assert [part.count for part in call_hits(ledger)] == [7]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('a "TENT"', [7, 6, 5, 4, 3, 2, 1]),
        ('tent"\nfor', [7, 6, 5, 4, 3, 2, 1]),
        ("lamp 5", [5]),
        ("hangs", [6, 3]),
        ("50%_4", [4]),
        ("0__", []),
        # Only the text of the messages is searched, not the settings of the call.
        ("object", []),
        ("\\", []),
    ],
)
def test_calls_are_found_by_their_text(ledger: Database, text: str, numbers: list[int]) -> None:
    assert found(ledger, text) == numbers
    assert found(ledger, text, failed=True) == [number for number in numbers if number in (3, 6)]


def test_a_request_that_is_not_json_is_searched_as_text(ledger: Database) -> None:
    with ledger.atomic():
        ledger.execute("UPDATE calls SET request = 'scribble' WHERE id = 2")
    assert found(ledger, "scribble") == [2]


def test_lists_and_sums_are_read_from_indexes(ledger: Database) -> None:
    plans = [
        str(row)
        for sql in (
            "SELECT id FROM calls WHERE status = 'failed' UNION ALL SELECT id FROM calls WHERE status = 'answered' "
            "ORDER BY id DESC",
            "SELECT teacher, sum(status = 'failed'), sum(prompt_tokens), sum(cost) FROM calls GROUP BY teacher",
        )
        for row in ledger.execute(f"EXPLAIN QUERY PLAN {sql}")
    ]
    assert sum("COVERING INDEX" in plan for plan in plans) == 3
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]


@pytest.mark.usefixtures("ledger")
def test_the_list_as_a_table_and_as_json(kdtui: Kdtui) -> None:
    result = kdtui("knowledge", "calls", "--limit", 3)
    assert result.code == 0
    assert "big [b]model[/b]" in result.out
    assert "there are more than these 3" in result.err
    rows = kdtui("knowledge", "calls", "--json", "--failed").rows
    assert [(row["id"], row["status"], row["cost"]) for row in rows] == [(6, "failed", None), (3, "failed", None)]
    assert [row["id"] for row in kdtui("knowledge", "calls", "--json", "--search", "lamp 5").rows] == [5]
    assert "no call matches" in kdtui("knowledge", "calls", "--search", "whale").err


def test_an_empty_ledger_says_so(kdtui: Kdtui) -> None:
    assert "there are no calls to endpoints yet" in kdtui("knowledge", "calls").err


@pytest.mark.usefixtures("ledger")
def test_totals_by_teacher(kdtui: Kdtui) -> None:
    rows = kdtui("knowledge", "calls", "--totals", "--json").rows
    assert rows[0] == {
        "teacher": "big [b]model[/b]",
        "answered": 3,
        "failed": 1,
        "prompt_tokens": 300,
        "completion_tokens": 30,
        "cost": 0.75,
        "unknown": 0,
        "estimated": 0,
    }
    assert "small" in kdtui("knowledge", "calls", "--totals").out


def test_one_call_in_full(ledger: Database, kdtui: Kdtui) -> None:
    list(write_dataset(ledger, "made", "a test", [Session("s", (Item("a", "Tent"),))]))
    add_knowledge(
        ledger, "made", "rule", "small", [NewKnowledge("Put tents with lamps", "{}", call=2, rejected="rare")]
    )
    out = kdtui("knowledge", "calls", 2).out
    assert "call 2: thought, answered" in out
    assert "2 tries, 1.50 seconds" in out
    assert '[user]\na "tent"\nfor 50%_2' in out
    assert '[answer]\n{\n  "left_out": "lamp 2"\n}' in out
    assert "rule 1 of made: Put tents with lamps (rejected: rare)" in out
    [row] = kdtui("knowledge", "calls", 2, "--json").rows
    assert row["request"]["messages"] == [["user", 'a "tent"\nfor 50%_2']]
    assert row["knowledge"] == [1]
    failed = kdtui("knowledge", "calls", 3).out
    assert "[error]\nthe server hangs" in failed
    assert "\x1b" not in failed


@pytest.mark.usefixtures("ledger")
def test_an_unknown_call_is_reported(kdtui: Kdtui) -> None:
    result = kdtui("knowledge", "calls", 99)
    assert (result.code, result.out) == (1, "")
    assert "there is no call 99; kdtui knowledge calls shows the numbers" in result.err
    assert kdtui("knowledge", "calls", 2, "--failed").code == 2
