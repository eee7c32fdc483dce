"""The long run of faults: its plan has the promised numbers, and its page is written only if it has shown them."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.failing_calls import CAN_FAIL
from tests.faults.load import Load, answer_many, load, make
from tests.faults.load_workers import READS, WRITES
from tests.faults.page import SINGLE_TESTS, page
from tests.faults.shortfalls import LEAST_STEPS, shortfalls
from tests.faults.soak import LOAD, PLAN, PROMISED, RESULTS, Part, limited_memory, plan, version
from tests.support.repository import ROOT
from tests.support.seeds import seed_of_today


def test_the_plan_has_at_least_the_promised_numbers() -> None:
    assert min(PROMISED["kills"], PROMISED["writes"]) >= 1_000
    assert PROMISED["inputs"] >= 100_000
    trials = {kind: count for kind, count in PROMISED.items() if kind != "inputs"}
    planned: Counter[str] = Counter()
    for part in plan(0, trials, PROMISED["inputs"], 60):
        planned[part.kind] += part.count
    kinds = PROMISED.keys() if CAN_FAIL else PROMISED.keys() - {"writes", "copies"}
    assert {kind for kind in kinds if planned[kind] < PROMISED[kind]} == set()


SMALL = {"kills": 2, "inputs": 5}
"""What the parts below show."""

STEPS = ["list runs"]

PARTS = [Part("kills", "mine", 0, 2), Part("inputs", "TOML", 0, 5)]


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the code as committed, which is not so while it is written."""
    monkeypatch.setattr("tests.faults.shortfalls.has_changes", lambda: False)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A folder with results of a run without losses."""
    (tmp_path / PLAN).write_text(json.dumps([asdict(part) for part in PARTS]))
    common = {"losses": [], "version": version(), "processes": 2, "seconds": 1.0, "slowest": 0.1, "calls": 7}
    rows = [
        {**asdict(PARTS[0]), "faults": {"SIGKILL": 1, "SIGTERM+after its end": 1}, **common},
        {**asdict(PARTS[1]), "faults": {"read": 2, "refused": 3}, **common},
    ]
    (tmp_path / RESULTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    times = {"p50": 0.1, "p99": 0.2, "longest": 0.3}
    many = {"student": "patterns", "answers": 9, "seconds": 1.0, "memory": [100, 110], "errors": [], **times}
    latency = {"work": "list runs", "count": LEAST_STEPS, "errors": [], **times}
    found = Load(600, [], {"reader 0": (80.0, 90.0)}, "")
    put(tmp_path, {**asdict(found), "latencies": [latency], "many_sessions": [many], "processors": 2, "in_all": 9})
    return tmp_path


def put(folder: Path, found: object) -> None:
    (folder / LOAD).write_text(json.dumps({"version": version(), **dict(found)}))  # type: ignore[call-overload]


def loaded(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / LOAD).read_text()))


def test_a_run_without_losses_is_shown(shown: Path) -> None:
    assert shortfalls(shown, SMALL, 9, STEPS) == []
    text = page(shown)
    assert "| mine | 1 | 1 | 1 | 2 | 0 |" in text
    assert "| TOML | 5 | 2 | 3 | 0 | 0.10 s |" in text
    assert "reader: 80 to 90 MB" in text


def test_an_empty_folder_shows_nothing(tmp_path: Path) -> None:
    assert shortfalls(tmp_path, SMALL) == ["kills: 0 of 2 are tried", "inputs: 0 of 5 are tried", "there was no load"]


def test_results_of_other_code_and_missing_ones_do_not_count(shown: Path) -> None:
    text = (shown / RESULTS).read_text()
    (shown / RESULTS).write_text(text.replace(version(), "other", 1))
    assert shortfalls(shown, SMALL, 9, STEPS) == ["kills: 0 of 2 are tried", "1 part of the plan to do"]
    (shown / LOAD).write_text((shown / LOAD).read_text().replace(version(), "other"))
    assert shortfalls(shown, SMALL, 9, STEPS)[2] == "there was no load"


def test_a_smaller_run_than_promised_does_not_count(shown: Path) -> None:
    put(shown, {**loaded(shown), "seconds": 4})
    assert shortfalls(shown, {**SMALL, "copies": 1}, 10, STEPS) == [
        "copies: 0 of 1 are tried",
        "the load lasted 4 seconds",
        "patterns answered 9 of 10 sessions",
    ]


@pytest.mark.parametrize(("path", "name"), [(path, name) for _, path, name in SINGLE_TESTS])
def test_a_fault_with_a_test_of_its_own_has_it(path: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_faults_that_came_too_late_and_work_that_was_not_done_do_not_count(shown: Path) -> None:
    text = (shown / RESULTS).read_text()
    (shown / RESULTS).write_text(text.replace("SIGKILL", "after its end", 1))
    [latency] = json.loads((shown / LOAD).read_text())["latencies"]
    put(shown, {**loaded(shown), "latencies": [{**latency, "count": 3}]})
    assert shortfalls(shown, SMALL, 9, [*STEPS, "list calls"]) == [
        "kills: 1 of 2 are tried",
        "list runs: done 3 times under load",
        "list calls: done 0 times under load",
    ]


def test_a_kind_of_call_that_never_failed_is_told(shown: Path) -> None:
    part = Part("writes", "mine", 0, 2)
    (shown / PLAN).write_text(json.dumps([asdict(each) for each in (*PARTS, part)]))
    row = {
        **asdict(part),
        "faults": {"the disk is full": 2},
        "calls": 9,
        "kinds": ["fsync /a", "write /a"],
        "failed": ["write /a"],
        "losses": [],
        "version": version(),
        "processes": 2,
        "seconds": 1.0,
    }
    with (shown / RESULTS).open("a") as file:
        file.write(json.dumps(row) + "\n")
    assert shortfalls(shown, SMALL, 9, STEPS) == ["mine: 1 kind of call never failed, such as 'fsync /a'"]
    assert "| mine | 9 | 1 of 2 | 2 | 2 | 0 |" in page(shown)


def test_an_input_that_fills_the_memory_is_an_error() -> None:
    with limited_memory(), pytest.raises(MemoryError):
        bytearray(3 << 30)
    bytearray(1 << 30)


def test_the_seeds_of_the_day_are_printed() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "tests/support/test_event_loop.py"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert f"first seed of the faults: {seed_of_today()}" in ended.stdout


def test_a_run_that_takes_longer_than_promised_is_told(shown: Path) -> None:
    put(shown, {**loaded(shown), "in_all": 8000})
    assert shortfalls(shown, SMALL, 9, STEPS) == ["it took 4.4 hours of a processor, and 4 are promised"]


def test_losses_errors_and_growing_memory_are_found(shown: Path) -> None:
    text = (shown / RESULTS).read_text()
    (shown / RESULTS).write_text(text.replace('"losses": []', '"losses": [{"seed": 1, "losses": ["gone"]}]', 1))
    [many] = json.loads((shown / LOAD).read_text())["many_sessions"]
    changed = {"memory": {"app 1": (100.0, 200.0)}, "damage": "page 3", "many_sessions": [{**many, "answers": 8}]}
    put(shown, {**loaded(shown), **changed})
    assert shortfalls(shown, SMALL, 9, STEPS) == [
        "1 trial with a loss",
        "damage after the load: page 3",
        "patterns answered 8 of 9 sessions",
        "the memory of app 1 grew from 100 to 200 MB",
    ]


def test_a_short_load_has_no_errors(tmp_path: Path) -> None:
    store = tmp_path / "kdtui.db"
    make(store, pieces=2_000, calls=200, trainings=20)
    found = load(store, seconds=4, readers=2)
    assert [each for each in found.latencies if each.errors] == []
    assert found.damage == ""
    steps = {each.work: each.count for each in found.latencies}
    assert steps["follow a log: from a line to its arrival"] >= 20
    assert "app: a key until it is painted" in steps
    assert steps.keys() & READS.keys()
    assert steps.keys() & WRITES.keys()


def test_many_sessions_are_answered_by_one_command() -> None:
    for run in answer_many(60):
        assert (run.answers, list(run.errors)) == (60, [])
