"""The vectors among the weights of a folder of transformers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.adapters.base_shape import Array, base_shape, gguf_names, interleaved
from models.errors import ModelError

_NORMS_FROM_ONE = {"gemma3"}
"""Architectures whose norms transformers stores as their difference from 1, and llama.cpp as they are."""


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
                        values = interleaved(values[:, None], shape, module)[:, 0]
                    yield f"{name}.{kind}", values
        # torch has types of 4 bits that it cannot convert.
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{path}: its weights cannot be read ({error})") from error
