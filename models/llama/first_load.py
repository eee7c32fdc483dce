"""The first load of a model from outside, in a process of its own.

llama.cpp checks much of a file by assertions, and some of it not at all. A file can therefore end the process that
loads it, and a terminal app would end with it. No list of checks of ours could keep up with a hundred architectures. So
another process loads each file first, does a bit of everything with it, and may end. That takes a second or two more,
once: a file that was loaded is remembered until it changes. What is shipped with kdtui is trusted.
"""

from contextlib import closing
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, Literal, cast

from models.embedded import is_shipped
from models.errors import Cancelled, Crashed, ModelError
from models.files.file_cache import compute_cached
from models.llama import cancellation
from models.llama.bindings import llama_cpp

Use = Literal["vocabulary", "text", "vectors"]
"""What a model is loaded for: only to read its header and vocabulary, to decode text, or to embed texts."""

_LOOK = 0.05
"""Seconds between two checks for a cancellation."""

_PATIENCE = 60.0
"""Seconds that a model can take, besides those for its bytes."""

_BYTES_A_SECOND = 20e6
"""Bytes that the slowest disk reads in a second."""


def load_elsewhere_first(path: Path, use: Use) -> None:
    """Refuse a model that llama.cpp crashes on or cannot load, before this process loads it.

    Raises:
        Cancelled: the cancellation in force was cancelled.
        ModelError: the other process crashed, failed, or took too long.
    """
    if not is_shipped(path):
        compute_cached(path, partial(_load_elsewhere, use), memory(use))


def memory(use: Use) -> Path:
    """Return the folder that remembers the files that were loaded for this use by this build of llama.cpp."""
    # Imported here: the trainer runs on machines without it.
    from platformdirs import user_cache_path

    library = Path(cast("Any", llama_cpp)._lib._name)
    known = library.stat()
    build = sha256(f"{library} {known.st_size} {known.st_mtime_ns}".encode()).hexdigest()
    return user_cache_path("kdtui") / "loaded" / f"{use}-{build[:12]}"


def _load_elsewhere(use: Use, path: Path) -> str:
    # Imported here: the shipped student starts faster without it.
    from models.subprocess_call import steps_in_process

    wish = cancellation.current()
    patience = _PATIENCE + path.stat().st_size / _BYTES_A_SECOND
    until = monotonic() + patience
    try:
        with closing(steps_in_process(_load, str(path), use, every=_LOOK)) as steps:
            for _ in steps:
                if wish.is_cancelled:
                    raise Cancelled
                if monotonic() > until:
                    raise ModelError(f"{path}: llama.cpp has not loaded this model after {patience:.0f} seconds")
    except Crashed as error:
        # Linux ends a process so that fills the memory; llama.cpp does not.
        if str(error) == "ends by signal 9":
            raise ModelError(
                f"{path}: there is not enough memory for this model; use a smaller one, or close other programs"
            ) from error
        raise ModelError(
            f"{path}: llama.cpp crashes on this model ({error}); the file is damaged, or made for another version of it"
        ) from error
    return "loaded"


def _load(path: str, use: Use) -> None:
    """Load the model in this process, which can end."""
    # By its name: it builds on the modules that build on this one.
    import_module("models.llama.trial").load(path, use)
