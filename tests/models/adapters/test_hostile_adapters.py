"""GGUF adapters from outside that llama.cpp would end the process over are refused in one sentence."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter

from models.errors import ModelError
from models.llama.model import LlamaModel
from tests.support.tiny import WIDTH, make_adapter, make_model


def write(path: Path, change: Callable[[GGUFWriter], None], *, values: bool = True) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    if values:
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", 2)
    change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pair(
    name: str, a: tuple[int, ...], b: tuple[int, ...], kind: GGMLQuantizationType | None = None
) -> Callable[[GGUFWriter], None]:
    def add(writer: GGUFWriter) -> None:
        number = np.float32 if kind is None else np.int32
        writer.add_tensor(f"{name}.lora_a", np.zeros(a, number), raw_dtype=kind)
        writer.add_tensor(f"{name}.lora_b", np.zeros(b, number), raw_dtype=kind)

    return add


UP = "blk.0.ffn_up.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pair(UP, (2, WIDTH), (2 * WIDTH, 2), GGMLQuantizationType.I32), "is of the type 26, which adapters do not"),
        (pair(UP, (3, 2, WIDTH), (3, 2 * WIDTH, 2)), "are not as many as in the model"),
        (pair(UP, (WIDTH,), (2 * WIDTH,)), "has dimensions that it cannot have"),
        (pair("blk.0.lora_a.ffn_up.weight", (2, WIDTH), (2 * WIDTH, 2)), "it has weights named"),
        (pair("token_embd.weight", (336, 3), (WIDTH, 2)), "do not belong together"),
    ],
)
def test_an_adapter_that_would_crash_llama_cpp_is_refused(
    change: Callable[[GGUFWriter], None], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "hostile.gguf", change)
    with (
        closing(LlamaModel(make_model(tmp_path / "tiny.gguf"))) as model,
        pytest.raises(ModelError, match=rf"hostile.gguf: this is no adapter for tiny.gguf \(.*{message}"),
    ):
        model.adapter(path)


def test_an_adapter_for_tied_embeddings_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "hostile.gguf", pair("token_embd.weight", (336, 2), (WIDTH, 2)))
    with (
        closing(LlamaModel(make_model(tmp_path / "tiny.gguf", architecture="gemma3"))) as model,
        pytest.raises(ModelError, match="which this model also uses for its output"),
    ):
        model.adapter(path)


@pytest.mark.parametrize("key", ["adapter.type", "adapter.lora.alpha"])
def test_a_value_of_another_type_is_refused(key: str, tmp_path: Path) -> None:
    path = write(tmp_path / "hostile.gguf", lambda writer: writer.add_uint32(key, 1), values=False)
    with (
        closing(LlamaModel(make_model(tmp_path / "tiny.gguf"))) as model,
        pytest.raises(ModelError, match=rf"its {key} is of another type than in adapters"),
    ):
        model.adapter(path)


def test_an_adapter_whose_weights_end_early_is_refused(tmp_path: Path) -> None:
    path = make_adapter(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:-600])
    with (
        closing(LlamaModel(make_model(tmp_path / "tiny.gguf"))) as model,
        pytest.raises(ModelError, match=r"cut.gguf: this .*it ends before what its header says"),
    ):
        model.adapter(path)
