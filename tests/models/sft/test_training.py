"""The trainer with tiny models: it learns its examples, and a student answers with the result."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaMLP

from models.adapters.conversion import convert
from models.chat import ChatTokenizer
from models.errors import ModelError
from models.llama.model import LlamaModel
from models.llama.strategies import make_strategy
from models.llama.student import Student
from models.messages import Message
from models.sft.base import Base, load_base
from models.sft.checkpoints import whole_checkpoints
from models.sft.evaluation import evaluate_model
from models.sft.examples import Example, ExampleBranch, batches, read_examples
from models.sft.job import Optimizer, read_job
from models.sft.objective import Batch, Objective, collate
from models.sft.state import job_status
from models.student_protocol import Adapter, Answered, SessionTask
from tests.support.tiny import make_model
from tests.support.tiny_job import (
    SYSTEM,
    as_folder,
    difference,
    line,
    metrics,
    on_two_processes,
    train,
    weights,
    write_job,
)
from tests.support.waiting import until


def test_the_file_of_a_base_is_parsed_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    really = gguf.GGUFReader.__init__

    def counted(self: gguf.GGUFReader, path: Path, *arguments: Any) -> None:
        parsed.append(Path(path).name)
        really(self, path, *arguments)

    monkeypatch.setattr(gguf.GGUFReader, "__init__", counted)
    loaded = [load_base(str(base)) for _ in range(2)]
    # Parsed again the next time, because the file can be another one then.
    assert parsed == ["base.gguf"] * 2
    assert all(
        torch.equal(one, other)
        for one, other in zip(*(each.model.state_dict().values() for each in loaded), strict=True)
    )


def test_lists_of_different_lengths_need_no_mask(loaded: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    # With a mask the fastest attention kernels cannot be used.
    really, masks = functional.scaled_dot_product_attention, []

    def noted(q: Any, k: Any, v: Any, *, attn_mask: torch.Tensor | None = None, **named: Any) -> torch.Tensor:
        masks.append(attn_mask)
        return really(q, k, v, attn_mask=attn_mask, **named)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    examples = [Example("s", None, (1,) * length, (ExampleBranch((2, 3), 2, None),), None) for length in (3, 7)]
    together = Objective(loaded.model)(collate(examples))
    assert masks
    assert set(masks) == {None}
    alone = [Objective(loaded.model)(collate([example])) for example in examples]
    assert float(together) == pytest.approx(float(sum(alone)), rel=1e-5)


@pytest.mark.slow
def test_a_trained_adapter_answers_in_llama_cpp(job: Path, base: Path) -> None:
    write_job(job, epochs=20, optimizer={"learning_rate": 0.003})
    result = train(job)
    assert result.returncode == 0, result.stderr
    found = metrics(job)
    evaluations = [each for each in found if "pair_f1" in each]
    assert len(evaluations) == 40
    assert max(each["pair_f1"] for each in evaluations) > 0.95
    assert (job / "exit_code").read_text() == "0\n"
    # Each of these can take long, so the log says what is running.
    begins = ["importing torch and transformers", f"loading {base.name}", "reading the examples"]
    assert [line for line in result.stderr.splitlines() if line in begins] == begins
    last = [each for each in found if "loss" in each][-1]
    assert last["step"] == last["steps"]
    assert last["peak_memory_bytes"] > 1e8
    convert(job / "adapter", base, job / "adapter.gguf")
    from models.pairs.calibration import UNCALIBRATED, Calibration, PairCalibration

    strategy = make_strategy("pairs", Calibration(UNCALIBRATED, PairCalibration(0.0, 1.0, 0.0, 0.0, 0.5)))

    def ask(_: object, order: Any) -> list[Message]:
        words = ["phone", "phone", "camp", "camp"]
        return [SYSTEM, Message("user", "\n".join(f"{n}. {words[at - 1]}" for n, at in enumerate(order, start=1)))]

    with Student(base) as student:
        [answer] = [
            event
            for event in student.answer([SessionTask("s", 4, ask, (Adapter(job / "adapter.gguf"),))], strategy)
            if isinstance(event, Answered)
        ]
    assert sorted(bundle.positions for bundle in answer.bundles) == [(1, 3), (2, 4)]


def test_the_adapter_depends_only_on_the_seed(job: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        shutil.rmtree(job / "checkpoints", ignore_errors=True)
        write_job(job, seed=seed, epochs=1)
        assert train(job).returncode == 0
        found.append(weights(job))
    key = next(iter(found[0]))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not torch.equal(found[0][key], found[2][key])


def test_only_new_checkpoints_and_the_best_are_kept(job: Path) -> None:
    write_job(job, epochs=3, checkpoints=5)
    assert train(job).returncode == 0
    kept = whole_checkpoints(job / "checkpoints")
    assert 2 <= len(kept) <= 3
    assert not list(job.rglob("*.part"))
    assert not list(job.rglob("*.bin"))
    assert not list(job.rglob("*.pt"))


def test_patience_stops_a_training_without_improvement(job: Path) -> None:
    write_job(job, epochs=50, patience=2, optimizer={"learning_rate": 1e-12})
    result = train(job)
    assert result.returncode == 0
    assert "stopping early" in result.stderr
    assert metrics(job)[-1]["step"] < 50


def test_a_training_that_lost_patience_does_not_train_on_when_it_resumes(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped after its last step, while it answers the validation examples."""
    from models.sft import training

    write_job(job, epochs=50, patience=2, optimizer={"learning_rate": 1e-12})

    def stopped(*_: Any, between: Callable[[], object], **__: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        between()

    with monkeypatch.context() as patched:
        patched.setattr(training, "answer_examples", stopped)
        assert train(job).returncode == 143
    trained = whole_checkpoints(job / "checkpoints")[-1]
    assert train(job).returncode == 0
    assert whole_checkpoints(job / "checkpoints")[-1] == trained


@pytest.mark.parametrize(("answers", "passes"), [(True, 2), (False, 0)])
def test_at_the_last_step_the_time_left_is_that_of_the_answers_at_the_end(
    job: Path, answers: bool, passes: int
) -> None:
    write_job(job, epochs=1, evaluations=2, answers=answers)
    assert train(job).returncode == 0
    found = metrics(job)
    last = max(at for at, each in enumerate(found) if "loss" in each)
    [evaluation] = [each["valid_seconds"] for each in found[:last] if "valid_seconds" in each]
    assert found[last]["eta_seconds"] == pytest.approx(passes * evaluation)


def test_the_adapter_comes_from_the_best_evaluation(job: Path) -> None:
    write_job(job, epochs=4)
    assert train(job).returncode == 0
    manifest = json.loads((job / "adapter" / "manifest.json").read_text())
    evaluations = [each for each in metrics(job) if "pair_f1" in each]
    best = max(evaluations, key=lambda each: (each["pair_f1"], -each["valid_loss"]))
    assert manifest["step"] == best["step"]
    assert manifest["versions"]["torch"]


def test_a_checkpoint_of_an_older_version_is_read(job: Path) -> None:
    write_job(job, epochs=1)
    assert train(job).returncode == 0
    state = whole_checkpoints(job / "checkpoints")[-1] / "state.json"
    content = json.loads(state.read_text())
    value, _, step = content["best"]
    state.write_text(json.dumps({**content, "best": [value, step]}))
    shutil.rmtree(job / "adapter")
    assert train(job).returncode == 0
    assert json.loads((job / "adapter" / "manifest.json").read_text())["step"] == step


def test_examples_that_are_too_long_are_skipped_and_counted(job: Path) -> None:
    with (job / "train.jsonl").open("a") as file:
        file.write(line(["camp"] * 30) + "\n")
    write_job(job, longest=500, epochs=1)
    result = train(job)
    assert result.returncode == 0
    assert "train.jsonl: 1 examples are longer than 500 tokens and are skipped" in result.stderr
    assert job_status(job).skipped == 1


def test_examples_longer_than_the_context_of_the_base_are_skipped_too(job: Path, loaded: Base, tmp_path: Path) -> None:
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
    assert f"train.jsonl: {skipped[0]} examples are longer than {context} tokens and are skipped" in result.stderr
    assert job_status(job).skipped == sum(skipped)


def test_a_trainer_writes_heartbeats_while_it_loads_the_base(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.sft import job_files, training

    def slow(_: str) -> Base:
        (job / "heartbeat").unlink(missing_ok=True)
        until((job / "heartbeat").exists)
        raise ModelError("loaded")

    monkeypatch.setattr(job_files, "_BEAT_SECONDS", 0.01)
    monkeypatch.setattr(training, "load_base", slow)
    with pytest.raises(ModelError, match="loaded"):
        training.Trainer(job)


def test_a_base_without_a_chat_template_is_trained_on_paragraphs_with_a_note(job: Path, tmp_path: Path) -> None:
    write_job(job, base=str(make_model(tmp_path / "plain.gguf", template=None)), epochs=1)
    result = train(job)
    assert result.returncode == 0, result.stderr
    assert "the base has no chat template" in result.stderr
    assert weights(job)


def test_steps_after_an_evaluation_are_in_training_mode(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise dropout and recomputation would be off from then on, without any other sign.
    modes = []
    forward = Objective.forward

    def noted(self: Objective, batch: Batch) -> torch.Tensor:
        modes.append(all(module.training for module in self.modules()))
        return forward(self, batch)

    monkeypatch.setattr(Objective, "forward", noted)
    assert train(job).returncode == 0
    judged = [each["step"] for each in metrics(job) if "valid_loss" in each]
    assert judged[0] < len(modes)
    assert all(modes)
    # Its plans for each shape of a batch would take longer than the steps on a GPU.
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_computing_activations_twice_changes_nothing_else(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = 0
    really_forward = LlamaMLP.forward

    def forward(self: LlamaMLP, hidden: torch.Tensor) -> torch.Tensor:
        nonlocal computed
        # Not in an evaluation, which has no backward pass.
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


@pytest.mark.slow
def test_16_bits_train_too(job: Path) -> None:
    # The warm-up is long, so the first evaluation comes before much is learned.
    optimizer = {"learning_rate": 0.01, "warmup": 0.5}
    write_job(job, epochs=3, checkpoints=1, precision="bfloat16", optimizer=optimizer)
    # Accelerate keeps the precision until the process ends.
    command = [sys.executable, "-m", "models.sft", str(job)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr, "libraries warn those who call them, and this is a log"
    assert all(value.dtype == torch.float32 for value in weights(job).values())
    losses = [each["valid_loss"] for each in metrics(job) if "valid_loss" in each]
    assert losses[-1] < losses[0] / 5


@pytest.mark.slow
def test_a_trainer_needs_only_its_own_packages(job: Path, base: Path) -> None:
    """It is sent to hosts with only torch, transformers, peft, accelerate and safetensors."""
    write_job(job, base=str(as_folder(base, job / "base")), epochs=1)
    missing = ["kdtui", "store", "llama_cpp", "msgspec", "sqlite_utils", "typer", "rich", "textual", "openai", "gguf"]
    program = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({missing}))\n"
        "runpy.run_module('models.sft', run_name='__main__', alter_sys=True)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, str(job)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    # The adapter has what its conversion needs.
    convert(job / "adapter", job / "adapter", job / "adapter.gguf")


def test_training_prompts_equal_those_of_a_student(base: Path, loaded: Base) -> None:
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
    branch = tokens.flatmap(lambda t: st.integers(1, len(t)).map(lambda learned: ExampleBranch(t, learned, None)))
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
    """Return a tiny configuration of each trainable architecture; a sliding window is a few tokens."""
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
    for each in model.parameters():
        # Larger than the initial values, so that attention makes a difference.
        each.data *= 4 if each.ndim > 1 else 1
    return model


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_branches_of_a_shared_prompt_have_the_same_loss_as_separate_ones(
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
def test_batches_respect_the_token_limit_and_have_all_examples(lengths: list[int], tokens: int) -> None:
    examples = [
        Example(str(number), None, (5,) * length, (ExampleBranch((5,), 1, None),), None)
        for number, length in enumerate(lengths)
    ]
    found = batches(examples, tokens)
    assert sorted(each.session for batch in found for each in batch) == sorted(each.session for each in examples)
    for batch in found:
        assert len(batch) == 1 or max(each.length for each in batch) * len(batch) <= tokens


def test_a_list_is_scored_by_the_greedy_answer(loaded: Base, tmp_path: Path) -> None:
    path = tmp_path / "valid.jsonl"
    path.write_text(line(["camp", "camp"], completions=[{"answer": "1,2: kit", "end": True}]) + "\n")
    examples = read_examples(path, loaded.vocabulary, longest=999).usable
    found = evaluate_model(Objective(loaded.model), examples, loaded.vocabulary, 999, torch.device("cpu"))
    assert found.pair_f1 is not None
    assert 0 <= found.pair_f1 <= 1


def test_a_student_with_every_pair_wrong_has_a_pair_f1_of_zero(loaded: Base, tmp_path: Path) -> None:
    path = tmp_path / "valid.jsonl"
    path.write_text(line(["camp", "camp"], bundles=[[1, 3]]) + "\n")
    examples = read_examples(path, loaded.vocabulary, longest=999).usable
    found = evaluate_model(Objective(loaded.model), examples, loaded.vocabulary, 999, torch.device("cpu"))
    assert found.pair_f1 == found.value == 0


@pytest.mark.slow
def test_two_processes_train_like_one(job: Path, tmp_path: Path) -> None:
    """The gradient is that of all batches, with any number of processes."""
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
    assert difference(job, alone) < 1e-6


@pytest.mark.slow
def test_accelerate_launches_it_unchanged(job: Path) -> None:
    """On processors Accelerate starts one process; on GPUs one for each, like torchrun."""
    write_job(job, epochs=1, evaluations=1)
    where = ["--cpu", "--num_processes", "1", "--num_machines", "1"]
    how = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *where, *how, "-m", "models.sft", str(job)]
    launched = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert launched.returncode == 0, launched.stderr
    assert (job / "adapter" / "adapter_model.safetensors").exists()
    assert job_status(job).state == "done"


def test_the_learning_rate_rises_linearly_and_falls_in_half_a_cosine() -> None:
    optimizer = Optimizer(learning_rate=2.0, warmup=0.1)
    rates = [optimizer.rate_at(step, 110) for step in range(110)]
    assert rates[:11] == pytest.approx([2 * number / 12 for number in range(1, 12)])
    assert rates[11] == pytest.approx(2)
    assert optimizer.rate_at(60, 109) == pytest.approx(1, rel=0.02)
    assert rates[11:] == sorted(rates[11:], reverse=True)
    assert 0 < rates[-1] < 0.002


def test_a_job_is_read_with_its_defaults(job: Path) -> None:
    found = read_job(job / "job.json")
    assert (found.epochs, found.lora.rank, found.optimizer.learning_rate) == (2, 16, 0.01)
