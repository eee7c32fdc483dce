"""Conversion of PEFT adapters: same logits in llama.cpp, and unsupported settings are refused by name."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGUFReader
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import MistralForCausalLM

from models.adapters.base_shape import base_shape
from models.adapters.conversion import MANIFEST_KEY, convert
from models.adapters.deltas import scale_of
from models.adapters.peft_settings import CONFIG, MANIFEST, WEIGHTS, check_fits_gguf
from models.embedded import embedded_student
from models.errors import ModelError
from models.llama.quantization import quantize_file
from tests.support.logits import LINEAR, full_precision, llama_logits, peft_logits, some_tokens, train_by_chance
from tests.support.tiny import make_model


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "qwen3", "gemma3"])
def test_a_converted_adapter_has_the_same_logits_in_llama_cpp(tmp_path: Path, architecture: str) -> None:
    base = make_model(tmp_path / "base.gguf", architecture="llama" if architecture == "mistral" else architecture)
    model = full_precision(base)
    if architecture == "mistral":
        fields = {k: v for k, v in model.config.to_dict().items() if k not in ("model_type", "architectures")}
        other = MistralForCausalLM(MistralForCausalLM.config_class(**fields, sliding_window=None))
        other.load_state_dict(model.state_dict())
        model = other.eval()
    if architecture == "gemma3":
        # GGUF does not store it: llama.cpp uses the default, and transformers the value of a large model.
        for layer in model.model.layers:
            layer.self_attn.scaling = layer.self_attn.head_dim**-0.5
    tokens = some_tokens(model.config.vocab_size)
    plain = llama_logits(base, None, tokens)
    # llama.cpp looks up GELU, which only gemma3 has, in a table of 16-bit numbers.
    tolerance = 3e-3 if architecture == "gemma3" else 1e-3
    assert np.abs(peft_logits(model, tokens) - plain).max() < tolerance
    adapted = train_by_chance(model)
    adapted.save_pretrained(tmp_path / "adapter")
    convert(tmp_path / "adapter", base, tmp_path / "adapter.gguf")
    changed = llama_logits(base, tmp_path / "adapter.gguf", tokens)
    assert np.abs(peft_logits(adapted, tokens) - changed).max() < tolerance
    assert np.abs(changed - plain).max() > 0.1, "the adapter does something"


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"v_proj": 3, "layers.0.mlp.up_proj": 12}},
        {"rank_pattern": {"k_proj": 2}, "use_rslora": True},
        {"alpha_pattern": {r"layers\.0\..*\.[qk]_proj": 12, "^model.layers.1.mlp.up_proj": 3, "proj": 50}},
        {"layers_to_transform": [1]},
        {"target_modules": ["q_proj"]},
    ],
    ids=["rsLoRA", "patterns", "both", "regular expressions", "one layer", "one target"],
)
def test_every_scaling_and_choice_of_weights_is_kept(tmp_path: Path, settings: dict[str, Any]) -> None:
    base = make_model(tmp_path / "base.gguf")
    adapted = train_by_chance(full_precision(base), **settings)
    adapted.save_pretrained(tmp_path / "adapter")
    convert(tmp_path / "adapter", base, tmp_path / "adapter.gguf")
    tokens = some_tokens(adapted.config.vocab_size)
    changed = llama_logits(base, tmp_path / "adapter.gguf", tokens)
    assert np.abs(peft_logits(adapted, tokens) - changed).max() < 1e-3


def test_16_bit_weights_stay_16_bit(tmp_path: Path) -> None:
    base = make_model(tmp_path / "base.gguf")
    adapted = train_by_chance(full_precision(base))
    adapted.save_pretrained(tmp_path / "adapter")
    weights = load_file(tmp_path / "adapter" / WEIGHTS)
    for name, kind in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        save_file({key: value.to(kind) for key, value in weights.items()}, tmp_path / "adapter" / WEIGHTS)
        convert(tmp_path / "adapter", base, tmp_path / f"{name}.gguf")
        key = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
        [tensor] = [
            each for each in GGUFReader(tmp_path / f"{name}.gguf").tensors if each.name == "blk.0.ffn_up.weight.lora_a"
        ]
        assert np.array_equal(tensor.data, weights[key].to(kind).float().numpy())


@pytest.mark.slow
def test_the_embedded_student_has_the_same_logits_with_a_converted_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # transformers parses the large vocabulary twice, and makes the table of names for each module.
    for name in ("GGUFReader", "get_tensor_name_map"):
        monkeypatch.setattr(gguf, name, cache(getattr(gguf, name)))
    base = tmp_path / "student.gguf"
    quantize_file(embedded_student(), base, "F32", 2)
    adapted = train_by_chance(full_precision(base))
    adapted.save_pretrained(tmp_path / "adapter")
    convert(tmp_path / "adapter", embedded_student(), tmp_path / "adapter.gguf")
    tokens = some_tokens(adapted.config.vocab_size)
    there = peft_logits(adapted, tokens)
    assert np.abs(there - llama_logits(base, tmp_path / "adapter.gguf", tokens)).max() < 1e-3
    assert np.abs(there - llama_logits(base, None, tokens)).max() > 0.1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "all"}, "bias='all'"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save=['lm_head']"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices=[1]"),
        ({"target_modules": ["q_proj", "lm_head"]}, "changes of lm_head"),
        ({"target_modules": ["model.embed_tokens"]}, "changes of embed_tokens"),
        ({"peft_type": "LOHA"}, "not LOHA"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights='pissa_niter_16'"),
        ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
        ({"init_lora_weights": "corda"}, "init_lora_weights='corda'"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights='loftq'"),
        ({"init_lora_weights": "lora_ga"}, "init_lora_weights='lora_ga'"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens=[1, 2]"),
        ({"kasa_config": {"beta": 1}}, "kasa_config={'beta': 1}"),
        ({"use_bdlora": {"nblocks": 2}}, "use_bdlora={'nblocks': 2}"),
        ({"of_another_version": 1}, "of_another_version=1"),
    ],
)
def test_settings_that_gguf_cannot_hold_are_refused_by_name_before_training(
    settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ModelError, match=r"GGUF adapter cannot hold|knows only LoRA") as refused:
        check_fits_gguf({"peft_type": "LORA", "r": 4, "lora_alpha": 4, **settings})
    assert named in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": False},
        {"init_lora_weights": "orthogonal"},
        {"use_rslora": True, "lora_dropout": 0.1, "rank_pattern": {"q_proj": 2}, "exclude_modules": ["k_proj"]},
        {"layers_to_transform": [0], "layers_pattern": "layers"},
    ],
)
def test_all_settings_of_a_plain_peft_adapter_are_accepted(settings: dict[str, Any]) -> None:
    check_fits_gguf(LoraConfig(target_modules=LINEAR, **settings).to_dict() | {"peft_type": "LORA"})


def test_an_invalid_pattern_is_named() -> None:
    with pytest.raises(ModelError, match=r"alpha_pattern: '\(' is not a regular expression"):
        scale_of({"alpha_pattern": {"(": 2}}, "model.layers.0.self_attn.q_proj", 4)


def test_a_default_configuration_is_accepted() -> None:
    check_fits_gguf(LoraConfig(r=4, target_modules=LINEAR).to_dict() | {"peft_type": "LORA"})


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _with_weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    return lambda folder: save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


_KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without(CONFIG), "No such file"),
        (_without(WEIGHTS), "No such file"),
        (lambda folder: (folder / CONFIG).write_text("{"), "not JSON"),
        (lambda folder: (folder / CONFIG).write_text("[]"), "an object is expected"),
        (lambda folder: os.truncate(folder / WEIGHTS, 500), "safetensors file is incomplete or damaged"),
        (_with_weights(lambda _: {}), "nothing in this adapter"),
        (_with_weights(lambda w: {k: v for k, v in w.items() if k != _KEY}), "one matrix for model.layers.0"),
        (_with_weights(lambda w: w | {_KEY: w[_KEY][:-3].clone()}), "trained on another base"),
        (
            _with_weights(lambda w: {k.replace("layers.1", "layers.7"): v for k, v in w.items()}),
            "model.layers.7",
        ),
        (_with_weights(lambda w: {k.replace("q_proj", "lm_head"): v for k, v in w.items()}), "lm_head"),
        (_with_weights(lambda w: w | {"base_model.model.lm_head.weight": w[_KEY].clone()}), "cannot hold base_model"),
        (_with_weights(lambda w: w | {_KEY: w[_KEY].to(torch.int32)}), "of the type I32"),
    ],
)
def test_a_damaged_adapter_gives_one_sentence_and_leaves_no_file(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    base = make_model(tmp_path / "base.gguf")
    train_by_chance(full_precision(base)).save_pretrained(tmp_path / "adapter")
    damage(tmp_path / "adapter")
    with pytest.raises(ModelError) as refused:
        convert(tmp_path / "adapter", base, tmp_path / "out" / "adapter.gguf")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "out").glob("*"))


def test_a_base_whose_adapters_cannot_be_converted_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(ModelError, match="adapters for mamba cannot be converted; for gemma3"):
        base_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match="how many layers"):
        base_shape(tmp_path)


def test_a_folder_and_a_file_have_the_same_shape(tmp_path: Path) -> None:
    base = make_model(tmp_path / "base.gguf")
    full_precision(base).config.save_pretrained(tmp_path)
    assert base_shape(tmp_path) == base_shape(base)


def test_the_manifest_is_converted_with_the_adapter(tmp_path: Path) -> None:
    base = make_model(tmp_path / "base.gguf")
    train_by_chance(full_precision(base)).save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / MANIFEST).write_text(json.dumps({"base": "base", "seed": 3}))
    convert(tmp_path / "adapter", base, tmp_path / "adapter.gguf")
    field = GGUFReader(tmp_path / "adapter.gguf").fields[MANIFEST_KEY]
    assert json.loads(field.contents()) == {"base": "base", "seed": 3}
