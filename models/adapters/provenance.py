"""What an adapter was trained with, and whether a model matches. On another base an adapter writes gibberish, or worse,
something that looks right."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from models.adapters.base_shape import Array
from models.adapters.conversion import MANIFEST_KEY
from models.adapters.folder_weights import folder_vectors
from models.chat import ChatTokenizer
from models.errors import ModelError
from models.files.file_cache import compute_cached
from models.files.gguf_magic import check_magic
from models.files.gguf_vectors import check_layout, gguf_vectors
from models.files.json_files import is_deep
from models.vocabulary import Vocabulary

_LAYER = re.compile(r"blk\.(\d+)\.")

_READS_LAYER = re.compile(r"\.(attn_[qkv]|ffn_up|ffn_gate)\.weight\.lora_a$")
"""Matrices whose input is the vector that passes from layer to layer."""

ABOUT_BASE = ("norms_sha256", "chat_template_sha256", "end_of_answer")
"""The fields of a manifest that identify the base of the adapter."""


def about_base(vocabulary: Vocabulary, weights: Path | None) -> dict[str, str | None]:
    """Return what identifies a base, for the manifest of an adapter.

    Args:
        weights: its GGUF file, or its folder of transformers; None if they are not on this machine, as those of a model
            of the hub. The weights cannot be checked then.

    Raises:
        ModelError: the chat template cannot be used, the weights cannot be read, or they are in a folder and adapters
            for their architecture cannot be converted.
    """
    template = vocabulary.chat_template()
    return {
        "norms_sha256": None if weights is None else norms_hash(weights),
        "chat_template_sha256": None if template is None else sha256(template.encode()).hexdigest(),
        "end_of_answer": vocabulary.token_text(ChatTokenizer(vocabulary).end),
    }


def norms_hash(weights: Path, cache: Path | None = None) -> str:
    """Return a hash of the weights that no quantization changes: the vectors, which are those of norms and biases.

    So a model has the same hash in every quantization, as a GGUF file and as a folder of transformers. A model that was
    trained separately, or whose weights were all trained further, has another hash. A relative with the same vectors,
    such as one with a merged adapter, has the same hash.

    Args:
        weights: a GGUF file, or a folder of transformers.
        cache: a folder for the hashes of unchanged files: a large vocabulary takes a tenth of a second.

    Raises:
        ModelError: they cannot be read.
    """
    return compute_cached(weights, _norms_hash, cache)


def _norms_hash(weights: Path) -> str:
    vectors = dict(folder_vectors(weights) if weights.is_dir() else _gguf_vectors(weights))
    digest = sha256()
    for name, values in sorted(vectors.items()):
        digest.update(name.encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _gguf_vectors(gguf: Path) -> Iterator[tuple[str, Array]]:
    # The vectors of the rotation are not weights; they are computed from the configuration when the file is made.
    return ((name, values) for name, values in gguf_vectors(gguf) if not name.startswith("rope_"))


def adapter_manifest(adapter: Path, cache: Path | None = None) -> dict[str, Any]:
    """Return the manifest in a GGUF adapter; empty for one that another program made.

    Args:
        cache: a folder for the manifests of unchanged files: the package that reads them is slow to import.

    Raises:
        ModelError: the file cannot be read.
    """
    manifest: dict[str, Any] = json.loads(compute_cached(adapter, _manifest_text, cache))
    return manifest


def _manifest_text(adapter: Path) -> str:
    return json.dumps(adapter_info(adapter).manifest)


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """The metadata of a GGUF adapter; its manifest is empty if another program made it.

    Attributes:
        architecture: of the bases that it can fit.
        layers: minimum of such a base.
        width: of the vector that passes from layer to layer there; 0 if no matrix tells.
        weights: number of matrices that it changes.
        rank: the largest one.
    """

    architecture: str
    layers: int
    width: int
    weights: int
    rank: int
    alpha: float
    bytes: int
    manifest: dict[str, Any]


def adapter_info(adapter: Path) -> AdapterInfo:
    """Read the header of an adapter, not its weights.

    Raises:
        ModelError: the file cannot be read.
    """
    from gguf import GGUFReader

    check_magic(adapter, "an adapter")
    check_layout(adapter, "adapter")
    try:
        reader = GGUFReader(adapter)
        metadata = {
            key: field.contents()
            for key, field in reader.fields.items()
            if key in (MANIFEST_KEY, "general.architecture", "adapter.lora.alpha")
        }
        manifest = json.loads(str(metadata.get(MANIFEST_KEY, "{}")))
        # (in, rank) for each matrix.
        shapes = {
            tensor.name: [int(each) for each in tensor.shape]
            for tensor in reader.tensors
            if tensor.name.endswith(".lora_a")
        }
        layers = [int(match[1]) for name in shapes if (match := _LAYER.match(name))]
        if is_deep(manifest):
            raise ValueError("its manifest is nested too deeply")
        return AdapterInfo(
            str(metadata.get("general.architecture", "")),
            max(layers, default=-1) + 1,
            next((shape[0] for name, shape in shapes.items() if _READS_LAYER.search(name)), 0),
            len(shapes),
            max((min(shape) for shape in shapes.values()), default=0),
            float(metadata.get("adapter.lora.alpha", 0)),
            adapter.stat().st_size,
            manifest if isinstance(manifest, dict) else {},
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ModelError(f"{adapter}: this adapter cannot be read ({error})") from error


def names_base(manifest: Mapping[str, Any]) -> bool:
    """Tell whether an adapter says what it was trained on, so that a model can be checked against it."""
    return any(manifest.get(name) is not None for name in ABOUT_BASE)


def check_adapter(
    adapter: Path, manifest: Mapping[str, Any], vocabulary: Vocabulary, gguf: Path, cache: Path | None = None
) -> None:
    """Refuse an adapter that was trained on another base, or with other prompts.

    Args:
        cache: as in `norms_hash`.

    Raises:
        ModelError: the base differs; the message says how.
    """
    if not names_base(manifest):
        return
    # The hash takes longest, and is checked last.
    actual = about_base(vocabulary, None)
    trained = manifest.get("base") or "another base"
    if manifest.get("chat_template_sha256") != actual["chat_template_sha256"]:
        raise ModelError(f"{adapter}: it was trained with another chat template than that of {gguf.name}, on {trained}")
    if manifest.get("end_of_answer") != actual["end_of_answer"]:
        raise ModelError(
            f"{adapter}: it was trained to end answers with {manifest.get('end_of_answer')!r}, "
            f"and {gguf.name} ends them with {actual['end_of_answer']!r}"
        )
    if manifest.get("norms_sha256") is not None and manifest["norms_sha256"] != norms_hash(gguf, cache):
        raise ModelError(f"{adapter}: it was trained on other weights than those of {gguf.name}, on {trained}")
