"""Failures of a training: a stop, a kill, full disk or memory, missing or damaged files."""

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Phi3Config, Phi3ForCausalLM

import models.sft
from models.errors import ModelError
from models.sft.base import load_base, load_vocabulary
from models.sft.checkpoints import save_checkpoint, whole_checkpoints
from models.sft.evaluation import ValidationScores
from models.sft.job_files import locked_job
from models.sft.state import job_status
from tests.support.needs import skip_unless_all_is_needed
from tests.support.tiny import make_model
from tests.support.tiny_job import (
    as_folder,
    difference,
    line,
    metrics,
    on_two_processes,
    start,
    train,
    weights,
    write_job,
)
from tests.support.waiting import until


@pytest.mark.slow
def test_a_stopped_training_resumes_to_the_same_adapter(job: Path) -> None:
    write_job(job, epochs=4, checkpoints=6, lora={"rank": 4, "dropout": 0.1})
    whole = uninterrupted(job)
    train_to_a_checkpoint(job)
    assert (job / "exit_code").read_text() == "143\n"
    assert not (job / "adapter").exists()
    resumes_to_the_same(job, whole)


@pytest.mark.slow
def test_a_training_killed_at_any_moment_resumes_to_the_same_adapter(job: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    write_job(job, epochs=8, checkpoints=4, lora={"rank": 4, "dropout": 0.1})
    whole = uninterrupted(job)
    # The first kill comes after the first checkpoint.
    process = start(job)
    until(lambda: len(whole_checkpoints(job / "checkpoints")) > 1)
    kill(process)
    assert not (job / "exit_code").exists()
    assert not (job / "adapter").exists()
    process = start(job)
    until(partial(_beats_after, job, time.time()))
    time.sleep(chance.uniform(0, 0.8))
    kill(process)
    resumes_to_the_same(job, whole)


@pytest.mark.slow
def test_a_resumed_training_keeps_the_batches_of_a_step(job: Path) -> None:
    write_job(job, epochs=4, checkpoints=6, optimizer={"learning_rate": 0.01, "accumulate": 2})
    whole = uninterrupted(job)
    train_to_a_checkpoint(job)
    # Then one process goes on where it was two, with a batch each.
    write_job(job, optimizer={"learning_rate": 0.01, "accumulate": 1})
    resumes_to_the_same(job, whole)


def test_a_checkpoint_that_does_not_say_the_batches_of_a_step_has_as_many_as_now(job: Path) -> None:
    write_job(job, epochs=4, checkpoints=6, optimizer={"learning_rate": 0.01, "accumulate": 2})
    whole = uninterrupted(job)
    train_to_a_checkpoint(job)
    for checkpoint in whole_checkpoints(job / "checkpoints"):
        content = json.loads((checkpoint / "state.json").read_text())
        del content["batches_per_step"]
        (checkpoint / "state.json").write_text(json.dumps(content))
    resumes_to_the_same(job, whole)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 2])
def test_two_processes_resume_what_one_began(job: Path, batches: int) -> None:
    """With a single batch in each step, one of them has nothing to do."""
    write_job(job, epochs=2, checkpoints=6, optimizer={"learning_rate": 0.001, "accumulate": batches})
    whole = uninterrupted(job)
    train_to_a_checkpoint(job)
    resumed = subprocess.run(on_two_processes(job), capture_output=True, text=True, timeout=300, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from step" in resumed.stderr
    manifests = [json.loads((folder / "adapter" / "manifest.json").read_text()) for folder in (job, whole)]
    assert manifests[0]["steps"] == manifests[1]["steps"]
    assert difference(job, whole) < 1e-6


def uninterrupted(job: Path) -> Path:
    """Copy a training, and train the copy to its end."""
    whole = job.with_name("whole")
    shutil.copytree(job, whole)
    assert train(whole).returncode == 0
    return whole


def train_to_a_checkpoint(job: Path) -> None:
    """Train in this process, and stop after the second checkpoint."""

    def stop() -> None:
        until(lambda: len(whole_checkpoints(job / "checkpoints")) > 1)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = Thread(target=stop)
    stopping.start()
    assert train(job).returncode == 143
    stopping.join()


def resumes_to_the_same(job: Path, whole: Path) -> None:
    """Train to the end; the result equals that of the same training without interruption."""
    was_done = (job / "exit_code").exists() and (job / "exit_code").read_text() == "0\n"
    result = train(job)
    assert result.returncode == 0
    assert was_done or "resuming from step" in result.stderr
    assert all(torch.equal(value, weights(job)[name]) for name, value in weights(whole).items())
    assert [each["step"] for each in metrics(job) if "valid_loss" in each] == [
        each["step"] for each in metrics(whole) if "valid_loss" in each
    ]


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _beats_after(job: Path, moment: float) -> bool:
    return (job / "heartbeat").exists() and (job / "heartbeat").stat().st_mtime > moment


@pytest.mark.slow
def test_a_stop_signal_reaches_all_processes(job: Path) -> None:
    write_job(job, epochs=60)
    process = subprocess.Popen(
        on_two_processes(job),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: whole_checkpoints(job / "checkpoints"))
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    until(lambda: (job / "exit_code").exists())
    assert (job / "exit_code").read_text() == "143\n"


def test_a_disk_that_is_full_from_the_beginning_is_reported(job: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(small)], check=False).returncode:
        skip_unless_all_is_needed("a small disk cannot be mounted here")
    try:
        shutil.copytree(job, small / "job")
        write_job(small / "job", epochs=1)
        result = train(small / "job")
        assert result.returncode == 1
        assert re.search(r"the checkpoint of step 2 cannot be written \(.*No space left on device", result.stderr)
        assert "no checkpoint could be written; is the disk full?" in result.stderr.splitlines()[-1]
        assert not list((small / "job").rglob("*.part"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_second_trainer_refuses_and_leaves_the_first_alone(job: Path) -> None:
    with locked_job(job):
        result = train(job)
        assert result.returncode == 1
        assert "another trainer is running in it" in result.stderr
        assert json.loads((job / "pid").read_text())["pid"] == os.getpid()
        assert not (job / "exit_code").exists()
    assert train(job).returncode == 0


def test_a_nan_loss_stops_the_training_and_keeps_the_checkpoints(job: Path) -> None:
    write_job(job, epochs=1)
    assert train(job).returncode == 0
    good = whole_checkpoints(job / "checkpoints")[-1]
    expected = load_file(good / "adapter_model.safetensors")
    write_job(job, epochs=9, checkpoints=1, evaluations=1, optimizer={"learning_rate": 1e30, "clip": 1e30})
    result = train(job)
    assert result.returncode == 1
    assert "the loss is not a number any more at step" in result.stderr.splitlines()[-1]
    assert "lower optimizer.learning_rate" in result.stderr
    assert "the last checkpoint is from before" in result.stderr
    kept = load_file(good / "adapter_model.safetensors")
    assert kept.keys() == expected.keys()
    assert all(torch.equal(value, kept[name]) for name, value in expected.items())


def test_a_nan_loss_before_the_first_checkpoint_is_reported(job: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from models.sft.__main__ import main

    write_job(job, checkpoints=1, evaluations=1, optimizer={"learning_rate": 1e30, "clip": 1e30, "warmup": 0})
    handler = signal.getsignal(signal.SIGTERM)
    assert main([str(job)]) == 1
    signal.signal(signal.SIGTERM, handler)
    assert "(--learning-rate, now 1e+30); no checkpoint was written yet" in capfd.readouterr().err.splitlines()[-1]


def test_a_base_without_convertible_adapters_is_refused_before_the_training(
    job: Path, base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft.__main__ import main

    folder = as_folder(base, tmp_path / "phi")
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    Phi3ForCausalLM(Phi3Config(**sizes, vocab_size=400, pad_token_id=0)).save_pretrained(folder)
    write_job(job, base=str(folder), lora={"targets": ["o_proj"]})
    assert main([str(job)]) == 1
    assert f"{folder}: adapters for phi3 cannot be converted; for gemma3" in capfd.readouterr().err.splitlines()[-1]
    assert not (job / "metrics.jsonl").exists()


def test_a_full_disk_still_leaves_the_adapter_with_its_manifest(
    job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft import training

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    write_job(job, epochs=1)
    monkeypatch.setattr("models.sft.training.shutil.copytree", full)
    handler = signal.getsignal(signal.SIGTERM)
    with locked_job(job):
        training.Trainer(job).run()
    signal.signal(signal.SIGTERM, handler)
    assert "because it cannot be copied (No space left on device)" in capfd.readouterr().err
    assert weights(job)
    assert json.loads((job / "adapter" / "manifest.json").read_text())["base"]
    assert not (job / "adapter" / "optimizer.safetensors").exists()


def test_a_full_disk_costs_only_metrics_and_is_reported_once(
    job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft.__main__ import main

    write_job(job, epochs=1)
    monkeypatch.setattr("models.sft.throughput._LOG_SECONDS", 0)
    # /dev/full simulates a full disk.
    (job / "metrics.jsonl").symlink_to("/dev/full")
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("models.sft.training.forget_metrics", lambda *_, **__: None)
    assert main([str(job)]) == 0
    signal.signal(signal.SIGTERM, handler)
    assert capfd.readouterr().err.count("metrics cannot be written (No space left on device)") == 1
    assert weights(job)


def test_the_manifest_names_the_step_of_the_adapter(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.sft.training import Trainer

    def nearly(folder: Path, progress: Any, *rest: Any) -> Path:
        if progress.best and progress.best[-1] == progress.step:
            raise OSError(28, "No space left on device")
        return save_checkpoint(folder, progress, *rest)

    # The first evaluation is the best, and there is no room for its checkpoint.
    write_job(job, epochs=1, evaluations=2)
    evaluations = [ValidationScores(1.0, 0.5), ValidationScores(2.0, 0.5)]
    monkeypatch.setattr("models.sft.training.evaluate_model", lambda *_, **__: evaluations.pop(0))
    monkeypatch.setattr("models.sft.training.save_checkpoint", nearly)
    handler = signal.getsignal(signal.SIGTERM)
    with locked_job(job):
        Trainer(job).run()
    signal.signal(signal.SIGTERM, handler)
    manifest = json.loads((job / "adapter" / "manifest.json").read_text())
    [first, last] = [each["step"] for each in metrics(job) if "valid_loss" in each]
    assert manifest["step"] == manifest["steps"] == last > first


def test_without_room_for_the_exit_code_the_log_has_the_reason(
    job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft.__main__ import main

    def full(path: Path, _: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    write_job(job, epochs=0)
    monkeypatch.setattr("models.sft.job_files.write_whole", full)
    assert main([str(job)]) == 1
    (job / "pid").write_text(json.dumps({"pid": 1, "started": 1, "boot": "another"}))
    (job / "log").write_text(capfd.readouterr().err)
    assert job_status(job).state == "failed"
    assert "epochs cannot be 0" in (job_status(job).reason or "")
    # The next trainer is killed before it writes anything.
    os.utime(job / "log", (1, 1))
    assert "ended from outside" in (job_status(job).reason or "")


def test_a_stop_ends_an_evaluation_which_is_repeated_on_resume(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation sessions are lists, which are generated in batches."""
    from models.sft import evaluation, training

    # A random model generates up to the limit.
    monkeypatch.setattr(evaluation, "_MAX_LIST_TOKENS", 16)
    lists = [line(["camp", "phone"], completions=[{"answer": "1,2: kit", "end": True}]) for _ in range(4)]
    (job / "valid.jsonl").write_text("\n".join(lists) + "\n")
    write_job(job, epochs=1, evaluations=2, checkpoints=1)
    whole = tmp_path / "whole"
    shutil.copytree(job, whole)
    handler = signal.getsignal(signal.SIGTERM)
    training.Trainer(whole).run()
    from models.sft.writing import write_greedily

    beats = []

    def stopped(*arguments: Any, **named: Any) -> Any:
        (job / "heartbeat").unlink(missing_ok=True)
        beats.append(arguments)
        signal.raise_signal(signal.SIGTERM)
        return write_greedily(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "write_greedily", stopped)
        with pytest.raises(training.Stopped):
            training.Trainer(job).run()
    assert len(beats) == 1
    assert (job / "heartbeat").exists()
    assert job_status(job).evaluations == ()
    training.Trainer(job).run()
    signal.signal(signal.SIGTERM, handler)
    assert all(torch.equal(value, weights(job)[name]) for name, value in weights(whole).items())
    judged = [
        [{key: value for key, value in each.items() if key != "valid_seconds"} for each in metrics(folder)]
        for folder in (job, whole)
    ]
    judged = [[each for each in lines if "valid_loss" in each] for lines in judged]
    assert judged[0] == judged[1]
    assert len(judged[0]) == 2


@pytest.mark.parametrize("package", ["torch", "transformers", "peft", "accelerate"])
def test_a_trainer_without_its_packages_says_how_to_get_them(
    job: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Imported again, as in a new trainer.
    for name in [name for name in sys.modules if name.startswith("models.sft.") and not name.endswith("__main__")]:
        if name.count(".") == 2:
            monkeypatch.delattr(models.sft, name.rpartition(".")[2])
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    result = train(job)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"models.sft: {package} is missing; "
        "install it with: pip install 'kdtui[sft]' (on a host: kdtui host setup NAME)"
    )
    assert (job / "exit_code").read_text() == "1\n"


@pytest.mark.parametrize("load", [load_base, load_vocabulary])
def test_a_base_without_its_loader_package_gives_one_sentence(
    base: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[[str], object]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"transformers is missing; install it with: pip install 'kdtui\[sft\]'"):
        load(str(base))


def test_a_tokenizer_without_an_end_token_gives_one_sentence(
    job: Path, base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft.__main__ import main

    folder = as_folder(base, tmp_path / "endless")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    write_job(job, base=str(folder))
    assert main([str(job)]) == 1
    assert "its tokenizer has no token that ends an answer" in capfd.readouterr().err.splitlines()[-1]


Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "No such file": lambda job: (job / "job.json").unlink(),
    "this is not JSON": lambda job: (job / "job.json").write_text("{"),
    "an object is expected": lambda job: (job / "job.json").write_text("[1]"),
    "there is no setting 'epoch'": lambda job: write_job(job, epoch=3),
    "epochs cannot be 0": lambda job: write_job(job, epochs=0),
    "epochs cannot be True": lambda job: write_job(job, epochs=True),
    "learning_rate cannot be -1.0": lambda job: write_job(job, optimizer={"learning_rate": -1}),
    "dropout cannot be 1.0": lambda job: write_job(job, lora={"dropout": 1}),
    "precision is one of auto": lambda job: write_job(job, precision="int8"),
    "base is missing": lambda job: (job / "job.json").write_text("{}"),
    "version 9": lambda job: write_job(job, version=9),
    "no such folder or GGUF file": lambda job: write_job(job, base="/nowhere/at/all"),
    "transformers cannot load": lambda job: write_job(job, base=str(job)),
    "cannot hold changes of lm_head": lambda job: write_job(job, lora={"targets": ["q_proj", "lm_head"]}),
    "no weights of the names": lambda job: write_job(job, lora={"targets": ["nothing"]}),
    "train.jsonl: No such file": lambda job: (job / "train.jsonl").unlink(),
    "no example can be used": lambda job: (job / "train.jsonl").write_text(""),
    "longer than 5 tokens": lambda job: write_job(job, longest=5),
    "a line is not JSON": lambda job: (job / "train.jsonl").write_text("{]"),
    "line 1: this is not an example": lambda job: (job / "train.jsonl").write_text('{"session": "1"}'),
    "an answer is empty": lambda job: (job / "train.jsonl").write_text(line(["camp"], completions=[{"answer": ""}])),
    "there are no completions": lambda job: (job / "train.jsonl").write_text(line(["camp"], completions=[])),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_wrong_job_gives_one_sentence(job: Path, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    from models.sft.__main__ import main

    DAMAGES[message](job)
    assert main([str(job)]) == 1
    said = capfd.readouterr().err
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said
    assert (job / "exit_code").read_text() == "1\n"


def damage(checkpoint: Path, name: str, size: int) -> None:
    os.truncate(checkpoint / name, size)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("optimizer.safetensors", 100),
        ("optimizer.safetensors", -1),
        ("adapter_model.safetensors", -1),
        ("adapter_model.safetensors", 0),
        ("state.json", 0),
        ("state.json", -1),
    ],
)
def test_a_training_resumes_from_the_checkpoint_before_a_damaged_one(job: Path, name: str, size: int) -> None:
    write_job(job, epochs=1, checkpoints=2)
    assert train(job).returncode == 0
    adapter = (job / "adapter" / "adapter_model.safetensors").read_bytes()
    before, newest = whole_checkpoints(job / "checkpoints")[-2:]
    damage(newest, name, size if size >= 0 else (newest / name).stat().st_size + size)
    assert whole_checkpoints(job / "checkpoints")[-1] == before
    result = train(job)
    assert result.returncode == 0, result.stderr
    said = result.stdout + result.stderr
    assert f"{newest.name} is damaged ({name}" in said
    assert f"resuming from step {int(before.name.removeprefix('step-')):,}" in said
    assert whole_checkpoints(job / "checkpoints")[-1] == newest
    assert (job / "adapter" / "adapter_model.safetensors").read_bytes() == adapter


def test_if_all_checkpoints_are_damaged_the_newest_is_named(job: Path) -> None:
    write_job(job, epochs=1)
    assert train(job).returncode == 0
    for checkpoint in whole_checkpoints(job / "checkpoints"):
        damage(checkpoint, "optimizer.safetensors", 100)
        newest = checkpoint
    result = train(job)
    assert result.returncode == 1
    assert str(newest) in result.stderr.splitlines()[-1]
    assert "to start again" in result.stderr


def test_a_full_memory_says_which_setting_to_lower(
    job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft.__main__ import main

    monkeypatch.setattr("models.sft.training.load_base", lambda _: torch.empty(2**60))
    assert main([str(job)]) == 1
    assert "out of memory; lower batch_tokens" in capfd.readouterr().err.splitlines()[-1]
    assert (job / "exit_code").read_text() == "1\n"


def test_without_a_job_the_usage_is_printed() -> None:
    assert subprocess.run([sys.executable, "-m", "models.sft"], capture_output=True).returncode == 2


def test_an_unknown_id_on_the_hub_gives_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"transformers cannot load this base"):
        load_base("nobody/nothing-at-all")


def test_a_base_with_damaged_weights_is_named_before_the_first_step(job: Path, tmp_path: Path) -> None:
    base = make_model(tmp_path / "damaged.gguf", norm=math.nan)
    write_job(job, base=str(base))
    result = train(job)
    assert result.returncode == 1
    expected = f"{base}: the model computes values that are not finite; its weights are damaged"
    assert expected in result.stderr.splitlines()[-1]
