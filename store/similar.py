"""Suggestions for a misspelt name."""

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(name: str, names: Iterable[str], otherwise: str) -> str:
    """Return the end of a message about an unknown name: a suggestion of the most similar name, or `otherwise`."""
    known = list(names)
    same = [each for each in known if each.casefold() == name.casefold()]
    close = same or get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise
