"""Scores of runs as they are kept in the store, until the code changes that they depend on."""

from dataclasses import asdict
from functools import cache
from math import nan
from typing import Any

import msgspec

from kdtui.bundling.metrics import Scores
from kdtui.workflows.code_version import code_version
from store.run_scores import keep_scores, kept_scores
from store.runs import Run
from store.sqlite import Database

_COMPUTED_BY = (
    ("kdtui.bundling", ""),
    ("kdtui.workflows.runs", "evaluate.py"),
    ("kdtui.workflows.runs", "intent_cosine.py"),
)
"""What the scores of runs depend on, beside their answers."""


@cache
def _code() -> str:
    return code_version(_COMPUTED_BY)


def _version(failed: int) -> str:
    # An answer never changes, but one that failed may be replaced by another.
    return f"{_code()} but {failed}" if failed else _code()


def kept_scores_of(db: Database, run: Run, answered: int, failed: int) -> Scores | None:
    """The scores of a run over so many sessions that it has answered; None where they are not kept.

    Args:
        failed: how many of those have no bundles, but a reason.
    """
    text = kept_scores(db, run.id, answered, _version(failed))
    if text is None:
        return None
    try:
        return as_scores(msgspec.json.decode(text, type=dict[str, Any]))
    except msgspec.MsgspecError:
        # Somebody has edited them.
        return None


def keep_scores_of(db: Database, run: Run, scores: Scores, failed: int) -> None:
    """Keep the scores of a run over all sessions that it has answered; `failed` as for `kept_scores_of`."""
    # What is no number becomes null.
    text = msgspec.json.encode(asdict(scores)).decode()
    keep_scores(db, run.id, scores.sessions, _version(failed), text)


def as_scores(values: dict[str, Any]) -> Scores:
    """Scores from their values, in which null stands for what is no number.

    Raises:
        msgspec.MsgspecError: they are others.
    """
    return msgspec.convert({key: nan if value is None else value for key, value in values.items()}, Scores)
