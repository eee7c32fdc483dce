"""The metadata of a GGUF file, without its weights."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import ModelError
from models.files.gguf_magic import check_magic
from models.llama import cancellation
from models.llama.bindings import llama_cpp
from models.llama.first_load import load_elsewhere_first
from models.llama.model import forget_errors, last_error, prepare_backend

_LONGEST = 256


@contextmanager
def vocabulary_only(path: Path, *, trusted: bool = False) -> Iterator[object]:
    """Open a model with only its header and vocabulary.

    Args:
        trusted: as for `LlamaModel`.

    Raises:
        Cancelled: the cancellation in force was cancelled.
        ModelError: the file is missing, or is no model.
    """
    check_magic(path, "a model")
    if not trusted:
        load_elsewhere_first(path, "vocabulary")
    forget_errors()
    prepare_backend()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    load = llama_cpp.llama_model_load_from_file
    model = cancellation.call(cancellation.current(), load, str(path).encode(), params)
    if not model:
        raise ModelError(f"{path}: llama.cpp cannot read this model ({last_error()})")
    try:
        yield model
    finally:
        cancellation.call_briefly(llama_cpp.llama_model_free, model)


def meta_value(model: object, key: str) -> str:
    """Return the value of a key as text, at most 255 bytes."""
    buffer = ctypes.create_string_buffer(_LONGEST)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace") if length >= 0 else ""


def meta_values(model: object) -> dict[str, str]:
    """Return all metadata except lists such as the vocabulary; each value at most 255 bytes."""
    buffer = ctypes.create_string_buffer(_LONGEST)
    values = {}
    for index in range(llama_cpp.llama_model_meta_count(model)):
        llama_cpp.llama_model_meta_key_by_index(model, index, buffer, len(buffer))
        key = buffer.value.decode("utf-8", "replace")
        values[key] = meta_value(model, key)
    return values
