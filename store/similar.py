"""What somebody may have meant by a name that is not there."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, names: Iterable[str], otherwise: str) -> str:
    """The end of a sentence on a name that is not there: the most similar one that is, or else what to do.

    Args:
        otherwise: for when none is similar.
    """
    known = list(names)
    same = [each for each in known if each.casefold() == name.casefold()]
    close = same or get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise
