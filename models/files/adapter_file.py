"""The check of a GGUF adapter before llama.cpp loads it into a model.

llama.cpp checks little of an adapter itself, and ends the process over the rest when it computes. An adapter is simple,
and so are the rules for it; a model is not, see `models.llama.first_load`.
"""

from math import prod
from pathlib import Path

from models.errors import ModelError
from models.files.gguf_vectors import GgufLayout, check_layout, gguf_layout

_TEXT, _FLOAT32 = 8, 6

_KINDS = {
    b"general.type": _TEXT,
    b"general.architecture": _TEXT,
    b"adapter.type": _TEXT,
    b"adapter.lora.alpha": _FLOAT32,
}
"""The types of the values that llama.cpp asks for."""

_BLOCKS = {0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34)}
"""Numbers in a block and its bytes, of the types that adapters have: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0."""

_NVFP4 = 40

_EMBEDDINGS, _OUTPUT = b"token_embd.weight", b"output.weight"

_IGNORED = b"_norm.weight"
"""The end of the names of vectors that llama.cpp leaves out."""


def check_adapter_file(path: Path, base: Path) -> None:
    """Refuse an adapter with which llama.cpp would end the process when it loads it or computes.

    Args:
        base: the GGUF file of the model that it is loaded into.

    Raises:
        ModelError: it is damaged, or no adapter for this base.
    """
    check_layout(path, "adapter")
    layout = gguf_layout(path, "adapter")
    bases = {name: (shape, kind) for name, shape, kind, _ in gguf_layout(base, "model").tensors}
    problem = _kinds_problem(layout) or _tensors_problem(layout, bases)
    if problem is not None:
        raise ModelError(f"{path}: this is no adapter for {base.name} ({problem})")


def _kinds_problem(layout: GgufLayout) -> str | None:
    for key, kind in _KINDS.items():
        if layout.kinds.get(key, kind) != kind:
            return f"its {key.decode()} is of another type than in adapters"
    return None


def _tensors_problem(layout: GgufLayout, bases: dict[bytes, tuple[tuple[int, ...], int]]) -> str | None:
    pairs: dict[bytes, dict[bytes, tuple[int, ...]]] = {}
    for name, shape, kind, start in layout.tensors:
        weight, _, part = name.rpartition(b".")
        if name.endswith(_IGNORED):
            continue
        # llama.cpp leaves out ".lora_a" wherever it is in a name.
        if part not in (b"lora_a", b"lora_b") or b".lora_" in weight:
            return f"it has weights named {_shown(name)}"
        if kind not in _BLOCKS:
            return f"{_shown(name)} is of the type {kind}, which adapters do not have"
        numbers, size = _BLOCKS[kind]
        if not 2 <= len(shape) <= 3 or 0 in shape or shape[0] % numbers:
            return f"{_shown(name)} has dimensions that it cannot have"
        if start + prod(shape) // numbers * size > layout.size:
            return "it ends before what its header says"
        pairs.setdefault(weight, {})[part] = shape
    for weight, pair in pairs.items():
        if len(pair) == 2 and (problem := _pair_problem(weight, pair[b"lora_a"], pair[b"lora_b"], bases)) is not None:
            return problem
    return None


def _pair_problem(
    weight: bytes, a: tuple[int, ...], b: tuple[int, ...], bases: dict[bytes, tuple[tuple[int, ...], int]]
) -> str | None:
    """Return what llama.cpp does not check about the two matrices for a weight; it checks their first two dimensions.

    It finds the names of weights in the base itself.
    """
    if weight not in bases:
        return None
    shape, kind = bases[weight]
    if a[2:] != shape[2:] or b[2:] != shape[2:]:
        return f"its matrices for {_shown(weight)} are not as many as in the model"
    if weight == _EMBEDDINGS:
        if _OUTPUT not in bases:
            return "it changes the embeddings, which this model also uses for its output"
        if a[0] != b[0]:
            return f"its matrices for {_shown(weight)} do not belong together"
    if kind == _NVFP4:
        return f"{_shown(weight)} of the model is in NVFP4, which no adapter can change"
    return None


def _shown(name: bytes) -> str:
    return ascii(name[:80].decode("utf-8", "replace"))
