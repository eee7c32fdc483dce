"""Studies run from the command line with a tiny base: planned, run, resumed and extended, and with failures."""

import fcntl
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.studies.spec_files import to_toml
from models.errors import ModelError
from models.sft.job import read_job
from models.sft.job_files import JOB
from store.database import open_database
from store.jobs import list_jobs
from store.models import named_models
from store.predictions import predictions
from store.runs import delete_run, get_run
from store.samples import delete_sample, list_samples, sample_datasets
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.tiny import make_model
from tests.support.tiny_studies import small


@pytest.fixture
def described(tmp_path: Path, study_base: Path) -> Callable[..., Path]:
    """Write a study with one question."""

    def write(*lines: str, before: str = "", training: str = "epochs = 1") -> Path:
        path = tmp_path / "mine.toml"
        settings = f"[training]\nlearning_rate = 0.003\nbatch_tokens = 30000\n{training}"
        question = ["[[question]]", 'title = "?"', f"student = [{json.dumps(str(study_base))}]", *lines]
        path.write_text("\n".join(['name = "mine"', 'dataset = ["outdoor"]', before, settings, *question]))
        return path

    return write


def begun(result: Any) -> list[str]:
    return [row["step"] for row in result.rows if row["event"] == "StepBegun"]


def kinds(result: Any) -> list[str]:
    return [step.split()[0] for step in begun(result)]


def shown(kdtui: Kdtui, name: str = "rq3-outdoor") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = kdtui("study", "show", name, "--json").rows
    return rows


def states(kdtui: Kdtui, name: str = "rq3-outdoor") -> list[str]:
    return [row["state"].split(":")[0] for row in shown(kdtui, name)]


@pytest.mark.usefixtures("imported")
def test_a_study_makes_the_knowledge_trains_and_answers(study: Kdtui, kdtui: Kdtui, db: Database) -> None:
    result = study("rq3")
    assert result.code == 0, result.err
    assert begun(result) == [row["step"] for row in result.rows if row["event"] == "StepDone"]
    assert (kinds(result).count("train"), kinds(result).count("answer")) == (2, 5)
    assert begun(result)[1:4] == [f"find {format}s of outdoor" for format in ("pattern", "rule", "thought")]
    # Students that can answer come before local trainings.
    assert kinds(result).index("train") > begun(result).index("answer outdoor test: tiny icl pattern+rule+thought")
    assert set(states(kdtui)) == {"done"}
    assert all(0 <= cell["pair_f1"] <= 1 for cell in shown(kdtui))
    [row] = kdtui("study", "ls", "--json").rows
    assert (row["name"], row["cells"], row["done"], row["failed"]) == ("rq3-outdoor", 5, 5, 0)
    # A cell is an ordinary run.
    settings = get_run(db, int(shown(kdtui)[3]["run"])).settings
    assert settings.knowledge == ("pattern", "rule", "thought")
    assert {name for name, _ in settings.adapters} <= {model.name for model in named_models(db)}


@pytest.mark.usefixtures("finished")
def test_a_finished_study_does_nothing_whatever_name_it_is_run_by(study: Kdtui, kdtui: Kdtui, tmp_path: Path) -> None:
    before = shown(kdtui)
    (tmp_path / "printed.toml").write_text(kdtui("study", "show", "rq3-outdoor", "--spec").out)
    for source in ("rq3", "rq3-outdoor", tmp_path / "printed.toml"):
        result = study(source)
        assert (result.code, begun(result)) == (0, [])
    assert shown(kdtui) == before


def test_adapters_of_a_study_do_not_answer_validation_sessions_at_their_end(finished: Database) -> None:
    for job in list_jobs(finished):
        # The study compares the adapters itself.
        assert read_job(job.folder / JOB).answers is False


@pytest.mark.usefixtures("finished")
def test_a_deleted_study_leaves_its_runs_to_others(study: Kdtui, kdtui: Kdtui) -> None:
    assert kdtui("study", "rm", "rq3-outdoor").code == 1
    assert kdtui("study", "rm", "rq3-outdoor", "--yes").code == 0
    assert kdtui("study", "ls", "--json").rows == []
    assert len(kdtui("run", "ls", "--json").rows) == 5
    assert begun(study("rq3")) == []


@pytest.mark.usefixtures("finished")
def test_an_extended_study_computes_what_is_new(study: Kdtui) -> None:
    wider = study("rq3", "--seeds", 2)
    assert set(kinds(wider)) == {"train", "answer"}
    assert all("seed 1" in step for step in begun(wider))


@pytest.mark.usefixtures("finished")
def test_a_cell_of_two_studies_is_computed_once(study: Kdtui) -> None:
    [plan] = study("rq1", "--dry-run").rows
    # Of twelve, rq3 has those without knowledge, and those with all of it.
    assert plan["steps"]["evaluation"] == {"done": 4, "to do": 8}
    assert plan["steps"]["training"] == {"done": 2, "to do": 4}


@pytest.mark.usefixtures("imported")
def test_a_dry_run_lists_the_remaining_work_and_stores_nothing(study: Kdtui, db: Database) -> None:
    [plan] = study("rq3", "--dry-run").rows
    assert plan["steps"]["training"] == {"to do": 2}
    assert plan["steps"]["evaluation"] == {"to do": 5}
    assert plan["sessions"] == {"outdoor": 2}
    assert plan["unknown"] == ["evaluation", "training"]
    assert [db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("studies", "study_steps")] == [0, 0]


@pytest.mark.usefixtures("finished")
def test_the_remaining_time_is_estimated_from_finished_steps(study: Kdtui, kdtui: Kdtui) -> None:
    [plan] = study("rq3", "--seeds", 3, "--dry-run").rows
    assert plan["steps"]["training"] == {"done": 2, "to do": 4}
    assert plan["unknown"] == []
    assert plan["seconds"]["training"] > plan["seconds"]["evaluation"] > 0
    assert plan["training_seconds"] == {"local": pytest.approx(plan["seconds"]["training"])}
    assert plan["disk_bytes"] > 0
    assert "left" in kdtui("study", "run", "rq3-outdoor", "--seeds", 3, "--dry-run").err


def test_the_time_of_trainings_is_estimated_for_each_host(finished: Database, study: Kdtui, kdtui: Kdtui) -> None:
    assert kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", "/x").code == 0
    wider = ["rq3", "--seeds", 3, "--dry-run"]
    [unknown] = study(*wider, "--host", "far").rows
    assert (unknown["training_seconds"], unknown["unknown"]) == ({}, ["training"])
    # As if one of the two had been done on the host, in a tenth of the time.
    [step, *_] = finished.execute("SELECT made FROM study_steps WHERE kind = 'training' ORDER BY id").fetchall()
    finished.execute("UPDATE jobs SET host_id = (SELECT id FROM hosts) WHERE name = ?", step)
    finished.execute("UPDATE study_steps SET seconds = seconds / 10 WHERE made = ?", step)
    finished.conn.commit()
    [plan] = study(*wider, "--host", "far", "--host", "local").rows
    far, here = plan["training_seconds"]["far"], plan["training_seconds"]["local"]
    assert plan["seconds"]["training"] == pytest.approx(1 / (1 / far + 1 / here))
    assert "all trainings on a single host: far 0:0" in study(*wider, "--host", "far", "--host", "local").err


@pytest.mark.slow
def test_routed_and_merged_adapters_are_cells_next_to_one_adapter_on_everything(
    study: Kdtui, kdtui: Kdtui, db: Database, few: Path, described: Callable[..., Path], tmp_path: Path
) -> None:
    # That needs two validation sessions.
    list(import_dataset(db, few, "outdoor"))
    axes = ['utilization = ["sft+icl", "routed", "merged"]', 'formats = ["pattern+thought"]']
    spec = described('compare = "utilization"', 'baseline = "sft+icl"', *axes)
    result = study(spec)
    assert result.code == 0, result.err
    steps = begun(result)
    assert [step for step in steps if step.startswith("fit a router")] == [
        "fit a router of tiny with none, pattern, thought on outdoor"
    ]
    assert sum(step.startswith("merge adapters") for step in steps) == 1
    # One for each format, one without, and one on both. The router and the merge share theirs.
    assert sum(step.startswith("train") for step in steps) == 4
    names = [row["name"] for row in kdtui("run", "ls", "--json").rows]
    assert any("routed:study-" in name for name in names)
    assert begun(study(spec)) == []
    [router] = kdtui("router", "ls", "--json").rows
    assert {route["name"] for route in router["routes"]} == {"none", "pattern", "thought"}
    report = tmp_path / "report"
    assert kdtui("study", "report", "mine", "--output", report).code == 0
    for name in ("mine.md", "mine.html"):
        text = (report / name).read_text()
        section = text[text.index("Routers on validation sessions") : text.index("Costs")]
        for way in ("none", "pattern", "thought", "best single", "random", "vote by pair", "router", "oracle"):
            assert way in section, (name, way)
        assert "no router can be better" in section
    # The steps that a cell needs are done again with it, from existing answers.
    [run] = [row["run"] for row in kdtui("run", "ls", "--json").rows if "routed:study-" in row["name"]]
    for command in (("router", "rm", router["name"]), ("run", "rm", run)):
        assert kdtui(*command, "--yes").code == 0
    assert [step.split()[0] for step in begun(study(spec))] == ["fit", "answer"]


def test_a_training_begins_from_an_existing_adapter(
    finished: Database, study: Kdtui, described: Callable[..., Path]
) -> None:
    earlier = next(job.name for job in list_jobs(finished) if job.settings.knowledge == ())

    def beginning(source: str) -> Path:
        axes = [f'from = ["nothing", "{source}"]', 'utilization = ["sft"]', 'formats = ["none"]']
        return described('compare = "from"', 'baseline = "nothing"', *axes)

    result = study(beginning(earlier))
    assert result.code == 0, result.err
    assert f"train tiny with none from {earlier} on outdoor" in begun(result)
    [started] = [job for job in list_jobs(finished) if read_job(job.folder / JOB).start is not None]
    start = read_job(started.folder / JOB).start
    assert start is not None
    assert start.name == earlier
    # Both trainings make adapters of the same rank: the continued one has that of its source.
    [plan] = study(beginning(earlier), "--seeds", 2, "--dry-run").rows
    sizes = [
        sum(path.stat().st_size for path in job.folder.rglob("*") if path.is_file()) for job in list_jobs(finished)
    ]
    assert plan["disk_bytes"] == pytest.approx(2 * median(sizes), rel=0.01)
    for source, message in (
        ("nobody", "there is no adapter 'nobody' to begin from"),
        ("shipped", "and not to write lists"),
    ):
        refused = study(beginning(source), "--name", "other")
        assert refused.code == 1
        assert message in refused.err


@pytest.mark.usefixtures("imported")
def test_a_failed_step_is_a_row_with_its_reason_and_the_others_continue(
    study: Kdtui, kdtui: Kdtui, described: Callable[..., Path]
) -> None:
    lines = ['compare = "utilization"', 'baseline = "zero-shot"', 'utilization = ["zero-shot", "icl", "sft"]']
    spec = described(*lines, 'formats = ["rule"]', training="longest = 3")
    result = study(spec)
    assert result.code == 1
    assert "1 step failed, and the steps that need it were left out; retry with --retry-failed" in result.err
    [failed] = [row for row in result.rows if row["event"] == "StepFailed"]
    assert failed["step"].startswith("train")
    assert failed["log"].startswith("kdtui sft logs study-")
    [blocked] = [row for row in result.rows if row["event"] == "StepBlocked"]
    assert blocked["needs"] == failed["step"]
    assert states(kdtui, "mine") == ["done", "done", "blocked"]
    # It is not retried automatically.
    again = study(spec)
    assert (again.code, begun(again)) == (1, [])
    assert kinds(study(spec, "--retry-failed")) == ["train"]


@pytest.mark.usefixtures("imported")
def test_a_retry_does_steps_that_have_become_possible(
    study: Kdtui, kdtui: Kdtui, described: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path, *, after: Path | None = None) -> int:  # noqa: ARG001
        raise ModelError("no room on the disk")

    lines = ['compare = "utilization"', 'baseline = "zero-shot"', 'utilization = ["zero-shot", "sft"]']
    spec = described(*lines, 'formats = ["none"]')
    with monkeypatch.context() as broken:
        broken.setattr("kdtui.workflows.training.on_this_machine.start_trainer", full)
        result = study(spec)
    assert {row["reason"] for row in result.rows if row["event"] == "StepFailed"} == {"no room on the disk"}
    assert study(spec, "--retry-failed").code == 0
    assert states(kdtui, "mine") == ["done", "done"]


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["rq3", "--dataset", "outdor"], "there is no dataset 'outdor'; did you mean 'outdoor'"),
        (["rq4"], "there is no study 'rq4'; did you mean"),
        (["nowhere.toml"], "nowhere.toml: cannot be read: No such file"),
        (["rq3", "--host", "far"], "there is no host 'far'"),
        (["rq3", "--split", "tets"], "tets"),
        (["rq3", "--student", "shipped"], "shipped is shown no knowledge and cannot be trained"),
        (["rq3", "--student", "nobody"], "nobody"),
        (["rq3", "--student", "http://localhost:1/v1#m"], "an endpoint can be neither trained nor asked about pairs"),
        (["rq2", "--sessions", "0"], "sessions"),
    ],
)
def test_an_impossible_plan_is_refused_with_one_sentence_and_stores_nothing(
    kdtui: Kdtui, db: Database, arguments: list[str], problem: str
) -> None:
    result = kdtui("study", "run", *arguments)
    assert result.code in (1, 2)
    assert problem in " ".join(result.err.split())
    assert db.execute("SELECT count(*) FROM studies").fetchone()[0] == 0


def test_an_empty_split_is_refused(kdtui: Kdtui, db: Database, data: Path, tmp_path: Path) -> None:
    lines = [line for line in data.read_text().splitlines() if '"split": "test"' not in line]
    (tmp_path / "without.jsonl").write_text("\n".join(lines))
    assert kdtui("data", "import", tmp_path / "without.jsonl", "--dataset", "outdoor").code == 0
    result = kdtui("study", "run", "rq3")
    assert (result.code, "has no sessions in its test split" in result.err) == (1, True)
    assert db.execute("SELECT count(*) FROM study_steps").fetchone()[0] == 0


def test_changed_knowledge_is_shown_again(finished: Database, kdtui: Kdtui) -> None:
    finished.execute("UPDATE knowledge SET status = 'rejected', reason = '-' WHERE format = 'rule' AND status = 'kept'")
    finished.conn.commit()
    mine_patterns(finished, "outdoor")
    rows = shown(kdtui)
    assert rows[0]["state"] == rows[4]["state"] == "done"
    assert rows[1]["state"] == "to do again: the dataset, its knowledge or a model has changed since"


def test_knowledge_that_takes_the_numbers_of_deleted_pieces_is_shown_again(finished: Database, kdtui: Kdtui) -> None:
    finished.execute("UPDATE knowledge SET created_at = '2031-01-01T00:00:00+00:00' WHERE format = 'rule'")
    finished.conn.commit()
    assert shown(kdtui)[1]["state"].startswith("to do again: the dataset, its knowledge")


@pytest.mark.slow
@pytest.mark.usefixtures("imported", "here")
def test_cells_of_a_base_that_has_been_replaced_are_answered_again(kdtui: Kdtui, tmp_path: Path) -> None:
    base, kept = make_model(tmp_path / "tiny.gguf"), tmp_path / "kept.gguf"
    (tmp_path / "study.toml").write_text(to_toml(small("rq3", base)))
    assert kdtui("study", "run", tmp_path / "study.toml").code == 0
    base.rename(kept)
    # Results can be shown without the base.
    assert set(states(kdtui)) == {"done"}
    base.write_bytes(kept.read_bytes() + b"x")
    assert set(states(kdtui)) == {"to do again"}
    kept.replace(base)
    assert set(states(kdtui)) == {"done"}


def test_a_deleted_adapter_is_trained_again_only_for_missing_cells(
    finished: Database, study: Kdtui, kdtui: Kdtui
) -> None:
    run = int(shown(kdtui)[2]["run"])
    adapter = get_run(finished, run).settings.adapters[0][0]
    finished.execute("UPDATE jobs SET folder = folder || '-gone'")
    finished.execute("DELETE FROM jobs WHERE name = ?", [adapter])
    finished.execute("DELETE FROM models WHERE name = ?", [adapter])
    finished.conn.commit()
    assert begun(study("rq3")) == []
    delete_run(finished, run)
    assert shown(kdtui)[2]["state"] == f"to do again: run {run} has been deleted"
    assert kinds(study("rq3")) == ["train", "answer"]
    assert set(states(kdtui)) == {"done"}


@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_samples_are_drawn_once_and_not_needed_when_all_cells_are_done(
    study: Kdtui, described: Callable[..., Path], db: Database
) -> None:
    lines = ['compare = "ratio"', "baseline = 1.0", "ratio = [0.5, 1.0]", 'formats = ["rule"]']
    spec = described(*lines, 'utilization = ["icl", "sft"]', 'strategy = ["difficulty"]')
    first = study(spec)
    assert first.code == 0, first.err
    assert kinds(first).count("draw") == 2
    assert "answer outdoor train: tiny zero-shot" in begun(first)
    sizes = sorted(sample.pieces for sample in list_samples(db))
    assert sizes[0] < sizes[1]
    for sample in list_samples(db):
        delete_sample(db, sample.name)
    assert begun(study(spec)) == []


def test_a_study_that_another_process_runs_is_refused(
    finished: Database, study: Kdtui, database_of_the_test: Path
) -> None:
    assert finished.path == database_of_the_test
    lock = database_of_the_test.with_name(f"{database_of_the_test.name}.study-lock")
    with lock.open("w") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        result = study("rq3")
    assert result.code == 1
    assert "another kdtui runs a study on this database (process 4711)" in result.err
    assert study("rq3").code == 0


def test_a_run_that_is_refused_changes_no_study(finished: Database, study: Kdtui, kdtui: Kdtui) -> None:
    before = kdtui("study", "show", "rq3-outdoor", "--spec").out
    assert finished.path is not None
    with finished.path.with_name(f"{finished.path.name}.study-lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert study("rq3", "--seeds", 2).code == 1
        assert study("rq1").code == 1
    assert kdtui("study", "show", "rq3-outdoor", "--spec").out == before
    assert [row["name"] for row in kdtui("study", "ls", "--json").rows] == ["rq3-outdoor"]


@pytest.mark.usefixtures("imported")
def test_students_are_shown_the_knowledge_of_other_domains(
    study: Kdtui, described: Callable[..., Path], kdtui: Kdtui, db: Database
) -> None:
    kitchen = Path(str(files("kdtui") / "demo_data" / "kitchen.jsonl"))
    list(import_dataset(db, kitchen, "kitchen"))
    lines = ['compare = "domains"', 'baseline = "own"', 'domains = ["own", "other", "pooled"]', 'formats = ["rule"]']
    result = study(described(*lines, before="sessions = 1"), "--dataset", "outdoor", "--dataset", "kitchen")
    assert result.code == 0, result.err
    rows = shown(kdtui, "mine")
    assert [row["label"] for row in rows[:3]] == [
        "outdoor: tiny icl rule",
        "outdoor: tiny icl rule 100% with knowledge of kitchen",
        "outdoor: tiny icl rule 100% with knowledge of outdoor+kitchen",
    ]
    assert {row["state"] for row in rows} == {"done"}
    runs = [get_run(db, int(row["run"])) for row in rows[:3]]
    assert [run.settings.domains for run in runs] == ["own", "all", "all"]
    other = runs[1].settings.sample
    assert other is not None
    assert sample_datasets(db, other) == ["kitchen"]
    assert len(kdtui("study", "answers", "mine", "--json").rows) == 4


def test_another_study_of_the_same_name_is_overwritten_only_on_request(
    finished: Database, study: Kdtui, kdtui: Kdtui
) -> None:
    before = kdtui("study", "show", "rq3-outdoor", "--spec").out
    for options in (["--split", "valid"], ["--sessions", 1]):
        result = study("rq3", *options)
        assert result.code == 1
        assert "study rq3-outdoor is another one, from rq3, and has no cell in common with this" in result.err
        assert "give this one another --name, or replace the earlier one with --replace" in result.err
    assert kdtui("study", "show", "rq3-outdoor", "--spec").out == before
    # Showing the plan costs nothing.
    assert study("rq3", "--split", "valid", "--dry-run").code == 0
    assert kdtui("study", "show", "rq3-outdoor", "--spec").out == before
    runs = finished.execute("SELECT count(*) FROM runs").fetchone()
    result = study("rq3", "--sessions", 1, "--replace", "--cell", "tiny zero-shot")
    assert result.code == 0, result.err
    assert "has no cell in common" in result.err
    assert "sessions = 1" in kdtui("study", "show", "rq3-outdoor", "--spec").out
    assert finished.execute("SELECT count(*) FROM runs").fetchone() == (runs[0] + 1,)


@pytest.mark.usefixtures("finished")
def test_a_narrowed_study_says_which_cells_are_no_longer_part_of_it(study: Kdtui) -> None:
    wider = study("rq3", "--seeds", 2)
    assert (wider.code, "no longer part of it" in wider.err) == (0, False)
    narrower = study("rq3")
    assert narrower.code == 0
    assert "study rq3-outdoor had more cells: 3 of 8 cells are no longer part of it" in narrower.err


@pytest.mark.usefixtures("imported")
def test_a_limit_draws_the_sessions_that_are_answered_and_trained_on(
    study: Kdtui, described: Callable[..., Path], kdtui: Kdtui, db: Database
) -> None:
    lines = ['compare = "formats"', 'baseline = "none"', 'formats = ["none", "rule"]', 'utilization = ["sft"]']
    spec = described(*lines, before="sessions = 1", training="sessions = 2")
    assert study(spec).code == 0
    runs = [get_run(db, int(row["run"])) for row in shown(kdtui, "mine")]
    assert {len(predictions(db, run)) for run in runs} == {1}
    [training] = kdtui("sft", "show", runs[0].settings.adapters[0][0], "--json").rows
    assert training["limit"] == 2


@pytest.mark.slow
def test_a_study_that_is_killed_repeatedly_ends_with_the_same_table(
    finished: Database, kdtui: Kdtui, presets: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finished.path is not None
    measures = ("label", "state", "strict_precision", "strict_recall", "pair_f1")
    undisturbed = [[row[name] for name in measures] for row in shown(kdtui)]
    other = tmp_path / "other" / "kdtui.db"
    monkeypatch.setenv("KDTUI_DB", str(other))
    assert kdtui("data", "import", data, "--dataset", "outdoor").code == 0
    command = [sys.executable, "-m", "kdtui", "study", "run", str(presets / "rq3.toml"), "--json"]
    chance = random.Random(0)
    for _ in range(10):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
            assert running.stdout is not None
            for _ in range(chance.randrange(1, 5)):
                running.stdout.readline()
            running.send_signal(signal.SIGKILL)
    # The training continues by itself, and the study waits for it.
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [[row[name] for name in measures] for row in shown(kdtui)] == undisturbed
    db = open_database(other)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert db.execute("SELECT count(*) FROM runs").fetchone()[0] == 5
        assert db.execute("SELECT count(*) FROM jobs").fetchone()[0] == 2
    finally:
        db.close()
