"""Logits of a tiny model with and without an adapter, here and in PyTorch."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from models.files.hashing import file_sha256

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


_loaded: dict[str, PreTrainedModel] = {}
"""Models by the SHA-256 of their files."""


def full_precision(base: Path) -> PreTrainedModel:
    """Load a GGUF model in transformers; a copy of it if the same file was loaded before."""
    key = file_sha256(base)
    if key not in _loaded:
        _loaded[key] = _loaded_by_transformers(base)
    model = deepcopy(_loaded[key])
    # An adapter names its base by this.
    model.name_or_path = model.config._name_or_path = str(base.parent)
    return model


def _loaded_by_transformers(base: Path) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(base.parent, gguf_file=base.name)
    # For qwen3 transformers does not read the size of a head, which is 128 in all real models.
    config.head_dim = config.hidden_size // config.num_attention_heads
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base.parent, gguf_file=base.name, config=config, dtype=torch.float32
    )
    return model.eval()


def train_by_chance(model: PreTrainedModel, seed: int = 0, **settings: Any) -> PeftModel:
    """Make an adapter with random weights, large enough to change every logit."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": LINEAR, **settings})
    adapted: PeftModel = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    for name, weights in adapted.named_parameters():
        if "lora_" in name:
            weights.data = torch.randn(weights.shape, generator=generator) * 0.2 / weights.shape[-1] ** 0.5
    return adapted.eval()


def peft_logits(model: PreTrainedModel | PeftModel, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        found: npt.NDArray[np.float32] = model(input_ids=torch.tensor([tokens])).logits[0].numpy()
    return found


def llama_logits(base: Path, adapter: Path | None, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
    """Compute in 32 bits; a student keeps its cache in 16 bits."""
    model = llama_cpp.Llama(
        str(base),
        lora_path=str(adapter) if adapter else None,
        n_ctx=256,
        logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        flash_attn=False,
        verbose=False,
    )
    model.eval(list(tokens))
    found: npt.NDArray[np.float32] = model.scores[: len(tokens)].copy()
    model.close()
    return found


def some_tokens(size: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(1).integers(3, size, 24)]
