"""The common beginnings of prompts, kept on disk as the model's state so that the next process need not read them
again.

Loading a state copies a few megabytes, while reading hundreds of tokens takes a second. A state is valid for one model,
its adapters, one build of llama.cpp and exactly these tokens. If one of them changes, so does the name of its file.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from models.files.whole_files import PRIVATE, write_whole
from models.llama.bindings import llama_cpp
from models.student_protocol import Adapter
from models.vocabulary import Token

LEAST_TOKENS = 64
"""Shorter prefixes are read as fast as they are loaded."""

_MOST_BYTES = 512_000_000
"""All states together; the least recently used are deleted first."""

_DIGEST = hashlib.sha256
_SUFFIX = ".state"


class SavedPrefixes:
    """A folder of states for one model. It is a cache: a state that cannot be read or written is computed again.

    Args:
        kind: what else the states depend on, such as the layout of the cache.
    """

    def __init__(self, folder: Path, model: Path, kind: str) -> None:
        self._folder = folder
        self._base = f"{_identity(Path(cast('Any', llama_cpp)._lib._name))}|{kind}|{_identity(model)}"

    def load(self, tokens: Sequence[Token], adapters: Sequence[Adapter]) -> bytes | None:
        """Return the state after these tokens, if it was saved."""
        path = self._path(tokens, adapters)
        try:
            content = path.read_bytes()
            digest, state = content[: _DIGEST().digest_size], content[_DIGEST().digest_size :]
            # llama.cpp trusts what it loads, so a damaged state must not get there.
            if digest != _DIGEST(state).digest():
                path.unlink()
                return None
            os.utime(path)
        except OSError:
            return None
        return state

    def save(self, tokens: Sequence[Token], adapters: Sequence[Adapter], state: bytes) -> None:
        """Save a state, completely or not at all."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._path(tokens, adapters), _DIGEST(state).digest() + state, PRIVATE)
            self._drop_oldest()
        except OSError:
            return

    def _path(self, tokens: Sequence[Token], adapters: Sequence[Adapter]) -> Path:
        used = [f"{_identity(adapter.path)}*{adapter.scale!r}" for adapter in adapters]
        name = _DIGEST("|".join([self._base, *used]).encode())
        name.update(np.array(tokens, np.int32).tobytes())
        return self._folder / f"{name.hexdigest()[:32]}{_SUFFIX}"

    def _drop_oldest(self) -> None:
        states = sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in states:
            total += path.stat().st_size
            if total > _MOST_BYTES:
                path.unlink()


def _identity(path: Path) -> str:
    """Return what tells a file from an earlier version. Hashing gigabytes would take longer than reading the prompt."""
    status = path.stat()
    return f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"
