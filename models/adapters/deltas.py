"""What LoRA adapters in PEFT and in GGUF add to the weights of their base."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.adapters.base_shape import Array, BaseShape, base_shape, gguf_names, in_halves
from models.adapters.peft_settings import CONFIG, WEIGHTS, check_fits_gguf
from models.errors import ModelError
from models.files.gguf_vectors import check_layout, gguf_sizes
from models.files.json_files import read_object

_LINEAR = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
"""The names of the linear layers of these architectures in transformers."""

_PREFIX = "base_model.model."
"""The prefix of module names in a PEFT adapter."""


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


def peft_deltas(adapter: Path) -> dict[str, Delta]:
    """Return what a PEFT adapter adds to each module, by the name of the module in transformers.

    16-bit matrices stay 16-bit.

    Raises:
        ModelError: a file is missing or damaged, or the adapter is not a plain LoRA.
    """
    config = read_object(adapter / CONFIG)
    check_fits_gguf(config)
    modules: dict[str, dict[str, Array]] = {}
    for key, value in read_safetensors(adapter / WEIGHTS):
        module, _, kind = key.removesuffix(".weight").rpartition(".")
        if kind not in ("lora_A", "lora_B"):
            raise ModelError(f"{adapter}: a GGUF adapter cannot hold {key}; train without it")
        modules.setdefault(module.removeprefix(_PREFIX), {})[kind] = value
    if not modules:
        raise ModelError(f"{adapter}: there is nothing in this adapter")
    deltas = {}
    for module, both in sorted(modules.items()):
        if len(both) < 2 or any(array.ndim != 2 for array in both.values()):
            raise ModelError(f"{adapter}: it holds one matrix for {module}, and two are needed")
        a, b = both["lora_A"], both["lora_B"]
        if not len(a) or len(a) != b.shape[1]:
            raise ModelError(f"{adapter}: the two matrices for {module} have the ranks {len(a)} and {b.shape[1]}")
        delta = deltas[module] = Delta(a, b, scale_of(config, module, len(a)))
        if not (isfinite(delta.scale) and np.isfinite(a).all() and np.isfinite(b).all()):
            raise ModelError(f"{adapter}: what it adds to {module} is not a number; its weights are damaged")
    return deltas


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
    deltas = {}
    for name in sorted({name.rpartition(".")[0] for name in tensors}):
        if name not in modules:
            raise ModelError(f"{adapter}: it changes {name}, which has no place in a PEFT adapter")
        a, b = (tensors.get(f"{name}.lora_{each}") for each in "ab")
        if a is None or b is None or a.ndim != 2 or b.ndim != 2 or not len(a) or len(a) != b.shape[1]:
            raise ModelError(f"{adapter}: the two matrices for {name} do not belong together")
        module = modules[name]
        # llama.cpp takes an alpha of 0 for no alpha.
        deltas[module] = Delta(a, in_halves(b, shape, module), alpha / len(a) if alpha else 1.0)
    if not deltas:
        raise ModelError(f"{adapter}: there is nothing in this adapter")
    return deltas


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
