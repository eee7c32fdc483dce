"""What kdtui sends to a host: the package `models` as a zip, job directories as a tar, and bases file by file."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from platformdirs import user_cache_path

from kdtui.hosts.transport import CHUNK
from models.files.file_cache import compute_cached
from models.files.hashing import file_sha256

TRAINER_PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors")
"""The packages that a trainer needs; for a base in GGUF it needs `gguf` too."""

_LARGE = 1 << 24
"""Files over this number of bytes have their hash cached until they change."""

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
"""The time of all files in the zip: the same package gives the same zip."""


@dataclass(frozen=True, slots=True)
class Code:
    """The package `models` as a zip whose name has a hash of its content."""

    name: str
    content: bytes


@cache
def code() -> Code:
    """Return the package `models`: the trainer, and the program that answers the client."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sorted(_python_files(files("models"), "models")):
            archive.writestr(zipfile.ZipInfo(name, _TIMESTAMP), source.read_bytes())
    content = buffer.getvalue()
    return Code(f"models-{hashlib.sha256(content).hexdigest()[:16]}.zip", content)


def _python_files(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    for each in folder.iterdir():
        path = f"{name}/{each.name}"
        if each.is_dir():
            yield from _python_files(each, path)
        elif each.name.endswith((".py", ".txt")):
            yield path, each


def requirements() -> str:
    """Return the packages that a trainer needs, with their versions, as a requirements file."""
    return (files("models") / "sft" / "requirements.txt").read_text(encoding="utf-8")


class TreeFile(NamedTuple):
    """A file of a tree; `name` is its name on the host, `size` is in bytes."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Tree:
    """Files that a host stores under their hash: a base, or wheels.

    Attributes:
        key: a hash of names and contents.
    """

    key: str
    files: tuple[TreeFile, ...]

    @classmethod
    def of(cls, path: Path, name: str | None = None) -> "Tree":
        """Return a file, or the files of a folder without its subfolders, as a tree.

        Args:
            name: the name of a file on the host; None for its own name.

        Raises:
            OSError: a file cannot be read.
        """
        paths = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())
        hashed = []
        for each in paths:
            size = each.stat().st_size
            # Hashing a base of many gigabytes takes long, and each launch needs the hash.
            cache = user_cache_path("kdtui") / "files" if size > _LARGE else None
            hashed.append(TreeFile(name or each.name, each, size, compute_cached(each, file_sha256, cache)))
        names = json.dumps([[each.name, each.sha256] for each in hashed])
        return cls(hashlib.sha256(names.encode()).hexdigest()[:32], tuple(hashed))


@contextmanager
def packed(folder: Path, names: Sequence[str], instead: Mapping[str, bytes]) -> Iterator[IO[bytes]]:
    """Make a tar of those names that exist in a folder.

    Args:
        instead: the content that some files get in the tar. They come last, in this order, so that an incomplete tar
            lacks them.
    """
    with TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name in names:
                if name not in instead and (folder / name).exists():
                    archive.add(folder / name, name)
            for name, content in instead.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        file.seek(0)
        yield file


async def chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    """Yield the rest of an open file."""
    while chunk := file.read(CHUNK):
        yield chunk
