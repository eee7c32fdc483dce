"""Estimates of a training before it starts: counted from its examples, and derived from earlier trainings."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.training.estimate import estimate_training
from kdtui.workflows.training.plan import TrainingPlan
from models.sft.state import JobStatus, MeasuredPace
from store.hosts import Host, add_host
from store.jobs import add_job, remember_status
from store.records import HostSettings, TrainingSettings
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.launching import train_in_this_process

pytestmark = pytest.mark.usefixtures("imported")


@pytest.fixture
def launch(kdtui: Kdtui, base: Path, monkeypatch: pytest.MonkeyPatch) -> Kdtui:
    """Start a training and wait for its end."""
    monkeypatch.setattr("kdtui.workflows.training.on_this_machine.start_trainer", train_in_this_process)

    def start(name: str, *arguments: object) -> Any:
        return kdtui("sft", "launch", "--name", name, "--base", base, "--batch-tokens", 5000, *arguments)

    return start


def dry_run(launch: Kdtui, *arguments: object) -> dict[str, Any]:
    """Return the output of a dry run."""
    result = launch("next", "--dry-run", "--json", *arguments)
    assert result.code == 0, result.err
    [found] = result.rows
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_the_next_training_is_estimated_from_the_last_one(
    kdtui: Kdtui, launch: Kdtui, db: Database, base: Path
) -> None:
    before = dry_run(launch, "--epochs", 3)
    assert (before["seconds"], before["is_least"]) == (None, True)
    assert before["by"] == "unknown: no training of tiny.gguf was measured on this machine"
    assert before["memory_bytes"] < base.stat().st_size * 2
    assert not list(db.query("SELECT * FROM jobs"))
    assert not list(Path(str(db.execute("PRAGMA database_list").fetchone()[2])).parent.glob("jobs/*"))

    result = launch("first", "--epochs", 3)
    assert result.code == 0, result.err
    lines = result.err.splitlines()
    assert "sessions an epoch, " in lines[1]
    assert f"{before['tokens']:,} tokens in {before['steps']} steps" in lines[1]
    assert "time and memory unknown: no training of tiny.gguf was measured on this machine" in lines[2]
    assert "it runs as process" in lines[3]
    [row] = kdtui("sft", "show", "first", "--json").rows
    assert (row["state"], row["steps"]) == ("done", before["steps"])
    folder = db.execute("SELECT folder FROM jobs").fetchone()[0]
    metrics = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    assert [line["tokens"] for line in metrics if "tokens" in line][-1] == before["tokens"]

    after = dry_run(launch, "--epochs", 3)
    pace = row["pace"]
    assert after["memory_bytes"] == pace["peak_memory_bytes"]
    assert after["seconds"] > pace["start_seconds"] + after["tokens"] / pace["tokens_per_second"]
    assert not after["is_least"]
    assert after["by"] == "as a training with the same settings took on this machine (cpu)"
    assert dry_run(launch, "--epochs", 6)["seconds"] > after["seconds"]
    shown = launch("next", "--dry-run")
    assert "as a training with the same settings took on this machine (cpu)" in shown.out
    assert shown.err == ""


def test_a_deleted_training_still_counts(kdtui: Kdtui, launch: Kdtui) -> None:
    assert launch("first", "--epochs", 1).code == 0
    known = dry_run(launch)
    assert kdtui("sft", "rm", "first", "--yes").code == 0
    assert dry_run(launch) == known


def test_an_estimate_names_different_settings(launch: Kdtui) -> None:
    assert launch("first", "--epochs", 1).code == 0
    rough = dry_run(launch, "--batch-tokens", 9000)
    assert rough["by"] == (
        "roughly, from a training of this base on this machine with other settings (form pairs, 5,000 tokens a batch)"
    )
    assert rough["seconds"] > 0
    assert "form pairs" in dry_run(launch, "--form", "list")["by"]


def with_pace(db: Database, tmp_path: Path, base: Path, name: str, host: str, pace: MeasuredPace) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({"base": str(base), "batch_tokens": 5000}))
    add_job(db, name, folder, TrainingSettings(("outdoor",), "pairs"), name, host=host)
    remember_status(db, name, json.dumps(asdict(JobStatus("done", 9, 9, pace=pace))))


def test_trainings_on_a_host_do_not_count_for_this_machine(
    launch: Kdtui, db: Database, tmp_path: Path, base: Path
) -> None:
    add_host(db, Host("far", None, str(tmp_path / "there"), HostSettings()))
    for number, speed in enumerate((100.0, 1000.0, 200.0)):
        pace = MeasuredPace(speed, 30.0, 0.001, 2_000_000_000 + number, "Big GPU [x]\x1b[31m", "node7")
        with_pace(db, tmp_path, base, f"t{number}", "far", pace)
    assert dry_run(launch)["seconds"] is None
    found = dry_run(launch, "--host", "far")
    assert found["by"] == "as 3 trainings with the same settings took on far (Big GPU [x])"
    assert found["memory_bytes"] == 2_000_000_002
    assert 30 + found["tokens"] / 200 < found["seconds"] < 30 + found["tokens"] / 200 + 20


def test_too_little_memory_is_reported(launch: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch("first", "--epochs", 1).code == 0
    monkeypatch.setattr("kdtui.workflows.training.estimate.os.sysconf", lambda _: 1000)
    assert (
        "this machine has 0.0 GB; use less memory with fewer --batch-tokens or with --recompute"
        in launch("next", "--dry-run").out
    )


def test_many_sessions_are_estimated_from_some(launch: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = dry_run(launch)
    assert exact["is_counted"]
    monkeypatch.setattr("kdtui.workflows.training.estimate._MOST", 4)
    found = dry_run(launch)
    assert not found["is_counted"]
    assert found["sessions"] == exact["sessions"]
    assert found["tokens"] != exact["tokens"]
    assert abs(found["tokens"] / exact["tokens"] - 1) < 0.3
    assert "about " in launch("next", "--dry-run").out


def test_sessions_that_are_too_long_are_reported(kdtui: Kdtui, launch: Kdtui, base: Path) -> None:
    every = dry_run(launch)
    longest = kdtui("sft", "data", "--base", base, "--show", 0, "--json").rows[-1]["median"]
    found = dry_run(launch, "--longest", longest)
    assert 0 < found["too_long"] < found["sessions"]
    assert found["tokens"] < every["tokens"]
    assert "with too many tokens are skipped" in launch("next", "--dry-run", "--longest", longest).out


def test_the_answers_to_the_validation_sessions_at_the_end_take_as_long_as_two_evaluations(
    db: Database, tmp_path: Path, base: Path
) -> None:
    add_host(db, Host("far", None, str(tmp_path / "there"), HostSettings()))
    with_pace(db, tmp_path, base, "first", "far", MeasuredPace(100.0, 30.0, 0.01, 2_000_000_000, "GPU", "node7"))
    settings = TrainingSettings(("outdoor",), epochs=1)
    plan = TrainingPlan("next", settings, str(base), batch_tokens=100, evaluations=1, host="far", answers=False)

    def seconds(plan: TrainingPlan) -> float:
        found = estimate_training(db, plan).seconds
        assert found is not None
        return found

    without = seconds(plan)
    evaluation = seconds(replace(plan, evaluations=2)) - without
    assert evaluation > 0
    assert seconds(replace(plan, answers=True)) == pytest.approx(without + 2 * evaluation)
    assert seconds(replace(plan, evaluations=2)) == pytest.approx(without + evaluation)


@pytest.mark.parametrize(("form", "is_said"), [("intents", True), ("list", False)])
def test_an_estimate_says_that_writing_intents_at_the_end_is_not_in_it(
    launch: Kdtui, db: Database, tmp_path: Path, base: Path, form: str, is_said: bool
) -> None:
    add_host(db, Host("far", None, str(tmp_path / "there"), HostSettings()))
    with_pace(db, tmp_path, base, "first", "far", MeasuredPace(100.0, 30.0, 0.01, 2_000_000_000, "GPU", "node7"))
    options = ["--dry-run", "--host", "far", "--form", form, "--knowledge", "pattern" if is_said else "none"]
    said = "the time that the intents of the validation sessions take to write at the end is not counted"
    assert (said in launch("next", *options).out) == is_said
