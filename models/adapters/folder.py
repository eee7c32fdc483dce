"""The folder of an adapter as PEFT, llama.cpp and vLLM load it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.adapters.base_shape import BaseShape
from models.adapters.deltas import Delta
from models.adapters.peft_settings import CONFIG, WEIGHTS
from models.errors import ModelError
from models.files.whole_files import write_whole

SUMS = "SHA256SUMS"
"""The file with the SHA-256 of the others, as `sha256sum -c` reads it."""

_PLAIN: dict[str, object] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "modules_to_save": None,
    "use_dora": False,
}
"""The settings of every written configuration; PEFT has defaults for the rest."""

_COPIED = ("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "exclude_modules")
"""The settings that differ between adapters."""

_PATTERNS = ("rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern")


def has_patterns(config: Mapping[str, Any]) -> bool:
    """Tell whether a configuration treats modules differently: vLLM ignores that, and uses one rank for all."""
    return any(config.get(name) for name in _PATTERNS)


def plain_config(config: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return the configuration of a plain adapter, with only what a program needs to load it.

    Args:
        base: the id of the base on a hub, or its name.
    """
    copied = {name: config[name] for name in (*_COPIED, *_PATTERNS) if config.get(name) is not None}
    return dict(sorted({**_PLAIN, "base_model_name_or_path": base, **copied}.items()))


def write_adapter(folder: Path, deltas: Mapping[str, Delta], shape: BaseShape, base: str) -> int:
    """Write the weights and the configuration of a PEFT adapter into a folder, and return its rank.

    All modules get one rank and a scale of 1, for programs that support nothing else. Lower ranks are padded with
    zeros, which adds nothing.

    Args:
        base: as in `plain_config`.

    Raises:
        ModelError: it cannot be written.
    """
    from safetensors.numpy import save

    rank = max(delta.rank for delta in deltas.values())
    tensors = {}
    for module, delta in deltas.items():
        more = rank - delta.rank
        b = delta.b.astype(np.float32) * np.float32(delta.scale)
        tensors[f"base_model.model.{module}.lora_A.weight"] = np.pad(delta.a.astype(np.float32), ((0, more), (0, 0)))
        tensors[f"base_model.model.{module}.lora_B.weight"] = np.pad(b, ((0, 0), (0, more)))
    config = plain_config({"r": rank, "lora_alpha": rank, "target_modules": _targets(deltas, shape)}, base)
    try:
        write_whole(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    except OSError as error:
        raise ModelError(f"{folder / WEIGHTS}: {error.strerror}") from error
    write_json(folder / CONFIG, config)
    return rank


def shape_config(shape: BaseShape) -> dict[str, Any]:
    """Return the shape of a base as a configuration of transformers, for when the whole configuration is unknown."""
    kind = "gemma3_text" if shape.architecture == "gemma3" else shape.architecture
    return {
        "model_type": kind,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object to a file that is readable for people.

    Raises:
        ModelError: it cannot be written.
    """
    try:
        write_whole(path, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error


def _targets(modules: Mapping[str, Delta], shape: BaseShape) -> list[str]:
    """Return the names of the layers if they are changed in all blocks, otherwise the full names of the modules."""
    names = {module.rpartition(".")[2] for module in modules}
    return sorted(names if len(modules) == len(names) * shape.layers else modules)
