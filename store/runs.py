"""Runs: a student's answers over a split, kept one by one as they come."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from store.database import now
from store.datasets import dataset_id
from store.errors import NotFound, StoreError
from store.records import RunSettings, Split
from store.sessions import split_size
from store.sqlite import Database

LONGEST_TAG = 100
"""Characters of a tag."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored.

    Attributes:
        name: who answered, and how.
        finished_at: None while sessions are missing.
        note: what a person says of it; empty for nothing.
        tags: words that a person has put it under, sorted.
    """

    id: int
    dataset: str
    split: Split
    name: str
    settings: RunSettings
    created_at: str
    finished_at: str | None
    note: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run, and how far it is.

    Attributes:
        sessions: how many it is to answer.
        split_size: of how many these are a part, or all.
        answered: how many it has answered, those included that the student could not answer.
        failed: for how many of those there are no bundles, but a reason.
        seconds: that the answers took, together.
    """

    run: Run
    sessions: int
    split_size: int
    answered: int
    failed: int
    seconds: float

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.run.finished_at is not None and self.answered >= self.sessions

    @property
    def version(self) -> tuple[int, int, int]:
        """What scores of the run depend on: an answer never changes, but one that failed may be replaced."""
        return self.run.id, self.answered, self.failed

    @property
    def seconds_per_session(self) -> float | None:
        """What an answer took on average; None where there is none."""
        return self.seconds / self.answered if self.answered else None


def start_run(
    db: Database, dataset: str, split: Split, name: str, settings: RunSettings, tags: Sequence[str] = ()
) -> Run:
    """Store a new run without predictions.

    Raises:
        NotFound: there is no such dataset.
        StoreError: a tag is none, as in `tag_run`.
    """
    of = dataset_id(db, dataset)
    check_tags(tags)
    with db.atomic():
        number = db.execute(
            "INSERT INTO runs (dataset_id, split, student, settings, created_at) VALUES (?, ?, ?, ?, ?)",
            [of, split, name, msgspec.json.encode(settings).decode(), now()],
        ).lastrowid
        assert number is not None
        _add_tags(db, number, tags)
    return get_run(db, number)


def get_run(db: Database, number: int) -> Run:
    """One run.

    Raises:
        NotFound: there is none of that number.
        StoreError: it was made by a newer version, with settings that are not known here.
    """
    row = db.execute(f"{_RUNS} WHERE runs.id = ?", [number]).fetchone()
    if row is None:
        raise NotFound(f"there is no run {number}; kdtui run ls shows those that there are")
    return _run(row)


def runs_of_model(db: Database, name: str) -> int:
    """How many runs name a model as the student or an adapter; they stay, and cannot be repeated."""
    row = db.execute(
        """
        SELECT count(*) FROM runs WHERE json_extract(settings, '$.student') = :name
            OR EXISTS (SELECT 1 FROM json_each(settings, '$.adapters') WHERE value ->> 0 = :name)
        """,
        {"name": name},
    ).fetchone()
    return int(row[0])


def list_runs(db: Database) -> list[RunSummary]:
    """All runs, the oldest first.

    Raises:
        StoreError: one was made by a newer version, with settings that are not known here.
    """
    counts = {
        number: tuple(rest)
        for number, *rest in db.execute(
            "SELECT run_id, count(*), count(error), total(seconds) FROM predictions GROUP BY run_id"
        )
    }
    sizes = {
        (dataset, split): size
        for dataset, split, size in db.execute(
            """
            SELECT name, split, count(*) FROM sessions JOIN datasets ON datasets.id = dataset_id
            WHERE split IS NOT NULL GROUP BY dataset_id, split
            """
        )
    }
    found = []
    for row in db.execute(f"{_RUNS} ORDER BY runs.id").fetchall():
        run = _run(row)
        size = sizes.get((run.dataset, run.split), 0)
        answered, failed, seconds = counts.get(run.id, (0, 0, 0.0))
        found.append(RunSummary(run, min(size, run.settings.limit or size), size, answered, failed, seconds))
    return found


def summary_of(db: Database, number: int) -> RunSummary:
    """One run, and how far it is; otherwise as `get_run`."""
    run = get_run(db, number)
    size = split_size(db, run.dataset, run.split)
    answered, failed, seconds = db.execute(
        "SELECT count(*), count(error), total(seconds) FROM predictions WHERE run_id = ?", [number]
    ).fetchone()
    return RunSummary(run, min(size, run.settings.limit or size), size, answered, failed, seconds)


def tag_run(db: Database, number: int, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Run:
    """Put a run under words by which it is found, or take them away; the run as it is then.

    Raises:
        NotFound: there is no run of that number, or it has no such tag to take away.
        StoreError: a tag is not one printable word.
    """
    check_tags(add)
    with db.atomic():
        run = get_run(db, number)
        for tag in remove:
            if tag not in run.tags:
                has = f"its tags are: {', '.join(run.tags)}" if run.tags else "it has none"
                raise NotFound(f"run {number} has no tag {tag!r}; {has}")
            db.execute("DELETE FROM run_tags WHERE run_id = ? AND tag = ?", [number, tag])
        _add_tags(db, number, add)
    return get_run(db, number)


def _add_tags(db: Database, number: int, tags: Iterable[str]) -> None:
    for tag in tags:
        db.execute("INSERT OR IGNORE INTO run_tags (run_id, tag) VALUES (?, ?)", [number, tag])


def check_tags(tags: Iterable[str]) -> None:
    """Refuse what is no tag.

    Raises:
        StoreError: one is not one printable word.
    """
    for tag in tags:
        if not tag.isprintable() or len(tag.split()) != 1 or "," in tag or len(tag) > LONGEST_TAG:
            most = f"of {LONGEST_TAG} characters at most"
            raise StoreError(f"{tag[:LONGEST_TAG]!r} is no tag: one word without commas, {most}")


def note_run(db: Database, number: int, note: str) -> Run:
    """Note something of a run, in place of what was noted before; the run as it is then.

    Args:
        note: empty for nothing.

    Raises:
        NotFound: there is none of that number.
    """
    with db.atomic():
        db.execute("UPDATE runs SET note = ? WHERE id = ?", [note.strip() or None, number])
    return get_run(db, number)


def delete_run(db: Database, number: int) -> None:
    """Delete a run with its answers.

    Raises:
        NotFound: there is none of that number.
    """
    if db.execute("SELECT 1 FROM runs WHERE id = ?", [number]).fetchone() is None:
        raise NotFound(f"there is no run {number}; kdtui run ls shows those that there are")
    with db.atomic():
        db.execute("DELETE FROM runs WHERE id = ?", [number])


_RUNS = """
    SELECT runs.id, name, split, student, settings, runs.created_at, finished_at, note,
        (SELECT json_group_array(tag) FROM (SELECT tag FROM run_tags WHERE run_id = runs.id ORDER BY tag))
    FROM runs JOIN datasets ON datasets.id = dataset_id
"""


def _run(row: Sequence[Any]) -> Run:
    number, dataset, split, student, settings, created_at, finished_at, note, tags = row
    try:
        decoded = msgspec.json.decode(settings, type=RunSettings)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the settings of run {number} cannot be read: {error}") from error
    found = msgspec.json.decode(tags, type=tuple[str, ...])
    return Run(number, dataset, split, student, decoded, created_at, finished_at, note or "", found)


def latest_run(db: Database, dataset: str, split: Split, student: str) -> Run | None:
    """The newest of `plain_runs`, if there is one.

    Raises:
        NotFound: there is no such dataset.
    """
    return next(plain_runs(db, dataset, split, student), None)


def plain_runs(db: Database, dataset: str, split: Split, student: str) -> Iterator[Run]:
    """The runs of a student on a split without knowledge and adapters, the newest first.

    Raises:
        NotFound: there is no such dataset.
    """
    rows = db.execute(
        """
        SELECT id FROM runs WHERE dataset_id = ? AND split = ? AND json_extract(settings, '$.student') = ?
            AND json_array_length(settings, '$.knowledge') = 0 AND json_array_length(settings, '$.adapters') = 0
        ORDER BY id DESC
        """,
        [dataset_id(db, dataset), split, student],
    ).fetchall()
    yield from (get_run(db, row[0]) for row in rows)


def finish_run(db: Database, run: Run) -> None:
    """Note that all sessions have been answered."""
    with db.atomic():
        db.execute("UPDATE runs SET finished_at = ? WHERE id = ?", [now(), run.id])
