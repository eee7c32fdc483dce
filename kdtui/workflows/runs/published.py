"""Published results, and whether a split is the one that they are about.

A split is recognized by the scored data, not by the name of the dataset: the sessions with their products and true
bundles.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec

from kdtui.bundling.metrics import Scores
from kdtui.bundling.truth import true_bundles
from kdtui.errors import KdtuiError
from kdtui.workflows.runs.costs import NOT_KNOWN
from kdtui.workflows.runs.session_selection import SessionSelection
from store.records import Session, Split
from store.sessions import iter_sessions, split_size
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class OfficialSplit:
    """A split of a dataset on which published methods are compared.

    Attributes:
        dataset: its name in papers.
    """

    dataset: str
    split: Split


# The data that the authors of AICL (Sun et al., SIGIR 2024) released: number of sessions, and `fingerprint`.
_OFFICIAL = {
    (623, "03c039acf92f0bcd61c3461e8217de2ad3ef8a1a54c0f15204d5f262eb568b4b"): OfficialSplit("Electronic", "train"),
    (90, "0881d328b19ba067a0661214d5466328e19aa36d823134b60e68a6936d9d441a"): OfficialSplit("Electronic", "valid"),
    (180, "e8db11cb92b80ab6ff7a4f54a8d834a08c049c01d664c7431169501c5cbe0e5e"): OfficialSplit("Electronic", "test"),
    (698, "396c1221fa3a94242f72901bac0e06069d1bc2f1a11dccf6760a65fd6c0a81b1"): OfficialSplit("Clothing", "train"),
    (90, "7023de383b12168411c938cc5eb5453badf5a703a054e7a7e0c06443964fffa4"): OfficialSplit("Clothing", "valid"),
    (180, "760818995f4e48d9ce54560e89bc08d0a80438439ca0a2d26c9c401ac2f1940e"): OfficialSplit("Clothing", "test"),
}

DATASETS = tuple(dict.fromkeys(each.dataset for each in _OFFICIAL.values()))
"""The official datasets."""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A method with published results.

    Attributes:
        tag: a word for the source.
        source: publication, table and year.
        scores: the reported ones, by the fields of `kdtui.bundling.metrics.Scores`.
    """

    name: str
    tag: str
    source: str
    scores: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """Return a flat object with the keys of a `ScoreRow`; null if a metric is not reported."""
        return {
            "name": self.name,
            **{each.name: self.scores.get(each.name) for each in fields(Scores)},
            "intent_floors": None,
            **NOT_KNOWN.to_json(),
        }


class _Results(msgspec.Struct, forbid_unknown_fields=True):
    dataset: str
    split: Split
    tag: str
    source: str
    metrics: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]


def fingerprint(sessions: Iterable[Session]) -> str:
    """Hash sessions by the ids of their products and by their true bundles.

    The order of sessions, products and bundles makes no difference, and neither do titles, categories and intents.
    """
    digests = sorted(sha256(msgspec.json.encode(_essence(session))).digest() for session in sessions)
    return sha256(b"".join(digests)).hexdigest()


def official_split(db: Database, dataset: str, split: Split) -> OfficialSplit | None:
    """Return the official split that a stored split is; None if it is not one.

    Raises:
        NotFound: there is no such dataset.
    """
    size = split_size(db, dataset, split)
    # Most splits have another size, and need not be read.
    if not any(size == sessions for sessions, _ in _OFFICIAL):
        return None
    return _OFFICIAL.get((size, fingerprint(iter_sessions(db, dataset, split=split))))


def published_results(db: Database, selection: SessionSelection) -> list[PublishedRow]:
    """Return the published results about exactly these sessions.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: there are none; the message says why.
    """
    official = official_split(db, selection.dataset, selection.split)
    if official is None:
        raise KdtuiError(
            f"there are no published results about the {selection.split} split of dataset {selection.dataset!r}: it is "
            f"not a split of the official datasets ({', '.join(DATASETS)}); leave out --published"
        )
    rows = [row for about, row in _all_rows() if about == official]
    if not rows:
        there_are = ", ".join(
            dict.fromkeys(about.split for about, _ in _all_rows() if about.dataset == official.dataset)
        )
        raise KdtuiError(
            f"published results about {official.dataset} are about its {there_are} split, not about its "
            f"{official.split} split; name the split with --split, or leave out --published"
        )
    if selection.limit is not None:
        raise KdtuiError(
            f"published results are about all {selection.split_size:,} sessions of the {selection.split} split; leave "
            "out --limit or --published"
        )
    return rows


@cache
def _all_rows() -> list[tuple[OfficialSplit, PublishedRow]]:
    text = files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    content: dict[str, Any] = tomllib.loads(text)
    return [
        (
            OfficialSplit(results.dataset, results.split),
            PublishedRow(name, results.tag, results.source, dict(zip(results.metrics, numbers, strict=True))),
        )
        for results in msgspec.convert(content["results"], list[_Results])
        for name, numbers in results.rows.items()
    ]


def _essence(session: Session) -> tuple[str, list[str], list[list[str]]]:
    items = [item.id for item in session.items]
    bundles = sorted(sorted(items[position - 1] for position in bundle) for bundle in true_bundles(session))
    return session.id, sorted(items), bundles
