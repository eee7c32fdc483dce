"""Hashes of source files, which tell whether other code computed a cached value."""

from collections.abc import Iterable
from hashlib import sha256
from importlib.resources import files


def code_version(parts: Iterable[tuple[str, str]]) -> str:
    """Hash source files.

    Args:
        parts: pairs of a package and the name of a file in it; an empty name stands for all files of the package.

    Raises:
        FileNotFoundError: a package has no such file.
    """
    digest = sha256()
    for package, name in parts:
        sources = [
            each for each in files(package).iterdir() if each.name == name or (not name and each.name.endswith(".py"))
        ]
        if not sources:
            raise FileNotFoundError(f"{package} has no file {name}")
        for source in sorted(sources, key=lambda each: each.name):
            digest.update(source.read_bytes())
    return digest.hexdigest()
