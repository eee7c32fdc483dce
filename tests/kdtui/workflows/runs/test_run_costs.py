"""The cost of a session of a run: stored with each answer, shown with the run, and missing if unknown."""

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.runs import energy
from kdtui.workflows.runs.costs import record_costs
from kdtui.workflows.runs.energy import EnergyMeter
from kdtui.workflows.runs.evaluate import evaluate_split, split_to_score
from kdtui.workflows.runs.peak_memory import PeakMemory
from kdtui.workflows.runs.session_measures import session_measures
from kdtui.workflows.student.generate import SessionAnswered
from store.predictions import Prediction
from store.records import RunSettings
from store.runs import get_run, start_run
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.waiting import PATIENCE, until

GOOD = json.dumps({"bundles": [{"products": [1, 2], "intent": "night outside"}]})


@pytest.fixture
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a processor package, its cores, its memory, and the whole board."""
    folder = tmp_path / "powercap"
    for zone, name in (
        ("intel-rapl", None),
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "dram"),
        ("intel-rapl:1", "psys"),
    ):
        (folder / zone).mkdir(parents=True)
        if name is not None:
            (folder / zone / "name").write_text(f"{name}\n")
            (folder / zone / "max_energy_range_uj").write_text("1000000000\n")
            (folder / zone / "energy_uj").write_text("900000000\n")
    monkeypatch.setattr(energy, "POWERCAP", folder)
    return folder


@pytest.fixture
def unmetered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any meter."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))


def put(zone: Path, microjoules: int) -> None:
    (zone / "energy_uj").write_text(f"{microjoules}\n")


def row_of(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows if row["name"] == name)


@pytest.mark.usefixtures("imported", "unmetered")
def test_tokens_of_an_endpoint_are_those_that_it_counts_and_money_is_by_the_prices(
    db: Database, kdtui: Kdtui, serve: Serve
) -> None:
    url, _ = serve(lambda fake, number: fake.complete(GOOD, usage=(100 + 10 * number, 20)))
    prices = ("--prompt-price", 2, "--answer-price", 10)
    result = kdtui("evaluate", "--student", f"{url}#m", "--limit", 3, *prices, "--json")
    row = row_of(result.rows, get_run(db, 1).name)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (110, 20)
    assert row["money"] == pytest.approx((110 * 2 + 20 * 10) / 1e6)
    # The costs of a server are unknown on this machine.
    assert (row["joules"], row["meters"], row["peak_memory_bytes"]) == (None, None, None)
    assert row["seconds"] > 0
    assert row_of(result.rows, "truth")["money"] is None
    [shown] = kdtui("run", "show", 1, "--json").rows
    assert shown["cost"] == {name: row[name] for name in shown["cost"]}
    assert shown["repeat"].endswith("--limit 3 --prompt-price 2 --answer-price 10")
    [listed] = kdtui("run", "ls", "--json").rows
    assert listed["cost"] == shown["cost"]
    table = kdtui("run", "show", 1).out
    assert "110 read, 20 written" in table
    assert "0.0004" in table
    records = list(session_measures(db, get_run(db, 1)))
    assert sorted(record["prompt_tokens"] for record in records) == [100, 110, 120]
    assert [record["completion_tokens"] for record in records] == [20] * 3


@pytest.mark.usefixtures("imported")
def test_values_that_a_server_does_not_report_stay_unknown(db: Database, kdtui: Kdtui, serve: Serve) -> None:
    def reply(fake: Fake, number: int) -> None:
        fake.complete(GOOD, usage=(100, 20) if number == 0 else None)

    url, _ = serve(reply)
    result = kdtui("evaluate", "--student", f"{url}#m", "--limit", 3, "--json")
    row = row_of(result.rows, get_run(db, 1).name)
    # The mean over the one that is known; and without prices there is no cost.
    assert (row["prompt_tokens"], row["completion_tokens"], row["money"]) == (100, 20, None)
    known = db.execute("SELECT count(prompt_tokens), count(completion_tokens), count(*) FROM predictions").fetchone()
    assert known == (1, 1, 3)
    url, _ = serve(lambda fake, _: fake.complete(GOOD, usage=None))
    kdtui("evaluate", "--student", f"{url}#m", "--limit", 3, "--prompt-price", 1)
    [shown] = kdtui("run", "show", 2, "--json").rows
    assert [shown["cost"][name] for name in ("prompt_tokens", "completion_tokens", "money")] == [None] * 3
    assert "tokens a session" not in kdtui("run", "show", 2).out


@pytest.mark.slow
@pytest.mark.usefixtures("imported", "unmetered")
def test_a_local_model_has_tokens_and_memory_and_a_student_without_one_reads_nothing(kdtui: Kdtui) -> None:
    shipped = row_of(kdtui("evaluate", "--limit", 2, "--json").rows, "shipped")
    assert shipped["prompt_tokens"] > 50
    assert shipped["completion_tokens"] > 1
    # The weights alone are more.
    assert shipped["peak_memory_bytes"] > 90e6
    assert shipped["joules"] is None
    kdtui("evaluate", "--student", "patterns", "--limit", 2)
    [shown] = kdtui("run", "show", 2, "--json").rows
    assert (shown["cost"]["prompt_tokens"], shown["cost"]["completion_tokens"]) == (0, 0)


@pytest.mark.usefixtures("imported")
def test_the_energy_of_a_run_is_the_sum_of_its_stretches(
    db: Database, kdtui: Kdtui, powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(powercap))
    kdtui("evaluate", "--student", "patterns", "--limit", 4)
    [before] = kdtui("run", "show", 1, "--json").rows
    assert (before["cost"]["joules"], before["cost"]["meters"]) == (0, "rapl")
    # Two stretches, as after an interrupt: 3 sessions took 6 J, and 1 session 4 J.
    db.execute("UPDATE run_stretches SET sessions = 3, joules = 6, peak_memory_bytes = 7")
    columns = "run_id, began_at, seconds, sessions, joules, meters, peak_memory_bytes"
    db.execute(f"INSERT INTO run_stretches ({columns}) SELECT run_id, began_at, 1, 1, 4, meters, 9 FROM run_stretches")
    db.conn.commit()
    [shown] = kdtui("run", "show", 1, "--json").rows
    assert (shown["cost"]["joules"], shown["cost"]["peak_memory_bytes"]) == (2.5, 9)
    assert "2.5 J of the whole machine, by rapl" in kdtui("run", "show", 1).out
    # Measurements by different meters are not added.
    db.execute("UPDATE run_stretches SET meters = 'rapl+nvidia-smi' WHERE id = 2")
    db.conn.commit()
    assert kdtui("run", "show", 1, "--json").rows[0]["cost"]["joules"] is None
    kdtui("run", "rm", 1, "--yes")
    assert db.execute("SELECT count(*) FROM run_stretches").fetchone() == (0,)


@pytest.mark.usefixtures("imported")
def test_costs_are_stored_during_a_run_so_that_a_killed_one_keeps_them(db: Database) -> None:
    sessions = split_to_score(db, "outdoor", "train")
    events = evaluate_split(db, "outdoor", "train", RunSettings("patterns"), sessions)
    next(event for event in events if isinstance(event, SessionAnswered))
    noted = "SELECT run_id, sessions, peak_memory_bytes > 0 FROM run_stretches"
    assert db.execute(noted).fetchall() == [(1, 1, 1)]
    # Closed in the middle, as by an interrupt, it stores the costs of the last answers.
    next(event for event in events if isinstance(event, SessionAnswered))
    events.close()  # type: ignore[attr-defined]
    assert db.execute(noted).fetchall() == [(1, 2, 1)]


def test_energy_sums_packages_and_memory_and_survives_a_counter_overflow(
    powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(powercap))
    with EnergyMeter() as meter:
        assert meter.read() == (0, "rapl")
        put(powercap / "intel-rapl:0", 950_000_000)
        put(powercap / "intel-rapl:0:0", 940_000_000)
        put(powercap / "intel-rapl:0:1", 901_000_000)
        put(powercap / "intel-rapl:1", 990_000_000)
        assert meter.read()[0] == pytest.approx(51)
        put(powercap / "intel-rapl:0", 20_000_000)
        assert meter.read()[0] == pytest.approx(51 + 70)


def test_an_unreadable_counter_leaves_energy_unknown(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(powercap))
    # As if only root could read it; root can run the tests.
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    with EnergyMeter() as meter:
        assert meter.read() == (None, None)


def nvidia_smi(folder: Path, script: str) -> None:
    """A program of that name, which does what a machine with GPUs would."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_the_energy_of_gpus_is_their_power_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    nvidia_smi(tmp_path / "bin", "while :; do echo '0, 100.00'; echo '1, 50.00'; /bin/sleep 0.02; done")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with EnergyMeter() as meter:
        until(lambda: (meter.read()[0] or 0) > 10, PATIENCE)
        assert meter.read()[1] == "nvidia-smi"


def test_a_gpu_without_a_power_meter_leaves_energy_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    nvidia_smi(tmp_path / "bin", "echo '0, [N/A]'; echo '0, 30'; echo '0, 30'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    meter = EnergyMeter()
    # All of its output has been read when it is closed.
    assert meter._gpus is not None
    meter._gpus._thread.join(PATIENCE)
    assert meter.read() == (None, None)
    meter.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak that was before leaves this one unknown")
def test_peak_memory_counts_from_the_beginning() -> None:
    # Filled, because memory that is only reserved does not count.
    earlier = b"x" * 300_000_000
    held = len(earlier)
    del earlier
    memory = PeakMemory()
    before = memory.read()
    later = b"x" * 100_000_000
    after = memory.read()
    assert before is not None
    assert after is not None
    assert 90_000_000 < after - before < held
    assert len(later) == 100_000_000


@pytest.mark.usefixtures("imported")
def test_pauses_of_a_run_are_not_in_its_seconds(db: Database) -> None:
    run = start_run(db, "outdoor", "test", "someone", RunSettings("someone"))
    paused = 0.0

    def events() -> Iterator[SessionAnswered]:
        nonlocal paused
        for session in split_to_score(db, "outdoor", "test"):
            began = monotonic()
            sleep(0.05)
            paused += monotonic() - began
            yield SessionAnswered(session, Prediction(session.id, (), None, 0.1))

    answered = len(list(record_costs(db, run, events(), paused=lambda: paused)))
    [(sessions, seconds)] = db.execute("SELECT sessions, seconds FROM run_stretches").fetchall()
    assert sessions == answered
    assert seconds < paused / 2
