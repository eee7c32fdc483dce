"""Floors over the sessions of runs: computed once, and kept in the store until what computes them changes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import nan
from typing import Any

import msgspec

from kdtui.bundling.metrics import Scores
from kdtui.workflows.evaluate import ResultRow, score_floors
from kdtui.workflows.scored import Scored
from store.floors import keep_floors, kept_floors
from store.records import Session
from store.sqlite import Database

_COMPUTED_BY = (
    ("kdtui.bundling", ""),
    ("kdtui.distill", ""),
    ("kdtui.workflows", "pair_evidence.py"),
    ("kdtui.workflows", "students.py"),
    ("kdtui.workflows", "evaluate.py"),
    ("models", "clustering.py"),
    ("models", "logistic.py"),
    ("store", "subsets.py"),
)
"""The packages and files whose code the scores of floors depend on."""


class Sessions(list[Session]):
    """Sessions that call a function before each step through them; what it raises ends the walk.

    A hundred thousand take minutes, and whoever asked for them may be gone by then.
    """

    def __init__(self, sessions: Iterable[Session], check: Callable[[], None]) -> None:
        super().__init__(sessions)
        self._check = check

    def __iter__(self) -> Iterator[Session]:
        """Each session, after the check."""
        for session in super().__iter__():
            self._check()
            yield session


def unchecked() -> None:
    """The check of who waits to the end."""


def floors_over(db: Database, scored: Scored, *, check: Callable[[], None] = unchecked) -> Iterator[ResultRow]:
    """The rows that need no model, over these sessions, in the order of `FLOOR_NAMES`; some take seconds, unless they
    are kept.

    Args:
        check: called again and again; it raises an error to end the work.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: the split is empty.
    """
    subset = (scored.limit, scored.seed)
    kept = kept_floors(db, scored.dataset, scored.split, subset, _version())
    if kept is not None and (rows := _decoded(kept)) is not None:
        yield from rows
        return
    rows = []
    for row in score_floors(db, scored.dataset, Sessions(scored.sessions(db), check)):
        rows.append(row)
        yield row
    keep_floors(db, scored.dataset, scored.split, subset, _version(), _encoded(rows))


@cache
def _version() -> str:
    """Of all code that the scores depend on: another version of it may find others."""
    found = sha256()
    for package, name in _COMPUTED_BY:
        sources = [each for each in files(package).iterdir() if each.name == name or (not name and _is_source(each))]
        for source in sorted(sources, key=lambda each: each.name):
            found.update(source.read_bytes())
    return found.hexdigest()


def _is_source(file: Any) -> bool:
    return bool(file.name.endswith(".py"))


def _encoded(rows: Iterable[ResultRow]) -> str:
    # What is no number becomes null.
    return msgspec.json.encode([(row.name, asdict(row.scores)) for row in rows]).decode()


def _decoded(text: str) -> list[ResultRow] | None:
    """The rows; None where somebody has edited them."""
    try:
        return [
            ResultRow(
                name, msgspec.convert({key: nan if value is None else value for key, value in scores.items()}, Scores)
            )
            for name, scores in msgspec.json.decode(text, type=list[tuple[str, dict[str, Any]]])
        ]
    except msgspec.MsgspecError:
        return None
