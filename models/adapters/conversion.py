"""Converts LoRA adapters from PEFT to GGUF.

A GGUF adapter holds two matrices for each weight that it changes, under llama.cpp's name of the weight, and one number,
alpha: llama.cpp adds `alpha / rank * B @ A`. Anything else that PEFT can train is refused.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models.adapters.base_shape import BaseShape, base_shape, gguf_names, interleaved
from models.adapters.deltas import Delta, peft_deltas
from models.adapters.peft_settings import CONFIG, EMBEDDINGS, MANIFEST, check_fits_gguf
from models.errors import ModelError
from models.files.json_files import read_object
from models.files.whole_files import replacing_path

MANIFEST_KEY = "kdtui.manifest"
"""The key under which a GGUF adapter stores its manifest, as JSON."""


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
    check_fits_gguf(config)
    shape = base_shape(base)
    manifest = adapter / MANIFEST
    alpha = float(config.get("lora_alpha") or 1)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing_path(output) as part:
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
    except OSError as error:
        raise ModelError(f"{output}: {error.strerror}") from error


def _pairs(adapter: Path, shape: BaseShape) -> Iterator[tuple[str, Delta]]:
    """Yield name and change, as llama.cpp has them, of each weight that a PEFT adapter changes."""
    names = gguf_names(shape)
    for module, delta in peft_deltas(adapter).items():
        name = names.get_name(module.replace("language_model.", ""))
        if name is None or module.rpartition(".")[2] in EMBEDDINGS:
            raise ModelError(f"{adapter}: a GGUF adapter for {shape.architecture} cannot hold changes of {module}")
        yield f"{name}.weight", replace(delta, b=interleaved(delta.b, shape, module))
