"""The version of some of the program's code: what was computed by another one may be found otherwise today."""

from collections.abc import Iterable
from hashlib import sha256
from importlib.resources import files


def code_version(parts: Iterable[tuple[str, str]]) -> str:
    """A hash of sources.

    Args:
        parts: packages, each with the name of a file in it, or with nothing for all of its files.
    """
    found = sha256()
    for package, name in parts:
        sources = [
            each for each in files(package).iterdir() if each.name == name or (not name and each.name.endswith(".py"))
        ]
        for source in sorted(sources, key=lambda each: each.name):
            found.update(source.read_bytes())
    return found.hexdigest()
