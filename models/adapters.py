"""LoRA adapters from PEFT to GGUF.

A GGUF adapter holds two matrices for each weight that it changes, under the name that llama.cpp has for the weight, and
one number, alpha: llama.cpp adds `alpha / rank * B @ A`. What else PEFT can train has no place in it, and is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.json_files import read_object
from models.whole_files import put_in_place

Array = npt.NDArray[np.float32 | np.float16]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MANIFEST = "manifest.json"
BASE_CONFIG = "base_config.json"
"""What transformers says of the base, beside an adapter: the base itself may be elsewhere by then."""

MANIFEST_KEY = "kdtui.manifest"
"""Under which a GGUF adapter carries its manifest, as JSON."""

_ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
}
"""What llama.cpp calls the architectures of transformers."""

_PERMUTED = {"llama"}
"""Where llama.cpp has the two halves of each rotated head interleaved, row by row."""

_HELD = {
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "ensure_weight_tying"),
    *("task_type", "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision"),
    *("inference_mode", "runtime_config", "eva_config", "megatron_core", "qalora_group_size"),
}
"""Settings of PEFT that a GGUF adapter holds, or that it need not hold. All others have to ask for nothing: one that is
not known here may change anything."""

_NOTHING: tuple[object, ...] = (None, False, "none", [], {}, ())

_KEEPING_THE_BASE: tuple[object, ...] = (True, False, "gaussian", "orthogonal", "eva", "mica")
"""What adapters may begin with; other beginnings are taken out of the weights of the base, which is another then."""

_NORMS_FROM_ONE = {"gemma3"}
"""Where transformers has norms as what they differ from 1 by, and llama.cpp as they are."""

_EMBEDDINGS = ("embed_tokens", "lm_head")


@dataclass(frozen=True, slots=True)
class BaseShape:
    """What of a base decides how its adapters are written. `architecture` is llama.cpp's name."""

    architecture: str
    layers: int
    heads: int
    key_heads: int


def check_trainable(config: Mapping[str, Any]) -> None:
    """Refuse a LoRA configuration (the fields of `adapter_config.json`) that no GGUF adapter can hold.

    Raises:
        ModelError: it names the setting.
    """
    if config.get("peft_type", "LORA") != "LORA":
        raise ModelError(f"llama.cpp knows LoRA adapters, and no {config['peft_type']}; train with peft_type LORA")
    for name, value in config.items():
        allowed = _KEEPING_THE_BASE if name == "init_lora_weights" else _NOTHING
        if name not in _HELD and value not in allowed:
            raise ModelError(f"a GGUF adapter cannot hold {name}={value!r}; train without it")
    targets = config.get("target_modules") or ()
    named = [targets] if isinstance(targets, str) else targets
    for name in _EMBEDDINGS:
        if any(str(target).rpartition(".")[2] == name for target in named):
            raise ModelError(f"a GGUF adapter cannot hold changes of {name}; leave it out of target_modules")


def base_shape(base: Path) -> BaseShape:
    """The shape of a base: a GGUF file, a folder of transformers, or an adapter that its own trainer wrote.

    Raises:
        ModelError: it is neither, or of an architecture whose adapters cannot be converted.
    """
    if base.is_dir():
        beside = base / BASE_CONFIG
        return configured_shape(read_object(beside if beside.exists() else base / "config.json"), str(base))
    # Imported here: llama.cpp is not where trainings run, and they check their settings by this module.
    from models.model_header import meta_value, vocabulary_only

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
    """The shape of a base by its configuration in transformers (the fields of `config.json`).

    Raises:
        ModelError: it is of an architecture whose adapters cannot be converted.
    """
    kind = str(config.get("model_type"))
    if kind not in _ARCHITECTURES:
        raise ModelError(f"{base}: adapters for {kind} cannot be converted; for {_known()} they can")
    config = {**config, **(config.get("text_config") or {})}
    try:
        heads = int(config["num_attention_heads"])
        keys = int(config.get("num_key_value_heads") or heads)
        return BaseShape(_ARCHITECTURES[kind], int(config["num_hidden_layers"]), heads, keys)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{base}: config.json does not say how many layers and heads there are") from error


def convert(adapter: Path, base: Path, output: Path) -> None:
    """Write a PEFT adapter as GGUF, whole or not at all; a manifest in its folder goes with it.

    Args:
        adapter: a folder with `adapter_config.json` and `adapter_model.safetensors`.
        base: what the adapter was trained on: a GGUF file, or a folder of transformers; or the adapter's own folder,
            where its trainer left the configuration of the base.

    Raises:
        ModelError: a file is missing or damaged, GGUF cannot hold the adapter, or it is none for this base.
    """
    # Imported here: it takes a fifth of a second.
    from gguf import GGUFWriter

    config = read_object(adapter / CONFIG)
    check_trainable(config)
    shape = base_shape(base)
    manifest = adapter / MANIFEST
    part = output.with_name(f"{output.name}.part")
    alpha = float(config.get("lora_alpha") or 1)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        writer = GGUFWriter(part, shape.architecture)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        if manifest.exists():
            writer.add_string(MANIFEST_KEY, json.dumps(read_object(manifest), sort_keys=True))
        for name, a, b, scale in _pairs(adapter, config, shape):
            writer.add_tensor(f"{name}.lora_a", a)
            # llama.cpp scales by alpha / rank, whatever PEFT does for this weight.
            writer.add_tensor(f"{name}.lora_b", (b * (scale * len(a) / alpha)).astype(b.dtype))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        put_in_place(part, output)
    except OSError as error:
        raise ModelError(f"{output}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _pairs(adapter: Path, config: Mapping[str, Any], shape: BaseShape) -> Iterator[tuple[str, Array, Array, float]]:
    """For each weight: its name in llama.cpp, A (rank, in), B (out, rank), and the scale of their product in PEFT.

    Numbers of 16 bits stay so.
    """
    names = _gguf_names(shape)
    tensors = dict(read_safetensors(adapter / WEIGHTS))
    modules: dict[str, dict[str, Array]] = {}
    for key, value in tensors.items():
        module, _, kind = key.removesuffix(".weight").rpartition(".")
        if kind not in ("lora_A", "lora_B"):
            raise ModelError(f"{adapter}: a GGUF adapter cannot hold {key}; train without it")
        modules.setdefault(module.removeprefix("base_model.model."), {})[kind] = value
    if not modules:
        raise ModelError(f"{adapter}: there is nothing in this adapter")
    for module, both in sorted(modules.items()):
        name = names.get_name(module.replace("language_model.", ""))
        if name is None or module.rpartition(".")[2] in _EMBEDDINGS:
            raise ModelError(f"{adapter}: a GGUF adapter for {shape.architecture} cannot hold changes of {module}")
        if len(both) < 2 or any(array.ndim != 2 for array in both.values()):
            raise ModelError(f"{adapter}: it holds one matrix for {module}, and two are needed")
        a, b = both["lora_A"], both["lora_B"]
        if shape.architecture in _PERMUTED and module.endswith(("q_proj", "k_proj")):
            b = _interleaved(b, shape.heads if module.endswith("q_proj") else shape.key_heads)
        yield f"{name}.weight", a, b, scale_of(config, module, len(a))


def scale_of(config: Mapping[str, Any], module: str, rank: int) -> float:
    """What PEFT multiplies `B @ A` with: alpha / rank, or alpha / sqrt(rank) (rsLoRA, Kalajdzievski, 2023).

    Raises:
        ModelError: a key of `alpha_pattern` is no regular expression.
    """
    alpha = config.get("lora_alpha") or 1
    for key, value in (config.get("alpha_pattern") or {}).items():
        try:
            # As PEFT does it: the first one that the end of the name matches, from a dot or the beginning on.
            if re.match(rf"(.*\.)?({key})$", module):
                alpha = value
                break
        except re.error as error:
            raise ModelError(f"alpha_pattern: {key!r} is no regular expression ({error})") from error
    return float(alpha) / (sqrt(rank) if config.get("use_rslora") else rank)


def folder_vectors(folder: Path) -> Iterator[tuple[str, Array]]:
    """The weights of a folder of transformers that are vectors, as a GGUF file of them has them: with their names there
    and as numbers of 32 bits.

    Raises:
        ModelError: they cannot be read, or are of an architecture whose adapters cannot be converted.
    """
    # Imported here: seconds.
    from safetensors import SafetensorError, safe_open

    shape = base_shape(folder)
    names = _gguf_names(shape)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder}: there are no weights (*.safetensors) in this folder")
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118
                    module, _, kind = key.rpartition(".")
                    name = names.get_name(module.replace("language_model.", ""))
                    if name is None or len(file.get_slice(key).get_shape()) != 1:
                        continue
                    values = file.get_tensor(key).float().numpy()
                    if shape.architecture in _NORMS_FROM_ONE and module.endswith("norm"):
                        values = values + np.float32(1)
                    if kind == "bias" and shape.architecture in _PERMUTED and module.endswith(("q_proj", "k_proj")):
                        heads = shape.heads if module.endswith("q_proj") else shape.key_heads
                        values = _interleaved(values[:, None], heads)[:, 0]
                    yield f"{name}.{kind}", values
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: its weights cannot be read ({error})") from error


def _gguf_names(shape: BaseShape) -> Any:
    """What llama.cpp calls the modules of transformers."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == shape.architecture)
    return get_tensor_name_map(arch, shape.layers)


def _interleaved(b: Array, heads: int) -> Array:
    """The rows of each head, first half and second half in turn: as the converter of llama.cpp has the weights."""
    if len(b) % (2 * heads):
        raise ModelError(f"{len(b)} rows are not those of {heads} heads; was the adapter trained on another base?")
    return b.reshape(heads, 2, len(b) // heads // 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)


def read_safetensors(path: Path) -> Iterator[tuple[str, Array]]:
    """The tensors of a file with their names, as numbers of 32 bits, or of 16 (F16) where they are that.

    Raises:
        ModelError: it cannot be read, or holds what is no weight.
    """
    from safetensors import SafetensorError, deserialize

    try:
        tensors = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    except SafetensorError as error:
        raise ModelError(f"{path}: this is no whole safetensors file") from error
    kinds: dict[str, npt.DTypeLike] = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "BF16": "<u2"}
    for name, tensor in tensors:
        kind = tensor["dtype"]
        if kind not in kinds:
            raise ModelError(f"{path}: {name} is of the type {kind}, which is not that of an adapter")
        values = np.frombuffer(tensor["data"], kinds[kind]).reshape(tensor["shape"])
        if kind == "BF16":
            # The upper half of a 32-bit number.
            values = (values.astype(np.uint32) << 16).view(np.float32)
        yield name, values.astype(np.float16 if kind == "F16" else np.float32)


def _known() -> str:
    return ", ".join(sorted(_ARCHITECTURES))
