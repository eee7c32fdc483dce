"""An adapter is used only with the base that it was trained on, in any quantization."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from kdtui.workflows.data.import_dataset import import_dataset
from models.adapters.conversion import convert
from models.adapters.peft_settings import MANIFEST
from models.adapters.provenance import about_base, adapter_manifest, norms_hash
from models.errors import ModelError
from models.llama.model import LlamaModel
from models.llama.quantization import quantize_file
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.logits import full_precision, train_by_chance
from tests.support.tiny import TEMPLATE, make_adapter, make_model


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_model(tmp_path / "base.gguf")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    train_by_chance(full_precision(base)).save_pretrained(str(tmp_path / "adapter"))
    manifest = {"base": "base.gguf", **about_base(LlamaModel(base), base)}
    (tmp_path / "adapter" / MANIFEST).write_text(json.dumps(manifest))
    convert(tmp_path / "adapter", base, tmp_path / "adapter.gguf")
    return tmp_path / "adapter.gguf"


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def test_the_manifest_goes_through_the_conversion(adapter: Path, base: Path) -> None:
    manifest = adapter_manifest(adapter)
    assert manifest["norms_sha256"] == norms_hash(base)
    assert manifest["end_of_answer"] == "<|im_end|>"


def test_another_quantization_is_the_same_base(kdtui: Kdtui, adapter: Path, base: Path, tmp_path: Path) -> None:
    smaller = tmp_path / "smaller.gguf"
    quantize_file(base, smaller, "Q8_0", 1)
    for student in (base, smaller):
        assert kdtui("generate", "o34", "--student", student, "--adapter", adapter).code == 0


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3"])
def test_a_folder_is_the_same_base_as_its_gguf_file(tmp_path: Path, architecture: str) -> None:
    base = make_model(tmp_path / "base.gguf", architecture=architecture, norm=1.25)
    model = full_precision(base)
    assert norms_hash(as_folder(model, tmp_path / "whole")) == norms_hash(base)
    assert norms_hash(as_folder(model.to(torch.bfloat16), tmp_path / "sixteen bits")) == norms_hash(base)
    model.model.norm.weight.data[0] = 3
    assert norms_hash(as_folder(model, tmp_path / "other")) != norms_hash(base)


def as_folder(model: PreTrainedModel, folder: Path) -> Path:
    """Write a model as a transformers folder with its weights in two files."""
    folder.mkdir()
    (folder / "config.json").write_text(model.config.to_json_string(use_diff=False))
    weights = list(model.state_dict().items())
    for number in (0, 1):
        save_file({key: value.clone() for key, value in weights[number::2]}, folder / f"model-{number}.safetensors")
    return folder


def test_a_folder_whose_adapters_cannot_be_converted_or_without_weights_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "phi3"}))
    with pytest.raises(ModelError, match="adapters for phi3 cannot be converted"):
        norms_hash(tmp_path)
    sizes = {"model_type": "llama", "num_attention_heads": 2, "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    with pytest.raises(ModelError, match="no weights"):
        norms_hash(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        norms_hash(tmp_path)


def test_the_hash_of_a_file_is_cached_until_the_file_changes(base: Path, tmp_path: Path) -> None:
    cache = tmp_path / "norms"
    first = norms_hash(base, cache)
    assert first == norms_hash(base)
    [kept] = cache.iterdir()
    kept.write_text(f"{sha256(b'kept').hexdigest()} kept")
    assert norms_hash(base, cache) == "kept"
    make_model(base, norm=2.0)
    assert norms_hash(base, cache) == norms_hash(base) != first
    (tmp_path / "file").write_text("")
    assert norms_hash(base, tmp_path / "file" / "norms") == norms_hash(base)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"template": TEMPLATE.replace("user", "USER") + "{# other #}"}, "with another chat template than that of"),
        ({"template": None}, "with another chat template than that of"),
        ({"norm": 1.5}, "on other weights than those of"),
        ({"vocabulary": "sentencepiece"}, "to end answers with '<|im_end|>', and"),
    ],
)
def test_another_base_is_refused_with_the_reason(
    kdtui: Kdtui, adapter: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    other = make_model(tmp_path / "other.gguf", **changes)
    result = kdtui("generate", "o34", "--student", other, "--adapter", adapter)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert f"{reason} other.gguf" in result.err


def test_an_adapter_that_was_made_elsewhere_is_used_as_it_is(kdtui: Kdtui, base: Path, tmp_path: Path) -> None:
    foreign = make_adapter(tmp_path / "foreign.gguf")
    assert adapter_manifest(foreign) == {}
    assert kdtui("generate", "o34", "--student", base, "--adapter", foreign).code == 0
