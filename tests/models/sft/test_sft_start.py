"""Trainings that continue an adapter: they start with its weights, and keep answers from before and after."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from models.adapters.peft_settings import MANIFEST
from models.errors import ModelError
from models.sft.base import load_base
from models.sft.examples import read_examples
from models.sft.job_files import START
from models.sft.start import copy_start, start_config
from models.sft.training import Trainer
from tests.support.tiny import make_model
from tests.support.tiny_job import train, weights, write_job

TOKENS = torch.arange(3, 40)[None]


def source(base: Path, folder: Path, **settings: Any) -> Path:
    """Write an adapter with random weights in the format of PEFT."""
    torch.manual_seed(3)
    options = {"r": 4, "lora_alpha": 12, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}
    model = get_peft_model(load_base(str(base)).model, LoraConfig(**(options | settings)))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


def begin_from(job: Path, adapter: Path, **changes: Any) -> None:
    shutil.rmtree(job / START, ignore_errors=True)
    write_job(job, start={"name": "source", "sha256": copy_start(adapter, job)}, **changes)


def logits(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS).logits
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"up_proj": 3}},
        {"layers_to_transform": [1]},
        {"target_modules": r".*\.layers\.0\.self_attn\.(q|v)_proj"},
    ],
)
def test_before_the_first_step_the_logits_equal_those_of_the_source(
    job: Path, base: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = source(base, tmp_path / "source", **settings)
    begin_from(job, adapter)
    wanted = logits(PeftModel.from_pretrained(load_base(str(base)).model, str(adapter)))
    found = logits(Trainer(job)._model)
    assert float((found - wanted).abs().max()) < 1e-5
    assert float((found - logits(load_base(str(base)).model)).abs().max()) > 1e-2


def test_a_continued_training_keeps_answers_from_before_and_after(job: Path, base: Path, tmp_path: Path) -> None:
    write_job(job)
    assert train(job).returncode == 0
    at_its_end = answers_of(job)
    first = shutil.copytree(job / "adapter", tmp_path / "first")
    for name in ("checkpoints", "adapter"):
        shutil.rmtree(job / name)
    begin_from(job, first, epochs=1)
    # Later changes of the source have no effect.
    shutil.rmtree(first)
    result = train(job)
    assert result.returncode == 0, result.stderr
    assert "beginning from source" in result.stderr
    assert any(not torch.equal(weights(job)[name], value) for name, value in torch_load(job / START).items()), (
        "it has learned"
    )
    answers = answers_of(job)
    examples = [json.loads(line) for line in (job / "valid.jsonl").read_text().splitlines()]
    assert [each["session"] for each in answers] == [each["session"] for each in examples]
    for each, example in zip(answers, examples, strict=True):
        asked = [completion["pair"] for completion in example["completions"] if "pair" in completion]
        assert [pair[:2] for pair in each["before"]["pairs"]] == asked
    for each, known in zip(answers, at_its_end, strict=True):
        for (*_, score), (*_, wanted) in zip(each["before"]["pairs"], known["after"]["pairs"], strict=True):
            assert score == pytest.approx(wanted, abs=1e-4), "it began with what its source said at its end"
        assert each["before"]["loss"] == pytest.approx(known["after"]["loss"], abs=1e-4)
    best = json.loads((job / "adapter" / MANIFEST).read_text())["step"]
    metrics = [json.loads(line) for line in (job / "metrics.jsonl").read_text().splitlines()]
    [of_best] = [line["valid_loss"] for line in metrics if line["step"] == best and "valid_loss" in line]
    valid = read_examples(job / "valid.jsonl", load_base(str(base)).vocabulary, longest=4096)
    learned = [each.learned for each in valid.usable]
    total = sum(each["after"]["loss"] * tokens for each, tokens in zip(answers, learned, strict=True))
    assert total / sum(learned) == pytest.approx(of_best, abs=1e-4), "the loss of its evaluation"


def answers_of(job: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (job / "adapter" / "answers.jsonl").read_text().splitlines()]


def torch_load(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(folder / "adapter_model.safetensors")
    return found


def test_without_a_source_the_earlier_answers_are_those_of_the_base(job: Path) -> None:
    write_job(job, epochs=1)
    assert train(job).returncode == 0
    line = answers_of(job)[0]
    assert line["before"] != line["after"]
    shutil.rmtree(job / "adapter")
    shutil.rmtree(job / "checkpoints")
    write_job(job, epochs=1, optimizer={"learning_rate": 1e-9})
    assert train(job).returncode == 0
    other = answers_of(job)[0]
    for (a, b, one), (c, d, two) in zip(line["before"]["pairs"], other["after"]["pairs"], strict=True):
        assert (a, b) == (c, d)
        assert one == pytest.approx(two, abs=1e-3)


def test_changed_source_weights_are_refused(job: Path, base: Path, tmp_path: Path) -> None:
    begin_from(job, source(base, tmp_path / "source"))
    shutil.copy(
        source(base, tmp_path / "other", r=2) / "adapter_model.safetensors", job / START / "adapter_model.safetensors"
    )
    result = train(job)
    assert result.returncode == 1
    assert "these are not the weights of source that this training was made with" in result.stderr


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(job: Path, base: Path, tmp_path: Path, file: str) -> None:
    adapter = source(base, tmp_path / "source")
    begin_from(job, adapter)
    (job / START / file).unlink()
    result = train(job)
    assert result.returncode == 1
    assert file in result.stderr.splitlines()[-1]
    (adapter / file).unlink()
    with pytest.raises(ModelError, match=f"{file} is missing"):
        start_config(adapter)


def test_weights_for_another_base_are_refused(job: Path, tmp_path: Path) -> None:
    begin_from(job, source(make_model(tmp_path / "wide.gguf", width=128), tmp_path / "source"))
    result = train(job)
    assert result.returncode == 1
    assert "these weights have other sizes than those of the base" in result.stderr


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"bias": "lora_only"}])
def test_an_adapter_that_gguf_cannot_hold_is_not_continued(
    base: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = source(base, tmp_path / "source", **settings)
    with pytest.raises(ModelError, match=f"cannot hold {next(iter(settings))}"):
        start_config(adapter)
