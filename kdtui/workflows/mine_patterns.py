"""Training bundles become knowledge of the first format, frequent patterns."""

from collections.abc import Sequence

import msgspec

from kdtui.distill.annotations import TEACHER
from kdtui.distill.patterns import DEFAULT_LEVELS, DEFAULT_SIZE, DEFAULT_SUPPORT, mine
from kdtui.errors import KdtuiError
from store.datasets import iter_sessions
from store.knowledge import NewKnowledge, replace_knowledge
from store.sqlite import Database


def mine_patterns(
    db: Database,
    dataset: str,
    *,
    levels: Sequence[int] = DEFAULT_LEVELS,
    min_support: float = DEFAULT_SUPPORT,
    max_size: int = DEFAULT_SIZE,
) -> int:
    """Mine the training sessions of a dataset, store the patterns in place of earlier ones, and return their number.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: it has no training session with bundles.
    """
    sessions = list(iter_sessions(db, dataset, split="train"))
    if not sessions:
        raise KdtuiError(f"dataset {dataset!r} has no training sessions with bundles; there is nothing to mine")
    found = mine(sessions, levels=levels, min_support=min_support, max_size=max_size)
    pieces = (
        NewKnowledge(
            pattern.statement,
            msgspec.json.encode(pattern).decode(),
            pattern.support,
            pattern.confidence,
            pattern.lift,
            pattern.precision,
        )
        for pattern in found
    )
    return replace_knowledge(db, dataset, "pattern", TEACHER, pieces)
