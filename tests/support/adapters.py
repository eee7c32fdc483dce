"""Adapters like those of trainings, without the training."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.adapters.conversion import convert
from models.adapters.peft_settings import BASE_CONFIG, MANIFEST
from models.adapters.provenance import about_base
from models.llama.model import LlamaModel
from store.models import NamedModel, add_model
from store.sqlite import Database
from tests.support.logits import full_precision, train_by_chance

TRAINED: Mapping[str, Any] = {"datasets": ["outdoor"], "form": "pairs", "knowledge": [], "target": False, "seed": 3}


def peft_folder(
    folder: Path, base: Path, seed: int = 0, *, told: Mapping[str, Any] | None = TRAINED, **settings: Any
) -> Path:
    """Write a PEFT adapter for a tiny base, with random weights.

    Args:
        told: the training in its manifest; None for an adapter of another program, without a manifest.
        settings: of PEFT.
    """
    model = full_precision(base)
    train_by_chance(model, seed, **settings).save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    if told is not None:
        (folder / BASE_CONFIG).write_text(model.config.to_json_string(use_diff=False))
        manifest = {**told, "base": str(base), **about_base(LlamaModel(base), base)}
        (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def trained_adapter(
    db: Database, folder: Path, name: str, base: Path, seed: int = 0, told: Mapping[str, Any] = TRAINED, **settings: Any
) -> Path:
    """Add an adapter with a name and the files of a training, and return its file for llama.cpp."""
    adapter = peft_folder(folder / name / "adapter", base, seed, told={"name": name, **told}, **settings)
    path = folder / name / f"{name}.gguf"
    convert(adapter, adapter, path)
    add_model(db, NamedModel(name, path, f"training on {base.name}", made=False, kind="adapter"))
    return path
