"""Converts LoRA adapters from GGUF back to PEFT, so that a training can continue them without the original files."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from models.adapters.base_shape import base_shape
from models.adapters.deltas import gguf_deltas
from models.adapters.peft_settings import CONFIG, MANIFEST, WEIGHTS
from models.adapters.provenance import adapter_info
from models.errors import ModelError


def peft_config(adapter: Path) -> dict[str, Any]:
    """Return the `adapter_config.json` of a GGUF adapter, without the names of its weights. Only its header is read.

    Raises:
        ModelError: the file cannot be read.
    """
    info = adapter_info(adapter)
    if not info.rank:
        raise ModelError(f"{adapter}: there is nothing in this adapter")
    return {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": info.rank, "lora_alpha": info.alpha or info.rank}


def write_peft(adapter: Path, base: Path, folder: Path) -> None:
    """Convert a GGUF adapter to PEFT, with its rank and alpha: the reverse of `models.adapters.conversion.convert`.

    Args:
        base: its base, which determines the names and the order of its weights: a GGUF file, or a folder of
            transformers.
        folder: an existing folder for the files.

    Raises:
        ModelError: it cannot be read, or is for another base.
        OSError: it cannot be written.
    """
    from safetensors.numpy import save_file

    config = peft_config(adapter)
    deltas = gguf_deltas(adapter, base_shape(base))
    # Full names: the adapter can change only some layers.
    config["target_modules"] = sorted(deltas)
    config["rank_pattern"] = {
        re.escape(module): delta.rank for module, delta in deltas.items() if delta.rank != config["r"]
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if manifest := adapter_info(adapter).manifest:
        (folder / MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")
    tensors = {
        f"base_model.model.{module}.{kind}.weight": np.ascontiguousarray(values)
        for module, delta in deltas.items()
        for kind, values in (("lora_A", delta.a), ("lora_B", delta.b))
    }
    save_file(tensors, folder / WEIGHTS)
