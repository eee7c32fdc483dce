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
    ("kdtui.workflows", "evaluate.py"),
    ("kdtui.workflows", "intent_cosine.py"),
)
"""What the scores of runs depend on, beside their answers."""


@cache
def _version() -> str:
    return code_version(_COMPUTED_BY)


def kept_scores_of(db: Database, run: Run, answered: int) -> Scores | None:
    """The scores of a run over so many sessions that it has answered; None where they are not kept."""
    text = kept_scores(db, run.id, answered, _version())
    if text is None:
        return None
    try:
        return as_scores(msgspec.json.decode(text, type=dict[str, Any]))
    except msgspec.MsgspecError:
        # Somebody has edited them.
        return None


def keep_scores_of(db: Database, run: Run, scores: Scores) -> None:
    """Keep the scores of a run over all sessions that it has answered."""
    # What is no number becomes null.
    text = msgspec.json.encode(asdict(scores)).decode()
    keep_scores(db, run.id, scores.sessions, _version(), text)


def as_scores(values: dict[str, Any]) -> Scores:
    """Scores from their values, in which null stands for what is no number.

    Raises:
        msgspec.MsgspecError: they are others.
    """
    return msgspec.convert({key: nan if value is None else value for key, value in values.items()}, Scores)
