"""The files and the settings of a PEFT adapter, and which settings a GGUF adapter can hold."""

from collections.abc import Mapping
from typing import Any

from models.errors import ModelError

CONFIG = "adapter_config.json"

WEIGHTS = "adapter_model.safetensors"

MANIFEST = "manifest.json"

BASE_CONFIG = "base_config.json"
"""The configuration of the base in transformers, next to an adapter: the base itself may be gone later."""

_SUPPORTED = {
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "ensure_weight_tying"),
    *("task_type", "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision"),
    *("inference_mode", "runtime_config", "eva_config", "megatron_core", "qalora_group_size"),
}
"""Settings of PEFT that a GGUF adapter holds, or need not hold. All other settings must have no effect: an unknown one
can change anything."""

_NO_EFFECT: tuple[object, ...] = (None, False, "none", [], {}, ())

_INITS_THAT_KEEP_THE_BASE: tuple[object, ...] = (True, False, "gaussian", "orthogonal", "eva", "mica")
"""Initializations that keep the base. Others subtract from the weights of the base, which then differ."""

EMBEDDINGS = ("embed_tokens", "lm_head")


def check_fits_gguf(config: Mapping[str, Any]) -> None:
    """Refuse a LoRA configuration (the fields of `adapter_config.json`) that no GGUF adapter can hold.

    Raises:
        ModelError: a setting has no place in GGUF; the message names it.
    """
    if config.get("peft_type", "LORA") != "LORA":
        raise ModelError(f"llama.cpp knows only LoRA adapters, not {config['peft_type']}; train with peft_type LORA")
    for name, value in config.items():
        allowed = _INITS_THAT_KEEP_THE_BASE if name == "init_lora_weights" else _NO_EFFECT
        if name not in _SUPPORTED and value not in allowed:
            raise ModelError(f"a GGUF adapter cannot hold {name}={value!r}; train without it")
    targets = config.get("target_modules") or ()
    named = [targets] if isinstance(targets, str) else targets
    for name in EMBEDDINGS:
        if any(str(target).rpartition(".")[2] == name for target in named):
            raise ModelError(f"a GGUF adapter cannot hold changes of {name}; leave it out of target_modules")
