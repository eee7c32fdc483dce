"""Fine-tuning from the command line, with a tiny base: from training sessions to an adapter that generates."""

import fcntl
import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.finish_jobs import finish_job, finish_jobs
from kdtui.workflows.job_state import known_training, known_trainings
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.student.adapters import adapter_file
from kdtui.workflows.student.command_options import options_of
from kdtui.workflows.student.learning import tell_nobody
from kdtui.workflows.student.pair_evidence import open_pattern_student
from kdtui.workflows.student.settings import add_trained_knowledge
from models.adapters.conversion import convert
from models.files.whole_files import locked
from models.llama.strategies.writing import write_thought
from models.prompt_format import pair_question
from models.sft.job import read_job
from models.sft.job_files import EXIT_CODE, identity
from models.sft.state import job_status, trainer_pid
from store.database import open_database
from store.jobs import add_job
from store.models import named_models
from store.records import RunSettings, TrainingSettings
from store.runs import get_run
from store.sessions import get_session
from store.sqlite import Database
from tests.support import stand_in
from tests.support.commands import Kdtui
from tests.support.launching import train_in_this_process
from tests.support.tiny import make_model
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("imported")


@pytest.fixture
def launch(kdtui: Kdtui, base: Path) -> Kdtui:
    def start(name: str, *arguments: object) -> Any:
        options = ["--name", name, "--base", base, "--learning-rate", 0.003, "--batch-tokens", 5000]
        return kdtui("sft", "launch", *options, *arguments)

    return start


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run trainings in this process, with the real trainer, which then need not be imported each time."""
    monkeypatch.setattr("kdtui.workflows.training.on_this_machine.start_trainer", train_in_this_process)
    # A random model writes until its context is full.
    monkeypatch.setattr("models.sft.evaluation._MAX_LIST_TOKENS", 16)


def folder(db: Database, name: str) -> Path:
    return Path(db.execute("SELECT folder FROM jobs WHERE name = ?", [name]).fetchone()[0])


def test_a_training_becomes_an_adapter_that_generates(
    kdtui: Kdtui, launch: Kdtui, base: Path, db: Database, tmp_path: Path
) -> None:
    result = launch("first", "--epochs", 1, "--follow")
    assert result.code == 0
    assert "training first is done" in result.err
    assert "evaluation at step" in result.err
    [row] = kdtui("sft", "ls", "--json").rows
    assert (row["name"], row["state"], row["datasets"]) == ("first", "done", ["outdoor"])
    assert row["step"] == row["steps"]
    [shown] = kdtui("sft", "show", "first", "--json").rows
    assert shown["curve"]
    assert [step for step, _, _ in shown["evaluations"]] == sorted({step for step, _, _ in shown["evaluations"]})
    assert "pair F1" in kdtui("sft", "show", "first").out
    assert "evaluation at step" in kdtui("sft", "logs", "first").out
    [adapter] = [row for row in kdtui("model", "ls", "--json").rows if row["name"] == "first"]
    assert adapter["kind"] == "adapter"
    for named in ("first", "first=0.5", adapter["path"]):
        command = ["generate", "o34", "--student", base, "--adapter", named, "--strategy", "list", "--json"]
        [answer] = kdtui(*command).rows
        assert answer["bundles"]
    other = kdtui("generate", "o34", "--student", make_model(tmp_path / "wide.gguf", width=128), "--adapter", "first")
    assert other.code == 1
    assert "this is no adapter for wide.gguf" in other.err
    assert kdtui("sft", "rm", "first", "--yes").code == 0
    assert not Path(adapter["path"]).parent.exists()
    assert kdtui("sft", "ls", "--json").rows == []
    assert not list(db.query("SELECT * FROM models"))


def questions(kdtui: Kdtui, *arguments: object) -> list[str]:
    """Yield the questions about a session, one by one."""
    result = kdtui("generate", "o34", "--show-prompt", "--json", *arguments)
    assert result.code == 0, result.err
    found: list[str] = result.rows[0]["questions"]
    return found


@pytest.mark.usefixtures("here")
@pytest.mark.slow
def test_an_adapter_is_asked_as_it_was_trained(kdtui: Kdtui, launch: Kdtui, base: Path, db: Database) -> None:
    mine_patterns(db, "outdoor")
    assert launch("mine", "--epochs", 1, "--knowledge", "pattern", "--follow").code == 0
    with open_pattern_student(db, "outdoor", tell_nobody) as student:
        judged = student.pair_probabilities(get_session(db, "outdoor", "o34"))
    found = questions(kdtui, "--adapter", "mine")
    assert found[0] == pair_question(1, 2, float(judged[0, 1]))
    assert all("%" in question for question in found)
    assert kdtui("generate", "o34", "--adapter", "mine", "--json").code == 0, "its base was found"
    # Explicit options count.
    assert questions(kdtui, "--adapter", "mine", "--strategy", "list") == []
    assert not any("%" in question for question in questions(kdtui, "--adapter", "mine", "--knowledge", "none"))
    other = kdtui("generate", "o34", "--adapter", "mine", "--student", "smollm2")
    assert (other.code, "this is no adapter for" in other.err) == (1, True)
    assert kdtui("evaluate", "--adapter", "mine", "--split", "valid", "--limit", 1).code == 0
    run = get_run(db, 1)
    assert (run.settings.student, run.settings.strategy) == (str(base), "pairs")
    assert run.settings.knowledge == ("pattern",)
    # What the app would show as the command for these settings means the same.
    assert questions(kdtui, *words_of(RunSettings(str(base), adapters=(("mine", 1.0),)))) == questions(
        kdtui, "--adapter", "mine", "--knowledge", "none"
    )


def words_of(settings: RunSettings) -> list[str]:
    return [word for option, values in options_of(settings).items() for value in values for word in (option, value)]


@pytest.mark.usefixtures("here")
def test_an_adapter_for_a_list_is_asked_for_a_list(kdtui: Kdtui, launch: Kdtui) -> None:
    assert launch("lists", "--epochs", 1, "--form", "list", "--follow").code == 0
    assert questions(kdtui, "--adapter", "lists") == []


def test_knowledge_of_a_sample_is_shown_again_from_that_sample() -> None:
    trained = TrainingSettings(("outdoor",), "list", ("rule",), sample="few", budget=9)
    shown = add_trained_knowledge(RunSettings("smollm2"), trained)
    assert (shown.knowledge, shown.sample, shown.budget) == (("rule",), "few", 9)
    labels = add_trained_knowledge(RunSettings("smollm2"), TrainingSettings(("outdoor",), sample="few"))
    assert labels == RunSettings("smollm2"), "without knowledge a sample means nothing to who is asked"


@pytest.mark.usefixtures("here")
@pytest.mark.slow
def test_an_adapter_of_a_transformers_folder_says_that_a_gguf_file_is_needed(
    kdtui: Kdtui, launch: Kdtui, base: Path, db: Database, tmp_path: Path
) -> None:
    assert launch("on-folder", "--epochs", 1, "--follow").code == 0
    job = folder(db, "on-folder") / "job.json"
    job.write_text(json.dumps(json.loads(job.read_text()) | {"base": str(tmp_path / "a-folder")}))
    # The only local base, the embedded one, has another shape.
    result = kdtui("generate", "o34", "--adapter", "on-folder")
    assert "adapter 'on-folder' needs a GGUF file of its base" in result.err
    assert len(result.err.splitlines()) == 1
    assert kdtui("model", "add", base, "--name", "right").code == 0
    assert kdtui("generate", "o34", "--adapter", "on-folder").code == 0


def test_a_training_is_shown_as_its_job_says(launch: Kdtui, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # It does not have to run.
    monkeypatch.setattr("kdtui.workflows.training.on_this_machine.start_trainer", lambda *_, **__: os.getpid())
    options = ["--rank", 4, "--alpha", 12, "--dropout", 0.1, "--accumulate", 2, "--evaluations", 1, "--checkpoints", 3]
    assert launch("said", *options).code == 0
    job = read_job(folder(db, "said") / "job.json")
    assert (job.lora.rank, job.lora.alpha, job.lora.dropout) == (4, 12.0, 0.1)
    assert (job.optimizer.accumulate, job.evaluations, job.checkpoints) == (2, 1, 3)


@pytest.mark.slow
def test_a_cancelled_training_is_resumed(kdtui: Kdtui, launch: Kdtui, db: Database) -> None:
    assert launch("long", "--epochs", 6).code == 0
    until(lambda: job_status(folder(db, "long")).step)
    assert kdtui("sft", "launch", "--name", "long", "--base", "smollm2").code == 1
    assert "is running already" in kdtui("sft", "resume", "long").err
    assert "is running; stop it first" in kdtui("sft", "rm", "long", "--yes").err
    assert kdtui("generate", "o34", "--adapter", "long").err.startswith("kdtui: training 'long' has no adapter yet")
    result = kdtui("sft", "cancel", "long")
    assert (result.code, "kdtui sft resume long resumes it" in result.err) == (0, True)
    assert "training long has stopped: it left a checkpoint at step" in result.err
    [stopped] = kdtui("sft", "ls", "--json").rows
    assert stopped["state"] == "stopped"
    assert "stopping: finishing the step, then writing a checkpoint" in kdtui("sft", "logs", "long").out
    assert f"; it resumes from step {stopped['reason'].split()[-1]}" in kdtui("sft", "logs", "long").out
    assert "is not running; it is stopped" in kdtui("sft", "cancel", "long").err
    assert kdtui("sft", "resume", "long", "--follow").code == 0
    assert "resuming from step" in kdtui("sft", "logs", "long").out
    assert "is done; use its adapter with" in kdtui("sft", "resume", "long").err


@pytest.mark.slow
def test_a_killed_training_has_failed_and_is_resumed(
    kdtui: Kdtui, launch: Kdtui, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launch("killed", "--epochs", 6).code == 0
    where = folder(db, "killed")
    until(lambda: list((where / "checkpoints").glob("step-????????")))
    pid = trainer_pid(where)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: job_status(where).state == "failed")
    monkeypatch.setattr("kdtui.workflows.training.on_this_machine.start_trainer", train_in_this_process)
    assert kdtui("sft", "resume", "killed", "--follow").code == 0


@pytest.mark.usefixtures("here")
def test_a_training_that_fails_says_why(kdtui: Kdtui, launch: Kdtui) -> None:
    result = launch("wild", "--learning-rate", 1e30, "--epochs", 3, "--follow")
    assert result.code == 1
    assert re.search("training 'wild' has failed: models.sft: the loss .*is not a number any more", result.err)
    [row] = kdtui("sft", "ls", "--json").rows
    assert row["state"] == "failed"
    assert "lower optimizer.learning_rate (--learning-rate, now" in row["reason"]


def test_a_trainer_that_does_not_start_is_one_sentence(launch: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.sft.processes.sys.executable", "/bin/false")
    result = launch("x")
    assert result.code == 1
    assert "the trainer did not start (the log is empty); its log is" in result.err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_an_adapter_that_cannot_be_converted_does_not_hide_other_trainings(
    kdtui: Kdtui, launch: Kdtui, db: Database
) -> None:
    assert launch("bad", "--epochs", 1).code == 0
    assert launch("good", "--epochs", 1).code == 0
    adapter = folder(db, "bad") / "adapter"
    # A host can have written any of these.
    for name, change in (
        ("adapter_config.json", {"lora_alpha": "x"}),
        ("adapter_config.json", {"target_modules": 5}),
        ("adapter_config.json", {"alpha_pattern": ["x"]}),
        ("adapter_config.json", {"alpha_pattern": {"(a+)+": 1}}),
        ("base_config.json", {"text_config": 5}),
    ):
        whole = (adapter / name).read_text()
        (adapter / name).write_text(json.dumps(json.loads(whole) | change))
        good, bad = finish_jobs(db)
        assert (good.status.state, bad.status.state) == ("done", "failed"), change
        (adapter / name).write_text(whole)
    (adapter / "adapter_model.safetensors").write_bytes(b"broken")
    assert [row["state"] for row in kdtui("sft", "ls", "--json").rows] == ["done", "done"]
    good, bad = finish_jobs(db)
    assert (good.status.state, bad.status.state) == ("done", "failed")
    assert "its adapter cannot be converted" in str(bad.status.reason)
    result = kdtui("generate", "o34", "--adapter", "bad")
    assert (result.code, "safetensors file is incomplete or damaged" in result.err) == (1, True)


def test_concurrent_finishes_of_a_training_name_its_adapter_once(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "jobs" / "seen"
    stand_in.random_adapter(job / "adapter")
    (job / "job.json").write_text('{"base": "tiny.gguf"}')
    (job / EXIT_CODE).write_text("0")
    add_job(db, "seen", job, TrainingSettings(("outdoor",)), "seen")
    converted = []

    def slowly(*arguments: Any) -> None:
        converted.append(arguments)
        time.sleep(0.3)
        convert(*arguments)

    monkeypatch.setattr("models.adapters.conversion.convert", slowly)

    def look(_: int) -> str:
        own = open_database(Path(os.environ["KDTUI_DB"]))
        try:
            return finish_job(own, "seen").status.state
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(look, range(4))) == ["done"] * 4
    assert len(converted) == 1
    assert [model.name for model in named_models(db)] == ["seen"]


def test_only_using_a_finished_training_names_its_adapter(db: Database, tmp_path: Path, kdtui: Kdtui) -> None:
    job = tmp_path / "jobs" / "detached"
    stand_in.random_adapter(job / "adapter")
    (job / "job.json").write_text('{"base": "tiny.gguf"}')
    (job / EXIT_CODE).write_text("0")
    add_job(db, "detached", job, TrainingSettings(("outdoor",)), "detached")
    assert known_training(db, "detached").status.state == "done"
    assert [each.status.state for each in known_trainings(db)] == ["done"]
    assert [row["state"] for row in kdtui("sft", "ls", "--json").rows] == ["done"]
    assert kdtui("sft", "show", "detached", "--json").code == 0
    assert named_models(db) == []
    assert not list(job.glob("*.gguf"))
    assert adapter_file(db, "detached") == job / "detached.gguf"
    assert [model.name for model in named_models(db)] == ["detached"]


def test_another_process_with_the_same_id_is_not_the_trainer(tmp_path: Path) -> None:
    other = identity(os.getpid())
    (tmp_path / "pid").write_text(json.dumps(other))
    assert trainer_pid(tmp_path) == os.getpid()
    (tmp_path / "pid").write_text(json.dumps(other | {"started": other["started"] - 1}))
    assert trainer_pid(tmp_path) is None
    (tmp_path / "pid").write_text(json.dumps(other | {"boot": "another"}))
    assert job_status(tmp_path).state == "failed"


def test_without_a_heartbeat_a_training_is_stalled(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(json.dumps(identity(os.getpid())))
    assert job_status(tmp_path).state == "running"
    long_ago = time.time() - 3600
    os.utime(tmp_path / "pid", (long_ago, long_ago))
    assert job_status(tmp_path).state == "stalled"
    (tmp_path / "heartbeat").touch()
    assert job_status(tmp_path).state == "running"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["launch", "--name", "smollm2"], "is the name of a model that comes with kdtui"),
        (["launch", "--name", "a/b"], "cannot be a name"),
        (["launch", "--name", "x", "--dataset", "none"], "there is no dataset 'none'"),
        (["launch", "--name", "x", "--sample", "none"], "there is no sample 'none'"),
        (["launch", "--name", "x", "--knowledge", "thought"], "has no thoughts yet"),
        (["launch", "--name", "x", "--knowledge", "poems"], "there is no format 'poems'"),
        (["launch", "--name", "x", "--as", "target"], "use --knowledge thought with --as target"),
        (["data", "--as", "target", "--knowledge", "thought"], "use --form list with --as target"),
        (["launch", "--name", "x", "--base", "none"], "there is no base 'none'; there are: smollm2, files"),
        (["launch", "--name", "x", "--base", "none.gguf"], "none.gguf: there is no such file"),
        (["launch", "--name", "x", "--learning-rate", "-1"], "learning_rate cannot be -1.0"),
        (["launch", "--name", "x", "--dropout", "1"], "dropout cannot be 1.0"),
        (["data", "--dataset", "none"], "there is no dataset 'none'"),
        (["data", "--base", "no/where"], "transformers cannot load this base"),
        (["show", "x"], "there is no training 'x'"),
        (["logs", "x"], "there is no training 'x'"),
        (["cancel", "x"], "there is no training 'x'"),
        (["resume", "x"], "there is no training 'x'"),
        (["rm", "x"], "there is no training 'x'"),
    ],
)
def test_an_impossible_training_is_one_sentence_and_leaves_nothing(
    kdtui: Kdtui, db: Database, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = kdtui("sft", *arguments)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err
    assert not list(db.query("SELECT * FROM jobs"))
    assert not list((Path(os.environ["KDTUI_DB"]).parent / "jobs").glob("*"))


def test_a_launch_that_cannot_be_stored_leaves_no_folder(
    db: Database, launch: Kdtui, database_of_the_test: Path
) -> None:
    db.execute("CREATE TRIGGER full BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
    failed = launch("camping")
    assert failed.code != 0
    assert not (database_of_the_test.parent / "jobs" / "camping").exists()
    db.execute("DROP TRIGGER full")
    assert launch("camping").code == 0


def test_the_folder_of_a_launch_that_was_killed_before_it_was_stored_is_replaced(
    launch: Kdtui, database_of_the_test: Path
) -> None:
    folder = database_of_the_test.parent / "jobs" / "camping"
    folder.mkdir(parents=True)
    for name in ("id", "job.json", "train.jsonl"):
        (folder / name).write_text("of another training")
    # A training of another database that is queued, or on a host, looks like that.
    assert "there is a folder of this name already" in launch("camping").err
    (folder / "unstored").write_text(json.dumps(["/another/kdtui.db", "its key"]))
    assert "there is a folder of this name already" in launch("camping").err, "it is of another database"
    (folder / "unstored").write_text(json.dumps([str(database_of_the_test.resolve()), "its key"]))
    with locked(folder / "unstored"):
        assert "there is a folder of this name already" in launch("camping").err, "another process makes it"
    assert (folder / "id").read_text() == "of another training"
    assert launch("camping").code == 0
    assert json.loads((folder / "job.json").read_text())["manifest"]["name"] == "camping"
    assert not (folder / "unstored").exists()


def test_a_missing_package_is_one_sentence(launch: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtui.workflows.training.prepare.find_spec", lambda name: None if name == "peft" else name)
    result = launch("x")
    assert (result.code, result.err) == (
        1,
        "kdtui: peft is needed to train on this machine; install it with: pip install 'kdtui[sft]'\n",
    )


def test_an_empty_sample_is_nothing_to_train_on(kdtui: Kdtui, db: Database, launch: Kdtui) -> None:
    assert kdtui("knowledge", "mine").code == 0
    assert kdtui("sample", "create", "patterns", "--format", "pattern").code == 0
    result = launch("x", "--sample", "patterns")
    assert "there is nothing to train on" in result.err
    assert not list(db.query("SELECT * FROM jobs"))


def test_a_student_is_asked_with_the_same_evidence(
    kdtui: Kdtui, base: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine_patterns(db, "outdoor")
    asked: set[str] = set()

    def heard(*arguments: Any) -> str:
        asked.add(pair_question(*arguments))
        return pair_question(*arguments)

    monkeypatch.setattr("models.llama.strategies.pairs.pair_question", heard)
    command = ["generate", "o34", "--student", base, "--strategy", "pairs", "--json"]
    assert kdtui(*command, "--knowledge", "pattern").code == 0
    with open_pattern_student(db, "outdoor", tell_nobody) as student:
        probabilities = student.pair_probabilities(get_session(db, "outdoor", "o34"))
    assert pair_question(1, 2, float(probabilities[0, 1])) in asked
    asked.clear()
    assert kdtui(*command).code == 0
    assert asked
    assert not any("%" in question for question in asked)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_student_that_has_learned_to_think_writes_a_thought_before_the_list(
    kdtui: Kdtui, launch: Kdtui, base: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(distill_annotations(db, "outdoor", ["thought"]))
    options = ["--form", "list", "--knowledge", "thought", "--as", "target", "--epochs", 1, "--follow"]
    result = launch("thinker", *options)
    assert result.code == 0, result.err
    thoughts = []

    def think(*arguments: Any) -> Any:
        thoughts.append(arguments)
        return (yield from write_thought(*arguments))

    monkeypatch.setattr("models.llama.strategies.writing.write_thought", think)
    [answer] = kdtui("generate", "o34", "--student", base, "--adapter", "thinker", "--json").rows
    assert len(thoughts) == 1
    assert answer["bundles"]
    assert kdtui("generate", "o34", "--student", base, "--strategy", "list", "--json").code == 0
    assert len(thoughts) == 1


def test_a_conversion_that_is_stuck_in_another_process_is_not_waited_for(
    db: Database, tmp_path: Path, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.finish_jobs._CONVERTS", 0.2)
    folder = tmp_path / "job"
    (folder / "adapter").mkdir(parents=True)
    (folder / "exit_code").write_text("0\n")
    add_job(db, "a", folder, TrainingSettings(("d",)), "key")
    with (folder / "settle.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        [row] = kdtui("sft", "ls", "--json").rows
        assert finish_job(db, "a").status.state == "done"
    assert (row["name"], row["state"]) == ("a", "done")
    assert named_models(db) == []
