"""What a host is sent: the package `models` as a zip, job directories as a tar, and bases file by file."""

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
from typing import IO

from platformdirs import user_cache_path

from kdtui.jobs.transport import CHUNK
from models.files.file_cache import remembered
from models.sft.host import sha256

_LARGE = 1 << 24
"""Bytes of a file above which its hash is remembered until it changes."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Of all files in the zip, so that the same package is the same zip."""


@dataclass(frozen=True, slots=True)
class Code:
    """The package `models`, of a version that its name tells."""

    name: str
    content: bytes


@cache
def code() -> Code:
    """The package `models` with all that Python reads of it: what trains, and what answers the client."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sorted(_python_files(files("models"), "models")):
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), source.read_bytes())
    content = found.getvalue()
    return Code(f"models-{hashlib.sha256(content).hexdigest()[:16]}.zip", content)


def _python_files(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    for each in folder.iterdir():
        path = f"{name}/{each.name}"
        if each.is_dir():
            yield from _python_files(each, path)
        elif each.name.endswith((".py", ".txt")):
            yield path, each


def requirements() -> str:
    """The packages that a trainer needs, with their versions."""
    return (files("models") / "sft" / "requirements.txt").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Tree:
    """Files that a host keeps under their hash: a base, or wheels.

    Attributes:
        key: of names and contents.
        files: name, place, size, sha256.
    """

    key: str
    files: tuple[tuple[str, Path, int, str], ...]

    @classmethod
    def of(cls, path: Path, name: str | None = None) -> "Tree":
        """A file, or the files right in a folder.

        Args:
            name: what a file is called on the host; None for its own name.

        Raises:
            OSError: one cannot be read.
        """
        paths = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())
        found = []
        for each in paths:
            size = each.stat().st_size
            # Of a base of many gigabytes, which each launch looks for on its host, it takes long.
            cache = user_cache_path("kdtui") / "files" if size > _LARGE else None
            found.append((name or each.name, each, size, remembered(each, sha256, cache)))
        names = json.dumps([[called, digest] for called, _, _, digest in found])
        return cls(hashlib.sha256(names.encode()).hexdigest()[:32], tuple(found))


@contextmanager
def packed(folder: Path, names: Sequence[str], instead: Mapping[str, bytes]) -> Iterator[IO[bytes]]:
    """A tar of some files and folders of a folder, those that are there.

    Args:
        instead: what some files hold there. They come last, in this order: what comes half can be told by them.
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
    """A file from where it stands, piece by piece."""
    while chunk := file.read(CHUNK):
        yield chunk
