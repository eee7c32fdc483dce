"""Mine the training bundles for frequent patterns, the first format of knowledge."""

from collections.abc import Sequence

import msgspec

from kdtui.distill.annotations import TEACHER
from kdtui.distill.patterns import DEFAULT_LEVELS, DEFAULT_SIZE, DEFAULT_SUPPORT, mine
from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.knowledge.findings import Distilled, Findings, store_findings
from store.knowledge import NewKnowledge
from store.records import Session
from store.sessions import iter_sessions
from store.sqlite import Database


def mine_patterns(
    db: Database,
    dataset: str,
    *,
    levels: Sequence[int] | None = None,
    min_support: float = DEFAULT_SUPPORT,
    max_size: int = DEFAULT_SIZE,
    replace: bool = False,
) -> Distilled:
    """Mine the training sessions of a dataset, and store the patterns next to earlier ones.

    Args:
        replace: delete earlier ones that are not found again.

    Raises:
        As `find_patterns`.
    """
    findings = find_patterns(db, dataset, levels=levels, min_support=min_support, max_size=max_size)
    [distilled] = store_findings(db, findings, replace=replace)
    return distilled


def find_patterns(
    db: Database,
    dataset: str,
    *,
    levels: Sequence[int] | None = None,
    min_support: float = DEFAULT_SUPPORT,
    max_size: int = DEFAULT_SIZE,
) -> Findings:
    """Mine the training sessions of a dataset. Nothing is stored.

    Args:
        levels: category depths that all products must have; None for the usual ones that they have.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: it has no training session with bundles, its categories are not deep enough, or it has no pattern.
    """
    sessions = list(iter_sessions(db, dataset, split="train"))
    if not sessions:
        raise KdtuiError(f"dataset {dataset!r} has no training sessions with bundles; there is nothing to mine")
    deepest = _deepest(sessions)
    if not deepest:
        raise KdtuiError(f"no product in the training sessions of dataset {dataset!r} has a category to mine")
    for level in levels or ():
        if not 1 <= level <= deepest:
            raise KdtuiError(
                f"level {level} cannot be mined: the deepest category in the training sessions of dataset {dataset!r} "
                f"has {counted(deepest, 'level')}"
            )
    patterns = mine(sessions, levels=levels or DEFAULT_LEVELS, min_support=min_support, max_size=max_size)
    if not patterns:
        raise KdtuiError(
            f"no pattern of dataset {dataset!r} has a support of {min_support:g} at these levels, so nothing was "
            "changed; lower --min-support, or mine other levels with --level"
        )
    pieces = [
        NewKnowledge(
            pattern.statement,
            msgspec.json.encode(pattern).decode(),
            pattern.support,
            pattern.confidence,
            pattern.lift,
            pattern.precision,
        )
        for pattern in patterns
    ]
    return Findings(dataset, TEACHER, {"pattern": pieces})


def _deepest(sessions: Sequence[Session]) -> int:
    """Return the number of levels of the deepest main category."""
    items = (item for session in sessions for item in session.items)
    return max((len(item.categories[0]) for item in items if item.categories), default=0)
