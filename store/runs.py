"""Runs: a student answers the sessions of a split. Its answers are in `store.predictions`."""

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
"""Characters of a tag at most."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run.

    Attributes:
        name: the student and its settings, for a person to read.
        finished_at: None until all sessions are answered.
        note: the user's note; empty for none.
        tags: the user's tags, sorted.
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
    """A run and its progress.

    Attributes:
        sessions: how many it has to answer.
        split_size: how many the split has.
        answered: how many it has answered, including failures.
        failed: how many sessions have a reason for the failure instead of bundles.
        seconds_per_session: of work, over the answered sessions, of which several can be answered at a time; None
            without answers.
    """

    run: Run
    sessions: int
    split_size: int
    answered: int
    failed: int
    seconds_per_session: float | None

    @property
    def is_over(self) -> bool:
        """Whether there is no session left to answer."""
        return self.run.finished_at is not None and self.answered >= self.sessions

    @property
    def version(self) -> tuple[int, int, int]:
        """What the scores of the run depend on: an answer never changes, but a failure can be replaced."""
        return self.run.id, self.answered, self.failed


def start_run(
    db: Database, dataset: str, split: Split, name: str, settings: RunSettings, tags: Sequence[str] = ()
) -> Run:
    """Store a new run without predictions.

    Raises:
        NotFound: there is no such dataset.
        StoreError: a tag is invalid; see `check_tags`.
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
    """Return one run.

    Raises:
        NotFound: there is no run with this number.
        StoreError: a newer version made it, with settings that this version does not know.
    """
    row = db.execute(f"{_RUNS} WHERE runs.id = ?", [number]).fetchone()
    if row is None:
        raise NotFound(f"there is no run {number}; kdtui run ls lists the runs")
    return _run(row)


def runs_of_model(db: Database, name: str) -> int:
    """Count the runs that name a model as the student or an adapter. They outlive the model, but cannot be repeated."""
    row = db.execute(
        """
        SELECT count(*) FROM runs WHERE json_extract(settings, '$.student') = :name
            OR EXISTS (SELECT 1 FROM json_each(settings, '$.adapters') WHERE value ->> 0 = :name)
        """,
        {"name": name},
    ).fetchone()
    return int(row[0])


def list_runs(db: Database) -> list[RunSummary]:
    """List all runs, oldest first.

    Raises:
        StoreError: a newer version made one, with settings that this version does not know.
    """
    counts = {
        number: tuple(rest)
        for number, *rest in db.execute(
            "SELECT run_id, count(*), count(error), avg(seconds) FROM predictions GROUP BY run_id"
        )
    }
    paces = _paces(db)
    sizes = {
        (dataset, split): size
        for dataset, split, size in db.execute(
            """
            SELECT name, split, count(*) FROM sessions JOIN datasets ON datasets.id = dataset_id
            WHERE split IS NOT NULL GROUP BY dataset_id, split
            """
        )
    }
    summaries = []
    for row in db.execute(f"{_RUNS} ORDER BY runs.id").fetchall():
        run = _run(row)
        size = sizes.get((run.dataset, run.split), 0)
        answered, failed, seconds = counts.get(run.id, (0, 0, None))
        pace = paces.get(run.id, seconds)
        summaries.append(RunSummary(run, min(size, run.settings.limit or size), size, answered, failed, pace))
    return summaries


def summary_of(db: Database, number: int) -> RunSummary:
    """Return one run and its progress; raises the errors of `get_run`."""
    run = get_run(db, number)
    size = split_size(db, run.dataset, run.split)
    answered, failed, seconds = db.execute(
        "SELECT count(*), count(error), avg(seconds) FROM predictions WHERE run_id = ?", [number]
    ).fetchone()
    pace = _paces(db, number).get(number, seconds)
    return RunSummary(run, min(size, run.settings.limit or size), size, answered, failed, pace)


def _paces(db: Database, number: int | None = None) -> dict[int, float]:
    """Return the seconds per session of one run or of all. Those of earlier versions have no record of them."""
    where, values = ("", []) if number is None else ("WHERE run_id = ?", [number])
    rows = db.execute(
        f"SELECT run_id, sum(seconds) / sum(sessions) FROM run_stretches {where} GROUP BY run_id HAVING sum(sessions)",
        values,
    )
    return dict(rows.fetchall())


def tag_run(db: Database, number: int, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Run:
    """Add tags to a run and remove others; return the changed run.

    Raises:
        NotFound: there is no run with this number, or it lacks a tag to remove.
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
    """Refuse invalid tags.

    Raises:
        StoreError: a tag is not one printable word.
    """
    for tag in tags:
        if not tag.isprintable() or len(tag.split()) != 1 or "," in tag or len(tag) > LONGEST_TAG:
            rule = f"a tag is one word without commas, of {LONGEST_TAG} characters at most"
            raise StoreError(f"{tag[:LONGEST_TAG]!r} is not a tag; {rule}")


def note_run(db: Database, number: int, note: str) -> Run:
    """Replace the note of a run; return the changed run.

    Args:
        note: empty to remove the note.

    Raises:
        NotFound: there is no run with this number.
    """
    with db.atomic():
        db.execute("UPDATE runs SET note = ? WHERE id = ?", [note.strip() or None, number])
    return get_run(db, number)


def delete_run(db: Database, number: int) -> None:
    """Delete a run with its answers.

    Raises:
        NotFound: there is no run with this number.
    """
    if db.execute("SELECT 1 FROM runs WHERE id = ?", [number]).fetchone() is None:
        raise NotFound(f"there is no run {number}; kdtui run ls lists the runs")
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
    tag_names = msgspec.json.decode(tags, type=tuple[str, ...])
    return Run(number, dataset, split, student, decoded, created_at, finished_at, note or "", tag_names)


def plain_runs(db: Database, dataset: str, split: Split, student: str) -> Iterator[Run]:
    """Iterate over the runs of a student on a split without knowledge and adapters, newest first.

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
    """Mark a run as finished: all sessions are answered."""
    with db.atomic():
        db.execute("UPDATE runs SET finished_at = ? WHERE id = ?", [now(), run.id])
