"""The trainer: it learns, goes on where it was, and says what is wrong. All with tiny models, for real."""

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Phi3Config,
    Phi3ForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.models.llama.modeling_llama import LlamaMLP

from models.adapters import convert
from models.answers import Adapter, Answered, Task
from models.chat import ChatTokenizer
from models.errors import ModelError
from models.llama import LlamaModel
from models.messages import Message
from models.pair_question import NO, YES, pair_question
from models.sft.__main__ import main
from models.sft.base import Base, load_base, load_vocabulary
from models.sft.checkpoints import save_checkpoint, whole_checkpoints
from models.sft.evaluation import evaluate
from models.sft.examples import Branch, Example, batches, read_examples
from models.sft.job import Job, Optimizer, read_job
from models.sft.job_files import held
from models.sft.objective import Objective, collate
from models.sft.state import job_status
from models.strategies import make_strategy
from models.student import Student
from tests.models.tiny import make_model
from tests.waiting import until

SYSTEM = Message("system", "Bundle.")
WORDS = ("camp", "phone")


def line(words: list[str], **more: Any) -> str:
    """A session whose odd products are one bundle, and whose even ones are another: easy to learn."""
    products = "\n".join(f"{number}. {word}" for number, word in enumerate(words, start=1))
    pairs = [(a, b) for a in range(1, len(words) + 1) for b in range(a + 1, len(words) + 1)]
    bundles = [list(range(first, len(words) + 1, 2)) for first in (1, 2)]
    return json.dumps(
        {
            "session": products,
            "prompt": [{"role": "system", "content": SYSTEM.content}, {"role": "user", "content": products}],
            "completions": [
                {"given": pair_question(a, b), "answer": YES if (a + b) % 2 == 0 else NO, "pair": [a, b]}
                for a, b in pairs
            ],
            "bundles": [bundle for bundle in bundles if len(bundle) > 1],
            **more,
        }
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "base.gguf")


@pytest.fixture(scope="module")
def loaded(base: Path) -> Base:
    return load_base(str(base))


@pytest.fixture
def job(tmp_path: Path, base: Path) -> Path:
    folder = tmp_path / "job with spaces"
    folder.mkdir()
    chance = random.Random(0)
    for name, count in (("train", 40), ("valid", 8)):
        lines = [line(chance.choices(WORDS, k=chance.randint(2, 4))) for _ in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    write_job(folder, base=str(base))
    return folder


def write_job(folder: Path, **changes: Any) -> None:
    path = folder / "job.json"
    content = json.loads(path.read_text()) if path.exists() else {"epochs": 2, "batch_tokens": 600}
    content.setdefault("optimizer", {"learning_rate": 0.01})
    path.write_text(json.dumps(content | changes))


def as_folder(base: Path, folder: Path) -> Path:
    """A GGUF model as a folder of transformers."""
    loaded = load_base(str(base)).model
    plain = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    del plain.config.quantization_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base.parent, gguf_file=base.name).save_pretrained(folder)
    return folder


def train(folder: Path) -> "subprocess.CompletedProcess[str]":
    """As its command does, but in this process: another one would take longer to begin than to train."""
    handler, told = signal.getsignal(signal.SIGTERM), io.StringIO()
    try:
        with redirect_stderr(told):
            code = main([str(folder)])
    finally:
        signal.signal(signal.SIGTERM, handler)
    return subprocess.CompletedProcess(["models.sft", str(folder)], code, "", told.getvalue())


def start(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "models.sft", str(folder)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def on_two_processes(folder: Path) -> list[str]:
    return [
        sys.executable,
        *["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "models.sft"],
        str(folder),
    ]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "adapter" / "adapter_model.safetensors")
    return found


def test_what_is_learned_in_training_is_answered_in_llama_cpp(job: Path, base: Path) -> None:
    write_job(job, epochs=20, optimizer={"learning_rate": 0.003})
    result = train(job)
    assert result.returncode == 0, result.stderr
    found = metrics(job)
    evaluations = [each for each in found if "pair_f1" in each]
    assert len(evaluations) == 40
    assert max(each["pair_f1"] for each in evaluations) > 0.95
    assert (job / "exit_code").read_text() == "0\n"
    last = [each for each in found if "loss" in each][-1]
    assert last["step"] == last["steps"]
    assert last["peak_memory_bytes"] > 1e8
    assert last["eta_seconds"] == 0
    convert(job / "adapter", base, job / "adapter.gguf")
    from models.calibration import AT_ITS_WORD, Calibration, PairCalibration

    strategy = make_strategy("pairs", Calibration(AT_ITS_WORD, PairCalibration(0.0, 1.0, 0.0, 0.0, 0.5)))

    def ask(_: object, order: Any) -> list[Message]:
        words = ["phone", "phone", "camp", "camp"]
        return [SYSTEM, Message("user", "\n".join(f"{n}. {words[at - 1]}" for n, at in enumerate(order, start=1)))]

    with Student(base) as student:
        [answer] = [
            event
            for event in student.answer([Task("s", 4, ask, (Adapter(job / "adapter.gguf"),))], strategy)
            if isinstance(event, Answered)
        ]
    assert sorted(bundle.positions for bundle in answer.bundles) == [(1, 3), (2, 4)]


def test_the_same_seed_is_the_same_adapter_and_another_is_another(job: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        shutil.rmtree(job / "checkpoints", ignore_errors=True)
        write_job(job, seed=seed, epochs=1)
        assert train(job).returncode == 0
        found.append(weights(job))
    key = next(iter(found[0]))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not torch.equal(found[0][key], found[2][key])


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_training_goes_on_to_the_same_adapter(
    job: Path, tmp_path: Path, signal_number: signal.Signals
) -> None:
    write_job(job, epochs=6, checkpoints=6, lora={"rank": 4, "dropout": 0.1})
    whole = tmp_path / "whole"
    shutil.copytree(job, whole)
    assert train(whole).returncode == 0
    process = start(job)
    until(lambda: len(whole_checkpoints(job / "checkpoints")) > 1)
    process.send_signal(signal_number)
    code = process.wait()
    if signal_number == signal.SIGTERM:
        assert code == 143
        assert (job / "exit_code").read_text() == "143\n"
    else:
        assert not (job / "exit_code").exists()
    assert not (job / "adapter").exists()
    result = train(job)
    assert result.returncode == 0
    assert "going on from step" in result.stderr
    assert all(torch.equal(value, weights(job)[name]) for name, value in weights(whole).items())
    steps = [each["step"] for each in metrics(job) if "valid_loss" in each]
    assert steps == [each["step"] for each in metrics(whole) if "valid_loss" in each]


def test_killed_at_any_moment_a_training_goes_on_to_the_same_adapter(job: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    write_job(job, epochs=8, checkpoints=4)
    whole = tmp_path / "whole"
    shutil.copytree(job, whole)
    assert train(whole).returncode == 0
    for _ in range(3):
        process = start(job)
        until(partial(_beats_after, job, time.time()))
        time.sleep(chance.uniform(0, 0.8))
        process.kill()
        process.wait()
        if (job / "exit_code").exists():
            break
    assert train(job).returncode == 0
    assert all(torch.equal(value, weights(job)[name]) for name, value in weights(whole).items())
    assert [each["step"] for each in metrics(job) if "valid_loss" in each] == [
        each["step"] for each in metrics(whole) if "valid_loss" in each
    ]


def _beats_after(job: Path, moment: float) -> bool:
    return (job / "heartbeat").exists() and (job / "heartbeat").stat().st_mtime > moment


def test_a_disk_that_is_full_from_the_beginning_is_said(job: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(small)], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
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


def test_only_new_checkpoints_and_the_best_are_kept(job: Path) -> None:
    write_job(job, epochs=3, checkpoints=5)
    assert train(job).returncode == 0
    kept = whole_checkpoints(job / "checkpoints")
    assert 2 <= len(kept) <= 3
    assert not list(job.rglob("*.part"))
    assert not list(job.rglob("*.bin"))
    assert not list(job.rglob("*.pt"))


def test_a_second_trainer_refuses_and_leaves_the_first_alone(job: Path) -> None:
    with held(job):
        result = train(job)
        assert result.returncode == 1
        assert "another trainer is at work here" in result.stderr
        assert json.loads((job / "pid").read_text())["pid"] == os.getpid()
        assert not (job / "exit_code").exists()
    assert train(job).returncode == 0


def test_patience_ends_a_training_that_gets_no_better(job: Path) -> None:
    write_job(job, epochs=50, patience=2, optimizer={"learning_rate": 1e-12})
    result = train(job)
    assert result.returncode == 0
    assert "enough" in result.stderr
    assert metrics(job)[-1]["step"] < 50


def test_the_adapter_is_that_of_the_best_evaluation(job: Path) -> None:
    write_job(job, epochs=4)
    assert train(job).returncode == 0
    manifest = json.loads((job / "adapter" / "manifest.json").read_text())
    evaluations = [each for each in metrics(job) if "pair_f1" in each]
    best = max(evaluations, key=lambda each: (each["pair_f1"], -each["step"]))
    assert manifest["step"] == best["step"]
    assert manifest["versions"]["torch"]


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_what_is_good(job: Path) -> None:
    write_job(job, epochs=1)
    assert train(job).returncode == 0
    good = whole_checkpoints(job / "checkpoints")[-1]
    expected = load_file(good / "adapter_model.safetensors")
    write_job(job, epochs=9, checkpoints=1, evaluations=1, optimizer={"learning_rate": 1e30, "clip": 1e30})
    result = train(job)
    assert result.returncode == 1
    assert "the loss is no number any more at step" in result.stderr.splitlines()[-1]
    assert "lower optimizer.learning_rate" in result.stderr
    assert "the last checkpoint is from before" in result.stderr
    kept = load_file(good / "adapter_model.safetensors")
    assert kept.keys() == expected.keys()
    assert all(torch.equal(value, kept[name]) for name, value in expected.items())


def test_a_loss_that_is_no_number_from_the_beginning_leaves_nothing_and_says_so(
    job: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft.__main__ import main

    write_job(job, checkpoints=1, evaluations=1, optimizer={"learning_rate": 1e30, "clip": 1e30, "warmup": 0})
    handler = signal.getsignal(signal.SIGTERM)
    assert main([str(job)]) == 1
    signal.signal(signal.SIGTERM, handler)
    assert "(--learning-rate, now 1e+30); no checkpoint was written yet" in capfd.readouterr().err.splitlines()[-1]


def test_examples_that_are_too_long_are_skipped_and_counted(job: Path) -> None:
    with (job / "train.jsonl").open("a") as file:
        file.write(line(["camp"] * 30) + "\n")
    write_job(job, longest=500, epochs=1)
    result = train(job)
    assert result.returncode == 0
    assert "train.jsonl: 1 examples are longer than 500 tokens, and skipped" in result.stderr
    assert job_status(job).skipped == 1


def test_examples_that_are_longer_than_the_context_of_the_base_are_skipped_too(
    job: Path, loaded: Base, tmp_path: Path
) -> None:
    lengths = [
        [each.length for each in read_examples(job / f"{name}.jsonl", loaded.vocabulary, longest=999).usable]
        for name in ("train", "valid")
    ]
    context = max(map(min, lengths))
    skipped = [sum(length > context for length in each) for each in lengths]
    assert all(skipped)
    write_job(job, base=str(make_model(tmp_path / "short.gguf", context=context)), epochs=1)
    result = train(job)
    assert result.returncode == 0
    assert f"train.jsonl: {skipped[0]} examples are longer than {context} tokens, and skipped" in result.stderr
    assert job_status(job).skipped == sum(skipped)


def test_a_base_whose_adapters_cannot_be_converted_is_refused_before_the_training(
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


def test_a_full_disk_costs_neither_the_adapter_nor_its_manifest(
    job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft import training

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    write_job(job, epochs=1)
    monkeypatch.setattr("models.sft.training.shutil.copytree", full)
    handler = signal.getsignal(signal.SIGTERM)
    with held(job):
        training.Training(job).run()
    signal.signal(signal.SIGTERM, handler)
    assert "which cannot be copied (No space left on device)" in capfd.readouterr().err
    assert weights(job)
    assert json.loads((job / "adapter" / "manifest.json").read_text())["base"]
    assert not (job / "adapter" / "optimizer.safetensors").exists()


def test_a_full_disk_costs_metrics_and_says_so_once(
    job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft.__main__ import main

    write_job(job, epochs=1)
    monkeypatch.setattr("models.sft.training._LOG_SECONDS", 0)
    # What cannot be opened for writing stands for what cannot be written.
    (job / "metrics.jsonl").symlink_to("/dev/full")
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("models.sft.training.forget_metrics", lambda *_, **__: None)
    assert main([str(job)]) == 0
    signal.signal(signal.SIGTERM, handler)
    assert capfd.readouterr().err.count("metrics cannot be written (No space left on device)") == 1
    assert weights(job)


def test_the_manifest_names_the_step_that_the_adapter_is_of(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.sft.training import Training

    def nearly(folder: Path, progress: Any, *rest: Any) -> Path:
        if progress.best and progress.best[1] == progress.step:
            raise OSError(28, "No space left on device")
        return save_checkpoint(folder, progress, *rest)

    # The first evaluation is the best one, and there is no room for its checkpoint.
    write_job(job, epochs=1, evaluations=2, optimizer={"learning_rate": 1e-12})
    monkeypatch.setattr("models.sft.training.save_checkpoint", nearly)
    handler = signal.getsignal(signal.SIGTERM)
    with held(job):
        Training(job).run()
    signal.signal(signal.SIGTERM, handler)
    manifest = json.loads((job / "adapter" / "manifest.json").read_text())
    [first, last] = [each["step"] for each in metrics(job) if "valid_loss" in each]
    assert manifest["step"] == manifest["steps"] == last > first


def test_where_there_is_no_room_to_say_how_a_training_ended_the_log_says_why(
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
    # The next one is killed before it says anything.
    os.utime(job / "log", (1, 1))
    assert "ended from outside" in (job_status(job).reason or "")


def test_a_stop_ends_an_evaluation_which_is_done_when_the_training_goes_on(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation sessions are lists, which are written one by one."""
    from models.sft import evaluation, training

    lists = [line(["camp", "phone"], completions=[{"answer": "1,2: kit", "end": True}]) for _ in range(4)]
    (job / "valid.jsonl").write_text("\n".join(lists) + "\n")
    write_job(job, epochs=1, evaluations=2, checkpoints=1)
    whole = tmp_path / "whole"
    shutil.copytree(job, whole)
    handler = signal.getsignal(signal.SIGTERM)
    training.Training(whole).run()
    written = evaluation._written
    beats = []

    def stopped(*arguments: Any) -> Any:
        (job / "heartbeat").unlink(missing_ok=True)
        beats.append(arguments)
        signal.raise_signal(signal.SIGTERM)
        return written(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "_written", stopped)
        with pytest.raises(training.Stopped):
            training.Training(job).run()
    assert len(beats) == 1
    assert (job / "heartbeat").exists()
    assert job_status(job).evaluations == ()
    training.Training(job).run()
    signal.signal(signal.SIGTERM, handler)
    assert all(torch.equal(value, weights(job)[name]) for name, value in weights(whole).items())
    judged = [[each for each in metrics(folder) if "valid_loss" in each] for folder in (job, whole)]
    assert judged[0] == judged[1]
    assert len(judged[0]) == 2


def test_a_trainer_beats_while_it_loads_the_base(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.sft import job_files, training

    def slow(_: str) -> Base:
        (job / "heartbeat").unlink(missing_ok=True)
        until((job / "heartbeat").exists)
        raise ModelError("loaded")

    monkeypatch.setattr(job_files, "_BEAT_SECONDS", 0.01)
    monkeypatch.setattr(training, "load_base", slow)
    with pytest.raises(ModelError, match="loaded"):
        training.Training(job)


@pytest.mark.parametrize("package", ["torch", "transformers", "peft", "accelerate"])
def test_a_trainer_without_its_packages_says_how_to_get_them(job: Path, package: str) -> None:
    program = (
        f"import runpy, sys\nsys.modules[{package!r}] = None\n"
        "runpy.run_module('models.sft', run_name='__main__', alter_sys=True)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, str(job)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert result.stderr == (
        f"models.sft: {package} is missing; "
        "install it with: pip install 'kdtui[sft]' (on a host: kdtui host setup NAME)\n"
    )
    assert (job / "exit_code").read_text() == "1\n"


@pytest.mark.parametrize("load", [load_base, load_vocabulary])
def test_a_base_that_nothing_is_there_to_load_with_is_one_sentence(
    base: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[[str], object]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"transformers is missing; install it with: pip install 'kdtui\[sft\]'"):
        load(str(base))


def test_a_base_without_a_chat_template_is_trained_on_paragraphs_and_that_is_said(job: Path, tmp_path: Path) -> None:
    write_job(job, base=str(make_model(tmp_path / "plain.gguf", template=None)), epochs=1)
    result = train(job)
    assert result.returncode == 0, result.stderr
    assert "the base has no chat template" in result.stderr
    assert weights(job)


def test_a_tokenizer_that_ends_no_answer_is_one_sentence(
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
    "this is no JSON": lambda job: (job / "job.json").write_text("{"),
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
    "no example that can be used": lambda job: (job / "train.jsonl").write_text(""),
    "longer than 5 tokens": lambda job: write_job(job, longest=5),
    "a line is no JSON": lambda job: (job / "train.jsonl").write_text("{]"),
    "line 1: this is no example": lambda job: (job / "train.jsonl").write_text('{"session": "1"}'),
    "an answer is empty": lambda job: (job / "train.jsonl").write_text(line(["camp"], completions=[{"answer": ""}])),
    "there are no completions": lambda job: (job / "train.jsonl").write_text(line(["camp"], completions=[])),
}


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


@pytest.mark.parametrize("message", DAMAGES)
def test_what_is_wrong_is_one_sentence(job: Path, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    from models.sft.__main__ import main

    DAMAGES[message](job)
    assert main([str(job)]) == 1
    said = capfd.readouterr().err
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said
    assert (job / "exit_code").read_text() == "1\n"


def test_a_damaged_checkpoint_is_named(job: Path) -> None:
    write_job(job, epochs=1)
    assert train(job).returncode == 0
    newest = whole_checkpoints(job / "checkpoints")[-1]
    os.truncate(newest / "optimizer.safetensors", 100)
    result = train(job)
    assert result.returncode == 1
    assert str(newest) in result.stderr.splitlines()[-1]
    assert "delete it" in result.stderr


def test_computing_activations_twice_changes_nothing_else(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = 0
    really_forward = LlamaMLP.forward

    def forward(self: LlamaMLP, hidden: torch.Tensor) -> torch.Tensor:
        nonlocal computed
        # Not for an evaluation, nor where there is nothing to go back from.
        computed += torch.is_grad_enabled()
        result: torch.Tensor = really_forward(self, hidden)
        return result

    monkeypatch.setattr(LlamaMLP, "forward", forward)
    write_job(job, epochs=1, evaluations=1, optimizer={"learning_rate": 1e-3})
    saving = tmp_path / "saving"
    shutil.copytree(job, saving)
    write_job(saving, recompute=True)
    assert train(job).returncode == 0
    once, computed = computed, 0
    assert train(saving).returncode == 0
    assert computed == 2 * once > 0
    usual, other = (
        [each["valid_loss"] for each in metrics(folder) if "valid_loss" in each] for folder in (job, saving)
    )
    assert other == pytest.approx(usual, rel=1e-4)


def test_sixteen_bits_train_too(job: Path) -> None:
    write_job(job, epochs=20, precision="bfloat16", optimizer={"learning_rate": 0.003})
    # What a process computes in, Accelerate keeps to its end.
    command = [sys.executable, "-m", "models.sft", str(job)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr, "libraries warn those who call them, and this is a log"
    assert all(value.dtype == torch.float32 for value in weights(job).values())
    losses = [each["valid_loss"] for each in metrics(job) if "valid_loss" in each]
    assert losses[-1] < losses[0] / 3


def test_a_full_memory_says_which_setting_to_lower(
    job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from models.sft.__main__ import main

    monkeypatch.setattr("models.sft.training.load_base", lambda _: torch.empty(2**60))
    assert main([str(job)]) == 1
    assert "out of memory; lower batch_tokens" in capfd.readouterr().err.splitlines()[-1]
    assert (job / "exit_code").read_text() == "1\n"


def test_a_trainer_needs_none_of_what_the_rest_of_kdtui_needs(job: Path, base: Path) -> None:
    """It travels to hosts that have torch, transformers, peft, accelerate and safetensors."""
    write_job(job, base=str(as_folder(base, job / "base")), epochs=1)
    missing = ["kdtui", "store", "llama_cpp", "msgspec", "sqlite_utils", "typer", "rich", "textual", "openai", "gguf"]
    program = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({missing}))\n"
        "runpy.run_module('models.sft', run_name='__main__', alter_sys=True)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, str(job)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    # What is to be known for the conversion has come with it.
    convert(job / "adapter", job / "adapter", job / "adapter.gguf")


def test_no_job_is_wrong_usage() -> None:
    assert subprocess.run([sys.executable, "-m", "models.sft"], capture_output=True).returncode == 2


def test_training_reads_what_a_student_is_asked(base: Path, loaded: Base) -> None:
    model = LlamaModel(base)
    texts = ["1. camping kit\n2. phone", "<|im_end|> is text", "wörter 漢字 123", "1,3?", " yes", "\n"]
    for text in texts:
        messages = [SYSTEM, Message("user", text)]
        assert ChatTokenizer(loaded.vocabulary).prompt(messages) == ChatTokenizer(model).prompt(messages)
        assert loaded.vocabulary.tokenize(text) == model.tokenize(text)
    assert ChatTokenizer(loaded.vocabulary).end == ChatTokenizer(model).end
    model.close()


def examples_strategy(size: int) -> st.SearchStrategy[list[Example]]:
    tokens = st.lists(st.integers(3, size - 1), min_size=1, max_size=6).map(tuple)
    branch = tokens.flatmap(lambda t: st.integers(1, len(t)).map(lambda learned: Branch(t, learned, None)))
    example = st.builds(
        Example,
        session=st.just("s"),
        epoch=st.none(),
        prompt=tokens,
        branches=st.lists(branch, min_size=1, max_size=4).map(tuple),
        bundles=st.none(),
    )
    return st.lists(example, min_size=1, max_size=4)


def tiny_config(architecture: str) -> PretrainedConfig:
    """A model of each architecture that can be trained; those with a sliding window see few tokens at a time."""
    sizes: dict[str, Any] = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "head_dim": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
    }
    windows = {"mistral": {"sliding_window": 4}, "gemma3_text": {"sliding_window": 4, "sliding_window_pattern": 2}}
    return AutoConfig.for_model(architecture, **sizes, **windows.get(architecture, {}))


@pytest.fixture(scope="module", params=["llama", "mistral", "qwen2", "qwen3", "gemma3_text"])
def any_model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(tiny_config(request.param)).float().eval()
    for weights in model.parameters():
        # Larger than they begin with, so that what is seen makes a difference.
        weights.data *= 4 if weights.ndim > 1 else 1
    return model


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_branches_on_a_shared_prompt_lose_as_much_as_one_by_one(
    any_model: PreTrainedModel, data: st.DataObject
) -> None:
    found = data.draw(examples_strategy(300))
    objective = Objective(any_model)
    with torch.no_grad():
        together = float(objective(collate(found)))
        alone = 0.0
        for example in found:
            for branch in example.branches:
                tokens = torch.tensor([[*example.prompt, *branch.tokens]])
                logits = any_model(input_ids=tokens).logits[0].log_softmax(-1)
                for at in range(tokens.shape[1] - branch.learned, tokens.shape[1]):
                    alone -= float(logits[at - 1, tokens[0, at]])
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-3)


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=60), tokens=st.integers(1, 1000))
def test_batches_keep_to_the_tokens_and_lose_no_example(lengths: list[int], tokens: int) -> None:
    examples = [
        Example(str(number), None, (5,) * length, (Branch((5,), 1, None),), None)
        for number, length in enumerate(lengths)
    ]
    found = batches(examples, tokens)
    assert sorted(each.session for batch in found for each in batch) == sorted(each.session for each in examples)
    for batch in found:
        assert len(batch) == 1 or max(each.length for each in batch) * len(batch) <= tokens


def test_a_list_is_judged_by_what_is_written(loaded: Base, tmp_path: Path) -> None:
    path = tmp_path / "valid.jsonl"
    path.write_text(line(["camp", "camp"], completions=[{"answer": "1,2: kit", "end": True}]) + "\n")
    examples = read_examples(path, loaded.vocabulary, longest=999).usable
    found = evaluate(Objective(loaded.model), examples, loaded.vocabulary, 999, torch.device("cpu"))
    assert found.pair_f1 is not None
    assert 0 <= found.pair_f1 <= 1


def test_a_student_that_gets_every_pair_wrong_has_a_pair_f1_of_nothing(loaded: Base, tmp_path: Path) -> None:
    path = tmp_path / "valid.jsonl"
    path.write_text(line(["camp", "camp"], bundles=[[1, 3]]) + "\n")
    examples = read_examples(path, loaded.vocabulary, longest=999).usable
    found = evaluate(Objective(loaded.model), examples, loaded.vocabulary, 999, torch.device("cpu"))
    assert found.pair_f1 == found.value == 0


def test_two_processes_train_as_one_does(job: Path, tmp_path: Path) -> None:
    """The gradient is that of all batches, however many processes share them."""
    write_job(job, epochs=1, evaluations=1, optimizer={"learning_rate": 0.001, "accumulate": 2})
    alone = tmp_path / "alone"
    shutil.copytree(job, alone)
    assert train(alone).returncode == 0
    write_job(job, optimizer={"learning_rate": 0.001, "accumulate": 1})
    launched = subprocess.run(on_two_processes(job), capture_output=True, text=True, timeout=300, check=False)
    assert launched.returncode == 0, launched.stderr
    one, two = ([each for each in metrics(folder) if "valid_loss" in each] for folder in (alone, job))
    assert [each["step"] for each in one] == [each["step"] for each in two]
    assert two[0]["valid_loss"] == pytest.approx(one[0]["valid_loss"], rel=1e-2)
    learned, shared = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (alone, job))
    # These begin as zeros: all that is in them was learned.
    changed = [name for name in learned if "lora_B" in name]
    total = sum(float(learned[name].square().sum()) for name in changed)
    apart = sum(float((learned[name] - shared[name]).square().sum()) for name in changed)
    assert total > 0
    assert apart < 1e-6 * total


def test_accelerate_launches_it_unchanged(job: Path) -> None:
    """On processors it starts one process; on GPUs one for each, as torchrun does."""
    write_job(job, epochs=1, evaluations=1)
    where = ["--cpu", "--num_processes", "1", "--num_machines", "1"]
    how = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *where, *how, "-m", "models.sft", str(job)]
    launched = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert launched.returncode == 0, launched.stderr
    assert (job / "adapter" / "adapter_model.safetensors").exists()
    assert job_status(job).state == "done"


def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine() -> None:
    from models.sft.training import Training

    training = Training.__new__(Training)
    training._job = Job("base", optimizer=Optimizer(learning_rate=2.0, warmup=0.1))
    rates = [training._rate(step, 110) for step in range(110)]
    assert rates[:11] == pytest.approx([2 * number / 12 for number in range(1, 12)])
    assert rates[11] == pytest.approx(2)
    assert training._rate(60, 109) == pytest.approx(1, rel=0.02)
    assert rates[11:] == sorted(rates[11:], reverse=True)
    assert 0 < rates[-1] < 0.002


def test_a_job_is_read_with_its_defaults(job: Path) -> None:
    found = read_job(job / "job.json")
    assert (found.epochs, found.lora.rank, found.optimizer.learning_rate) == (2, 16, 0.01)


def test_an_id_on_the_hub_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"transformers cannot load this base"):
        load_base("nobody/nothing-at-all")
