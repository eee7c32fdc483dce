"""A base from elsewhere can come with code, which is never run, and with a header that lies."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from models.adapters.provenance import norms_hash
from models.errors import ModelError
from models.sft.base import load_base, load_vocabulary
from tests.support.repository import ROOT
from tests.support.tiny_job import as_folder

_CODE = """
from pathlib import Path

Path({marker!r}).write_text("the code of the base was run")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

class HostileConfig(LlamaConfig):
    model_type = "hostile"

class HostileModel(LlamaForCausalLM):
    config_class = HostileConfig

class HostileTokenizer(PreTrainedTokenizerFast):
    pass
"""


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def with_code(base: Path, tmp_path: Path) -> Path:
    """A folder of transformers whose files name code for each of its parts; the code leaves a marker."""
    folder = as_folder(base, tmp_path / "hostile")
    (folder / "hostile.py").write_text(_CODE.format(marker=str(tmp_path / "marker")))
    classes = {"AutoConfig": "hostile.HostileConfig", "AutoModelForCausalLM": "hostile.HostileModel"}
    tokenizer = {"AutoTokenizer": ["hostile.HostileTokenizer", "hostile.HostileTokenizer"]}
    change(folder / "config.json", auto_map={**classes, **tokenizer})
    change(folder / "tokenizer_config.json", auto_map=tokenizer, tokenizer_class="HostileTokenizer")
    return folder


@pytest.mark.parametrize("load", [load_base, load_vocabulary])
def test_a_base_that_needs_its_code_is_refused(load: Callable[[str], object], with_code: Path, tmp_path: Path) -> None:
    change(with_code / "config.json", model_type="hostile", architectures=["HostileModel"])
    with pytest.raises(ModelError, match="transformers cannot load this base"):
        load(str(with_code))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("load", [load_base, load_vocabulary])
def test_a_base_of_a_known_kind_is_loaded_without_its_code(
    load: Callable[[str], object], with_code: Path, tmp_path: Path
) -> None:
    change(with_code / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    load(str(with_code))
    assert not (tmp_path / "marker").exists()


def test_a_base_that_claims_more_than_it_holds_is_refused(base: Path, tmp_path: Path) -> None:
    data = bytearray(base.read_bytes())
    # The number of tensors.
    data[8:16] = (2**40).to_bytes(8, "little")
    (tmp_path / "huge.gguf").write_bytes(data)
    with pytest.raises(ModelError, match=r"huge.gguf: this model cannot be read"):
        load_vocabulary(str(tmp_path / "huge.gguf"))


def test_weights_of_a_type_without_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_attention_heads": 2, "num_hidden_layers": 1}')
    header = json.dumps({"model.norm.weight": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(2))
    with pytest.raises(ModelError, match=r"model.safetensors: its weights cannot be read \("):
        norms_hash(tmp_path)


def test_every_call_that_could_run_code_of_a_base_is_known() -> None:
    calls = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in ("kdtui", "models", "store")
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "from_pretrained(" in line or "torch.load(" in line or "import pickle" in line
    }
    assert calls == {
        # The next line turns code off, which the tests above check.
        "models/sft/base.py: model = AutoModelForCausalLM.from_pretrained(",
        "models/sft/base.py: return HubVocabulary(AutoTokenizer.from_pretrained(**_where(base), "
        "trust_remote_code=False), base)",
        # A dataclass from JSON, of an adapter that was copied and rewritten.
        "models/sft/start.py: config = LoraConfig.from_pretrained(str(job / START))",
        # A text for the card of an exported adapter.
        "kdtui/exchange/adapter_card.py: model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("
        '{quoted}), "FOLDER")',
    }
