"""Reproducible random subsets: a smaller one is part of a larger one."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from heapq import nsmallest
from typing import TypeVar

_Thing = TypeVar("_Thing")


def draw_subset(things: Iterable[_Thing], count: int, seed: int, name: Callable[[_Thing], str]) -> list[_Thing]:
    """Draw `count` things at random, in the order of the draw; all of them if there are no more.

    The position of a thing depends only on the seed and its name, so any beginning of the result is a random subset.

    Args:
        name: returns a unique name of a thing.
    """
    return nsmallest(count, things, key=lambda thing: sha256(f"{seed} {name(thing)}".encode()).digest())
