"""Stored scores of runs, valid until the code that computes them changes."""

from dataclasses import asdict
from functools import cache
from math import nan
from typing import Any

import msgspec

from kdtui.bundling.metrics import Scores
from kdtui.workflows.code_version import code_version
from store.run_scores import cache_scores, cached_scores
from store.runs import Run
from store.sqlite import Database

_COMPUTED_BY = (
    ("kdtui.bundling", ""),
    ("kdtui.workflows.runs", "evaluate.py"),
    ("kdtui.workflows.runs", "intent_cosine.py"),
)
"""What the scores of runs depend on, apart from their answers."""


@cache
def _code() -> str:
    return code_version(_COMPUTED_BY)


def _version(failed: int) -> str:
    # An answer never changes, but a failure can be replaced by an answer.
    return f"{_code()} but {failed}" if failed else _code()


def cached_scores_of(db: Database, run: Run, answered: int, failed: int) -> Scores | None:
    """Return the stored scores of a run over its answered sessions; None if there are none.

    Args:
        answered: sessions that the run has answered.
        failed: how many of those have a failure in place of bundles.
    """
    text = cached_scores(db, run.id, answered, _version(failed))
    if text is None:
        return None
    try:
        return as_scores(msgspec.json.decode(text, type=dict[str, Any]))
    except msgspec.MsgspecError:
        # Somebody edited them.
        return None


def cache_scores_of(db: Database, run: Run, scores: Scores, failed: int) -> None:
    """Store the scores of a run over all sessions that it has answered; `failed` as for `cached_scores_of`."""
    # Values that are not finite become null.
    text = msgspec.json.encode(asdict(scores)).decode()
    cache_scores(db, run.id, scores.sessions, _version(failed), text)


def as_scores(values: dict[str, Any]) -> Scores:
    """Decode scores from their values, in which null stands for nan.

    Raises:
        msgspec.MsgspecError: they are other values.
    """
    return msgspec.convert({key: nan if value is None else value for key, value in values.items()}, Scores)
