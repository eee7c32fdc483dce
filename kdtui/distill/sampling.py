"""Selection of samples: orders of the training sessions, and the pieces of knowledge at the front of an order.

A strategy orders the training sessions; a piece of knowledge has the position of the earliest session that it comes
from. A sample of a ratio is that share of the pieces, from the front. So a larger sample of the same strategy and seed
contains the smaller one.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal, TypeAlias
from zlib import crc32

import numpy as np

from kdtui.errors import KdtuiError
from kdtui.text import counted
from models.unit_vectors import Vectors, scaled_to_one
from store.full_text import session_words
from store.records import Session

SampleStrategy: TypeAlias = Literal["random", "length", "longest", "diversity", "difficulty"]

_DIMENSIONS = 512
"""Dimensions of session vectors, which words are hashed into."""


def in_random_order(sessions: Sequence[Session], seed: int) -> list[str]:
    """Return the ids in a random order that depends only on the seed."""
    ids = [session.id for session in sessions]
    random.Random(seed).shuffle(ids)
    return ids


def by_length(sessions: Sequence[Session], seed: int) -> list[str]:
    """Order sessions so that any beginning has short and long sessions in the same proportion as the whole.

    Each length is spread evenly over the order: the n-th of m sessions of a length is at (n - u)/m of it, with one
    random u per length.
    """
    rng = random.Random(seed)
    length_of = {session.id: len(session.items) for session in sessions}
    of_length: defaultdict[int, list[str]] = defaultdict(list)
    for session_id in in_random_order(sessions, seed):
        of_length[length_of[session_id]].append(session_id)
    positions: list[tuple[float, str]] = []
    for _, members in sorted(of_length.items()):
        offset = rng.random()
        positions += [((number - offset) / len(members), member) for number, member in enumerate(members, start=1)]
    return [session_id for _, session_id in sorted(positions)]


def longest_first(sessions: Sequence[Session], seed: int) -> list[str]:
    """Order sessions by falling length, randomly within a length."""
    length_of = {session.id: len(session.items) for session in sessions}
    return sorted(in_random_order(sessions, seed), key=lambda session_id: -length_of[session_id])


def farthest_first(sessions: Sequence[Session], seed: int) -> list[str]:
    """Order sessions so that each is the least similar to those before it (Gonzalez, 1985); the first is random."""
    if not sessions:
        return []
    vectors = word_vectors(sessions)
    chosen = [random.Random(seed).randrange(len(sessions))]
    nearest = vectors @ vectors[chosen[0]]
    nearest[chosen[0]] = np.inf
    while len(chosen) < len(sessions):
        chosen.append(int(np.argmin(nearest)))
        np.maximum(nearest, vectors @ vectors[chosen[-1]], out=nearest)
        nearest[chosen] = np.inf
    return [sessions[number].id for number in chosen]


def hardest_first(sessions: Sequence[Session], pair_f1: Mapping[str, float], how_to_get: str) -> list[str]:
    """Order sessions by the student's pair F1, lowest first.

    Args:
        pair_f1: pair F1 of the student's own answers, by session.
        how_to_get: the command that makes the student answer all sessions.

    Raises:
        KdtuiError: the student has not answered all of them.
    """
    missing = sum(session.id not in pair_f1 for session in sessions)
    if missing:
        raise KdtuiError(
            f"the student has not answered {missing:,} of {counted(len(sessions), 'training session')}; have them "
            f"answered with: {how_to_get}"
        )
    return sorted((session.id for session in sessions), key=lambda session_id: (pair_f1[session_id], session_id))


def word_vectors(sessions: Sequence[Session]) -> Vectors:
    """Hash the words of titles and categories, weighted by rarity: (sessions, dimensions), rows of length one."""
    words = [session_words(session) for session in sessions]
    count = Counter(word for each in words for word in each)
    vectors = np.zeros((len(sessions), _DIMENSIONS), np.float32)
    for row, each in zip(vectors, words, strict=True):
        for word in each:
            # Unlike crc32, hash() differs between processes.
            row[crc32(word.encode()) % _DIMENSIONS] += np.log(1 + len(sessions) / count[word])
    return scaled_to_one(vectors)


def take_from_front(order: Sequence[str], pieces: Mapping[int, Sequence[str]], ratio: float) -> list[int]:
    """Return the numbers of the first pieces, at least one, by an order of their sessions.

    Args:
        order: ids of the training sessions.
        pieces: sessions that each piece comes from, by number; a piece without a session comes last.
        ratio: above 0, at most 1.
    """
    position = {session: number for number, session in enumerate(order)}

    def earliest(number: int) -> tuple[int, int]:
        return min(
            (position[session] for session in pieces[number] if session in position), default=len(position)
        ), number

    ranked = sorted(pieces, key=earliest)
    return ranked[: ceil(ratio * len(ranked))]
