"""LoRA adapters in PEFT and in GGUF, and what they add to the weights of their base.

A GGUF adapter holds two matrices for each weight that it changes, under the name that llama.cpp has for the weight, and
one number, alpha: llama.cpp adds `alpha / rank * B @ A`. What else PEFT can train has no place in it, and is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.files.gguf_vectors import check_layout, gguf_sizes
from models.files.json_files import read_object
from models.files.whole_files import put_in_place

Array = npt.NDArray[np.float32 | np.float16]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MANIFEST = "manifest.json"
BASE_CONFIG = "base_config.json"
"""The configuration of the base in transformers, next to an adapter: the base itself may be gone later."""

MANIFEST_KEY = "kdtui.manifest"
"""The key under which a GGUF adapter stores its manifest, as JSON."""

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

_NORMS_FROM_ONE = {"gemma3"}
"""Architectures whose norms transformers stores as their difference from 1, and llama.cpp as they are."""

_EMBEDDINGS = ("embed_tokens", "lm_head")

_LINEAR = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
"""The names of the linear layers of these architectures in transformers."""

_MAX_LAYERS = 1000
"""Layers of a base. Names are made for each, and an untrusted configuration can claim any number."""

_PREFIX = "base_model.model."
"""The prefix of module names in a PEFT adapter."""


@dataclass(frozen=True, slots=True)
class BaseShape:
    """What determines how adapters of a base are written. `architecture` is llama.cpp's name."""

    architecture: str
    layers: int
    heads: int
    key_heads: int


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """What an adapter adds to a weight: `scale * b @ a`.

    Attributes:
        a: (rank, inputs).
        b: (outputs, rank).
    """

    a: Array
    b: Array
    scale: float

    @property
    def rank(self) -> int:
        """The number of rows of A."""
        return len(self.a)


def check_trainable(config: Mapping[str, Any]) -> None:
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
    for name in _EMBEDDINGS:
        if any(str(target).rpartition(".")[2] == name for target in named):
            raise ModelError(f"a GGUF adapter cannot hold changes of {name}; leave it out of target_modules")


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
    config = {**config, **(config.get("text_config") or {})}
    try:
        heads = int(config["num_attention_heads"])
        keys = int(config.get("num_key_value_heads") or heads)
        layers = int(config["num_hidden_layers"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{base}: config.json does not say how many layers and heads there are") from error
    if not 0 < layers <= _MAX_LAYERS or heads < 1 or keys < 1:
        raise ModelError(f"{base}: config.json says {layers:,} layers and {heads:,} heads, which no base has")
    return BaseShape(_ARCHITECTURES[kind], layers, heads, keys)


def convert(adapter: Path, base: Path, output: Path) -> None:
    """Write a PEFT adapter as GGUF, completely or not at all, with the manifest in its folder.

    Args:
        adapter: a folder with `adapter_config.json` and `adapter_model.safetensors`.
        base: the base of the adapter: a GGUF file, or a folder of transformers; or the adapter's own folder, if its
            trainer left the configuration of the base there.

    Raises:
        ModelError: a file is missing or damaged, GGUF cannot hold the adapter, or it is for another base.
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
        for name, delta in _pairs(adapter, shape):
            writer.add_tensor(f"{name}.lora_a", delta.a)
            # llama.cpp scales by alpha / rank; PEFT can scale each weight differently.
            scaled = delta.b * (delta.scale * delta.rank / alpha)
            writer.add_tensor(f"{name}.lora_b", scaled.astype(delta.b.dtype))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        put_in_place(part, output)
    except OSError as error:
        raise ModelError(f"{output}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def peft_deltas(adapter: Path) -> dict[str, Delta]:
    """Return what a PEFT adapter adds to each module, by the name of the module in transformers.

    16-bit matrices stay 16-bit.

    Raises:
        ModelError: a file is missing or damaged, or the adapter is not a plain LoRA.
    """
    config = read_object(adapter / CONFIG)
    check_trainable(config)
    modules: dict[str, dict[str, Array]] = {}
    for key, value in read_safetensors(adapter / WEIGHTS):
        module, _, kind = key.removesuffix(".weight").rpartition(".")
        if kind not in ("lora_A", "lora_B"):
            raise ModelError(f"{adapter}: a GGUF adapter cannot hold {key}; train without it")
        modules.setdefault(module.removeprefix(_PREFIX), {})[kind] = value
    if not modules:
        raise ModelError(f"{adapter}: there is nothing in this adapter")
    found = {}
    for module, both in sorted(modules.items()):
        if len(both) < 2 or any(array.ndim != 2 for array in both.values()):
            raise ModelError(f"{adapter}: it holds one matrix for {module}, and two are needed")
        a, b = both["lora_A"], both["lora_B"]
        if not len(a) or len(a) != b.shape[1]:
            raise ModelError(f"{adapter}: the two matrices for {module} have the ranks {len(a)} and {b.shape[1]}")
        delta = found[module] = Delta(a, b, scale_of(config, module, len(a)))
        if not (isfinite(delta.scale) and np.isfinite(a).all() and np.isfinite(b).all()):
            raise ModelError(f"{adapter}: what it adds to {module} is not a number; its weights are damaged")
    return found


def gguf_deltas(adapter: Path, shape: BaseShape) -> dict[str, Delta]:
    """Do the same for a GGUF adapter for a base of this shape.

    Raises:
        ModelError: the file cannot be read, is for another architecture, or changes weights that PEFT has no name for.
    """
    names = gguf_names(shape)
    modules = {
        f"{names.get_name(module)}.weight": module
        for layer in range(shape.layers)
        for module in (f"model.layers.{layer}.{name}" for name in _LINEAR)
    }
    architecture, alpha, tensors = _gguf_tensors(adapter)
    if architecture != shape.architecture:
        raise ModelError(f"{adapter}: it is for the architecture {architecture}, not {shape.architecture}")
    found = {}
    for name in sorted({name.rpartition(".")[0] for name in tensors}):
        if name not in modules:
            raise ModelError(f"{adapter}: it changes {name}, which has no place in a PEFT adapter")
        a, b = (tensors.get(f"{name}.lora_{each}") for each in "ab")
        if a is None or b is None or a.ndim != 2 or b.ndim != 2 or not len(a) or len(a) != b.shape[1]:
            raise ModelError(f"{adapter}: the two matrices for {name} do not belong together")
        module = modules[name]
        # llama.cpp takes an alpha of 0 for no alpha.
        found[module] = Delta(a, _in_halves(b, shape, module), alpha / len(a) if alpha else 1.0)
    if not found:
        raise ModelError(f"{adapter}: there is nothing in this adapter")
    return found


def check_finite(adapter: Path) -> None:
    """Refuse a GGUF adapter that is damaged.

    Raises:
        ModelError: it cannot be read, or has values that are not numbers.
    """
    _, alpha, tensors = _gguf_tensors(adapter)
    for name, values in tensors.items():
        if not (isfinite(alpha) and np.isfinite(values).all()):
            raise ModelError(f"{adapter}: what it adds by {name} is not a number; its weights are damaged")


def _gguf_tensors(adapter: Path) -> tuple[str, float, dict[str, Array]]:
    """Return the architecture, alpha, and the matrices of a GGUF adapter, in 32 bits."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    check_layout(adapter, "adapter")
    try:
        reader = GGUFReader(adapter)
        architecture = str(reader.fields["general.architecture"].contents())
        alpha = float(reader.fields["adapter.lora.alpha"].contents())
        return architecture, alpha, {each.name: dequantize(each.data, each.tensor_type) for each in reader.tensors}
    except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        raise ModelError(f"{adapter}: this adapter cannot be read ({error})") from error


def misfit(deltas: Mapping[str, Delta], base: Path) -> str | None:
    """Return why an adapter does not fit a base, as a clause; None if it fits.

    Args:
        base: a GGUF file.

    Raises:
        ModelError: the base cannot be read, or adapters for it cannot be converted.
    """
    names, sizes = gguf_names(base_shape(base)), gguf_sizes(base)
    for module, delta in deltas.items():
        size = sizes.get(f"{names.get_name(module.replace('language_model.', ''))}.weight")
        if size is None or len(size) != 2:
            return f"it changes {module}, which the base does not have"
        inputs, outputs = size
        if (inputs, outputs) != (delta.a.shape[1], len(delta.b)):
            its = f"{len(delta.b):,} x {delta.a.shape[1]:,}"
            return f"it changes {module} as one of {its}, which is {outputs:,} x {inputs:,} in the base"
    most = largest_rank(deltas)
    if (rank := max(delta.rank for delta in deltas.values())) > most:
        return f"it has a rank of {rank:,}, and no weight that it changes has a side of more than {most:,}"
    return None


def largest_rank(deltas: Mapping[str, Delta]) -> int:
    """Return the longest side of the weights that are changed: no adapter needs a higher rank."""
    return max(max(len(delta.b), int(delta.a.shape[1])) for delta in deltas.values())


def _pairs(adapter: Path, shape: BaseShape) -> Iterator[tuple[str, Delta]]:
    """Yield name and change, as llama.cpp has them, of each weight that a PEFT adapter changes."""
    names = gguf_names(shape)
    for module, delta in peft_deltas(adapter).items():
        name = names.get_name(module.replace("language_model.", ""))
        if name is None or module.rpartition(".")[2] in _EMBEDDINGS:
            raise ModelError(f"{adapter}: a GGUF adapter for {shape.architecture} cannot hold changes of {module}")
        yield f"{name}.weight", replace(delta, b=_interleaved(delta.b, shape, module))


def _interleaved(rows: Array, shape: BaseShape, module: str) -> Array:
    """Return rows of a module in the order of llama.cpp, which interleaves the two halves of each rotated head."""
    if not is_permuted(shape, module):
        return rows
    heads = _heads(rows, shape, module)
    return rows.reshape(heads, 2, len(rows) // heads // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _in_halves(rows: Array, shape: BaseShape, module: str) -> Array:
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


def scale_of(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return what PEFT multiplies `B @ A` with: alpha / rank, or alpha / sqrt(rank) (rsLoRA, Kalajdzievski, 2023).

    Raises:
        ModelError: a key of `alpha_pattern` is not a regular expression.
    """
    alpha = config.get("lora_alpha") or 1
    for key, value in (config.get("alpha_pattern") or {}).items():
        try:
            # As in PEFT: the first key that matches the end of the name, from a dot or the beginning on.
            if re.match(rf"(.*\.)?({key})$", module):
                alpha = value
                break
        except re.error as error:
            raise ModelError(f"alpha_pattern: {key!r} is not a regular expression ({error})") from error
    return float(alpha) / (sqrt(rank) if config.get("use_rslora") else rank)


def folder_vectors(folder: Path) -> Iterator[tuple[str, Array]]:
    """Yield the vectors among the weights of a folder of transformers as a GGUF file has them: same names, 32 bits.

    Raises:
        ModelError: they cannot be read, or adapters for their architecture cannot be converted.
    """
    # Imported here: it takes seconds.
    from safetensors import SafetensorError, safe_open

    shape = base_shape(folder)
    names = gguf_names(shape)
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
                    if kind == "bias":
                        values = _interleaved(values[:, None], shape, module)[:, 0]
                    yield f"{name}.{kind}", values
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: its weights cannot be read ({error})") from error


def gguf_names(shape: BaseShape) -> Any:
    """Return the map from module names of transformers to those of llama.cpp."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == shape.architecture)
    return get_tensor_name_map(arch, shape.layers)


def read_safetensors(path: Path) -> Iterator[tuple[str, Array]]:
    """Yield the tensors of a file with their names, in 32 bits, or in 16 bits if they are F16.

    Raises:
        ModelError: it cannot be read, or holds something other than weights.
    """
    from safetensors import SafetensorError, deserialize

    try:
        tensors = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    except SafetensorError as error:
        raise ModelError(f"{path}: this safetensors file is incomplete or damaged") from error
    kinds: dict[str, npt.DTypeLike] = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "BF16": "<u2"}
    for name, tensor in tensors:
        kind = tensor["dtype"]
        if kind not in kinds:
            raise ModelError(f"{path}: {name} is of the type {kind}, which adapters do not have")
        values = np.frombuffer(tensor["data"], kinds[kind]).reshape(tensor["shape"])
        if kind == "BF16":
            # BF16 is the upper half of a 32-bit number.
            values = (values.astype(np.uint32) << 16).view(np.float32)
        yield name, values.astype(np.float16 if kind == "F16" else np.float32)


def _known() -> str:
    return ", ".join(sorted(_ARCHITECTURES))
