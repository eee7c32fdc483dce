"""Subsets drawn by chance: the same each time, whatever else there is, and the smaller ones within the larger ones."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from heapq import nsmallest
from typing import TypeVar

_Thing = TypeVar("_Thing")


def drawn(things: Iterable[_Thing], count: int, seed: int, name: Callable[[_Thing], str]) -> list[_Thing]:
    """So many of some things, in the order in which they are drawn; all of them where there are no more.

    The place of a thing depends on the seed and its name alone. So whoever stops early has a subset by chance too.

    Args:
        name: tells a thing from all others.
    """
    return nsmallest(count, things, key=lambda thing: sha256(f"{seed} {name(thing)}".encode()).digest())
