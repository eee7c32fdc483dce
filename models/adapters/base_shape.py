"""The shape of a base, and the names and the row order of its weights in llama.cpp."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.adapters.peft_settings import BASE_CONFIG
from models.errors import ModelError
from models.files.json_files import read_object

Array = npt.NDArray[np.float32 | np.float16]

_ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
}
"""llama.cpp's names for architectures of transformers."""

_PERMUTED = {"llama"}
"""Architectures for which llama.cpp interleaves the two halves of each rotated head, row by row."""

_MAX_LAYERS = 1000
"""Layers of a base. Names are made for each, and an untrusted configuration can claim any number."""


@dataclass(frozen=True, slots=True)
class BaseShape:
    """What determines how adapters of a base are written. `architecture` is llama.cpp's name."""

    architecture: str
    layers: int
    heads: int
    key_heads: int


def base_shape(base: Path) -> BaseShape:
    """Return the shape of a base: a GGUF file, a folder of transformers, or an adapter folder that its trainer wrote.

    Raises:
        ModelError: it is neither, or adapters for its architecture cannot be converted.
    """
    if base.is_dir():
        copied = base / BASE_CONFIG
        return configured_shape(read_object(copied if copied.exists() else base / "config.json"), str(base))
    # Imported here: machines that only train lack llama.cpp, and use this module to check settings.
    from models.llama.model_header import meta_value, vocabulary_only

    with vocabulary_only(base) as model:
        kind = meta_value(model, "general.architecture")
        if kind not in _ARCHITECTURES.values():
            raise ModelError(f"{base}: adapters for {kind} cannot be converted; for {_known()} they can")
        counts = [meta_value(model, f"{kind}.{name}") for name in ("block_count", "attention.head_count")]
        counts.append(meta_value(model, f"{kind}.attention.head_count_kv") or counts[1])
    if not all(count.isdigit() for count in counts):
        raise ModelError(f"{base}: its layers are not all alike; adapters for it cannot be converted")
    return BaseShape(kind, *map(int, counts))


def configured_shape(config: Mapping[str, Any], base: str) -> BaseShape:
    """Return the shape of a base by its configuration in transformers (the fields of `config.json`).

    Raises:
        ModelError: adapters for its architecture cannot be converted.
    """
    kind = str(config.get("model_type"))
    if kind not in _ARCHITECTURES:
        raise ModelError(f"{base}: adapters for {kind} cannot be converted; for {_known()} they can")
    try:
        config = {**config, **(config.get("text_config") or {})}
        heads = int(config["num_attention_heads"])
        keys = int(config.get("num_key_value_heads") or heads)
        layers = int(config["num_hidden_layers"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{base}: config.json does not say how many layers and heads there are") from error
    if not 0 < layers <= _MAX_LAYERS or heads < 1 or keys < 1:
        raise ModelError(f"{base}: config.json says {layers:,} layers and {heads:,} heads, which no base has")
    return BaseShape(_ARCHITECTURES[kind], layers, heads, keys)


def interleaved(rows: Array, shape: BaseShape, module: str) -> Array:
    """Return rows of a module in the order of llama.cpp, which interleaves the two halves of each rotated head."""
    if not is_permuted(shape, module):
        return rows
    heads = _heads(rows, shape, module)
    return rows.reshape(heads, 2, len(rows) // heads // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def in_halves(rows: Array, shape: BaseShape, module: str) -> Array:
    """Reverse `interleaved`: return rows of a module in the order of transformers."""
    if not is_permuted(shape, module):
        return rows
    heads = _heads(rows, shape, module)
    return rows.reshape(heads, len(rows) // heads // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def is_permuted(shape: BaseShape, module: str) -> bool:
    """Tell whether llama.cpp has the rows of a module in another order than transformers."""
    return shape.architecture in _PERMUTED and module.endswith(("q_proj", "k_proj"))


def _heads(rows: Array, shape: BaseShape, module: str) -> int:
    """Return the number of heads in the rows of a permuted module."""
    heads = shape.heads if module.endswith("q_proj") else shape.key_heads
    if len(rows) % (2 * heads):
        raise ModelError(f"{len(rows)} rows are not those of {heads} heads; was the adapter trained on another base?")
    return heads


def gguf_names(shape: BaseShape) -> Any:
    """Return the map from module names of transformers to those of llama.cpp."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == shape.architecture)
    return get_tensor_name_map(arch, shape.layers)


def _known() -> str:
    return ", ".join(sorted(_ARCHITECTURES))
