"""Hosts whose trainer is a script, for tests of transfers to and from hosts."""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from models.sft.job_files import EXIT_CODE
from tests.support.tiny import HEADS, LAYERS, WIDTH

STOPS = """
step="$3/checkpoints/step-00000007"
mkdir -p "$step"
echo "{}" >"$step/state.json"
echo 143 >"$3/exit_code"
"""
"""A trainer that writes a checkpoint and stops; its third argument is the directory of the training."""


def set_up(workdir: Path, trainer: str = STOPS) -> None:
    """Make a host look set up, with lines of sh as its trainer."""
    python = workdir / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # A real Python answers which packages are installed.
    asked = f'[ "$2" = -c ] && exec "{sys.executable}" "$@"'
    python.write_text(f"#!/bin/sh\n{asked}\necho trained\n{trainer}")
    python.chmod(0o755)
    (workdir / "setup").mkdir()
    (workdir / "setup" / EXIT_CODE).write_text("0")


def random_adapter(folder: Path) -> Path:
    """Write an adapter of the tiny model like that of a trainer."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    weights = {}
    for layer in range(LAYERS):
        name = f"base_model.model.model.layers.{layer}.self_attn.o_proj"
        for matrix, shape in (("lora_A", (2, WIDTH)), ("lora_B", (WIDTH, 2))):
            weights[f"{name}.{matrix}.weight"] = random.normal(0, 0.1, shape).astype(np.float32)
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["o_proj"]}
    base = {"model_type": "llama", "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "base_config.json").write_text(json.dumps(base | {"num_key_value_heads": HEADS // 2}))
    return folder
