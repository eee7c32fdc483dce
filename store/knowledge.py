"""Pieces of knowledge: what a teacher knows, and where each piece comes from."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from store.database import now
from store.datasets import dataset_id
from store.errors import NotFound
from store.full_text import match_any
from store.records import FORMATS, Format, Status
from store.similar import suggestion
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class NewKnowledge:
    """A piece of knowledge to store. `content` is JSON in the shape of its format; an unknown measure is None.

    Attributes:
        rejected: why it must not be used; None if it is usable.
        call: number of the teacher's call that produced it; None if no model was asked.
        sessions: ids of the training sessions that it comes from.
        parents: numbers of the pieces that the teacher's prompt contained.
    """

    statement: str
    content: str
    support: float | None = None
    confidence: float | None = None
    lift: float | None = None
    precision: float | None = None
    rejected: str | None = None
    call: int | None = None
    sessions: tuple[str, ...] = ()
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportOrigin:
    """Where an imported piece comes from.

    Attributes:
        dataset: the dataset it was exported from; None if the file does not say.
        file: the file or folder it was read from.
    """

    dataset: str | None
    file: str
    imported_at: str


@dataclass(frozen=True, slots=True)
class Share:
    """How many pieces of a dataset and format are selected, out of how many."""

    dataset: str
    format: Format
    chosen: int
    of: int


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A stored piece of knowledge. `reason` says why it is rejected; `call_id` is None if no model was asked.

    Attributes:
        own: whether it comes from the sessions of its dataset; otherwise its measures are those of another dataset.
        origin: where it was imported from; None if it was not imported.
    """

    id: int
    dataset: str
    format: Format
    statement: str
    content: str
    teacher: str
    status: Status
    reason: str | None
    support: float | None
    confidence: float | None
    lift: float | None
    precision: float | None
    call_id: int | None
    created_at: str
    own: bool = True
    origin: ImportOrigin | None = None


_COLUMNS = """knowledge.id, datasets.name, format, knowledge.statement, content, teacher, status, reason, support,
    confidence, lift, precision, call_id, knowledge.created_at, own,
    knowledge_imports.source, knowledge_imports.file, knowledge_imports.created_at"""

_NAMES = """JOIN datasets ON datasets.id = knowledge.dataset_id
    LEFT JOIN knowledge_imports ON knowledge_imports.id = import_id"""
"""The joins that `_COLUMNS` needs in addition to the table `knowledge`."""


def _piece(row: Sequence[Any]) -> Knowledge:
    """Build a piece from a row of `_COLUMNS`."""
    own, source, file, imported_at = row[-4:]
    origin = None if imported_at is None else ImportOrigin(source, file, imported_at)
    return Knowledge(*(*row[:-4], bool(own), origin))


def add_knowledge(
    db: Database, dataset: str, format: Format, teacher: str, pieces: Iterable[NewKnowledge]
) -> list[int]:
    """Store pieces next to the existing ones, and return their numbers. Equal statements are stored once.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    with db.atomic():
        return [put_knowledge(db, number, format, teacher, piece) for piece in pieces]


def put_knowledge(
    db: Database, dataset: int, format: Format, teacher: str, piece: NewKnowledge, *, imported_by: int | None = None
) -> int:
    """Store a piece, replacing one with the same statement, and return its number. Needs an open transaction.

    Args:
        dataset: row number of the dataset.
        imported_by: row number of the import; None if the piece comes from the dataset's own sessions.
    """
    number = int(
        db.execute(
            """
            INSERT INTO knowledge (dataset_id, format, statement, content, teacher, status, reason, support, confidence,
                lift, precision, call_id, created_at, own, import_id)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (dataset_id, format, teacher, statement) DO UPDATE SET content = excluded.content,
                status = excluded.status, reason = excluded.reason, support = excluded.support,
                confidence = excluded.confidence, lift = excluded.lift, precision = excluded.precision,
                call_id = excluded.call_id, own = excluded.own, import_id = ifnull(excluded.import_id, import_id)
            RETURNING id
            """,
            [
                dataset,
                format,
                piece.statement,
                piece.content,
                teacher,
                "kept" if piece.rejected is None else "rejected",
                piece.rejected,
                piece.support,
                piece.confidence,
                piece.lift,
                piece.precision,
                piece.call,
                now(),
                imported_by is None,
                imported_by,
            ],
        ).fetchone()[0]
    )
    db.execute("DELETE FROM knowledge_sessions WHERE knowledge_id = ?", [number])
    db.execute("DELETE FROM knowledge_parents WHERE knowledge_id = ?", [number])
    for session in piece.sessions:
        db.execute(
            """
            INSERT OR IGNORE INTO knowledge_sessions
            SELECT ?, id FROM sessions WHERE dataset_id = ? AND session = ?
            """,
            [number, dataset, session],
        )
    for parent in piece.parents:
        db.execute("INSERT OR IGNORE INTO knowledge_parents VALUES (?, ?)", [number, parent])
    return number


def known_formats(db: Database, dataset: str) -> tuple[Format, ...]:
    """Return the formats in which a dataset has kept knowledge.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    sql = "SELECT EXISTS (SELECT 1 FROM knowledge WHERE dataset_id = ? AND format = ? AND status = 'kept')"
    return tuple(format for format in FORMATS if db.execute(sql, [number, format]).fetchone()[0])


def count_pieces(db: Database, dataset: str, format: Format) -> int:
    """Count the pieces of a format in a dataset, including rejected ones.

    Raises:
        NotFound: there is no such dataset.
    """
    sql = "SELECT count(*) FROM knowledge WHERE dataset_id = ? AND format = ?"
    return int(db.execute(sql, [dataset_id(db, dataset), format]).fetchone()[0])


def find_knowledge(
    db: Database,
    *,
    dataset: str | None = None,
    format: Format | None = None,
    status: Status = "kept",
    teacher: str | None = None,
    sample: str | None = None,
    limit: int = -1,
) -> list[Knowledge]:
    """Return knowledge, ordered by falling support.

    Args:
        sample: only pieces in the sample with this name.

    Raises:
        NotFound: there is no such dataset, or no such sample.
    """
    where: list[str] = ["status = ?"]
    values: list[object] = [status]
    if dataset is not None:
        where.append("knowledge.dataset_id = ?")
        values.append(dataset_id(db, dataset))
    if format is not None:
        where.append("format = ?")
        values.append(format)
    if teacher is not None:
        where.append("teacher = ?")
        values.append(teacher)
    if sample is not None:
        where.append("knowledge.id IN (SELECT knowledge_id FROM sample_knowledge WHERE sample_id = ?)")
        values.append(sample_id(db, sample))
    rows = db.execute(
        f"""
        SELECT {_COLUMNS} FROM knowledge {_NAMES}
        WHERE {" AND ".join(where)} ORDER BY support DESC, knowledge.id LIMIT ?
        """,
        [*values, limit],
    )
    return [_piece(row) for row in rows]


def matching_knowledge(
    db: Database, words: Sequence[str], dataset: str | None, format: Format, *, sample: str | None = None, limit: int
) -> list[Knowledge]:
    """Return kept knowledge that shares any of the words, best matches first (BM25: many and rare words count most).

    Args:
        dataset: None for all datasets.

    Raises:
        NotFound: there is no such dataset, or no such sample.
    """
    where = "format = ? AND status = 'kept'"
    values: list[object] = [format]
    if dataset is not None:
        where += " AND knowledge.dataset_id = ?"
        values.append(dataset_id(db, dataset))
    if sample is not None:
        where += " AND knowledge.id IN (SELECT knowledge_id FROM sample_knowledge WHERE sample_id = ?)"
        values.append(sample_id(db, sample))
    looked_at = 4 * limit
    while True:
        # Take the best matches of all and filter them afterwards: filtering every match would take far longer.
        best = db.execute(
            "SELECT rowid FROM knowledge_fts WHERE knowledge_fts MATCH ? ORDER BY rank LIMIT ?",
            [match_any(words), looked_at],
        ).fetchall()
        rows = db.execute(
            f"""
            SELECT {_COLUMNS} FROM json_each(?) AS wanted JOIN knowledge ON knowledge.id = wanted.value
            {_NAMES} WHERE {where} ORDER BY wanted.key LIMIT ?
            """,
            [json.dumps([row[0] for row in best]), *values, limit],
        ).fetchall()
        if len(rows) == limit or len(best) < looked_at:
            return [_piece(row) for row in rows]
        looked_at *= 8


def pieces_from(
    db: Database, dataset: str, session: str, format: Format, *, sample: str | None = None
) -> list[Knowledge]:
    """Return kept knowledge of a format that comes from a training session, newest first.

    Raises:
        NotFound: there is no such dataset, or no such sample.
    """
    inside = "AND knowledge.id IN (SELECT knowledge_id FROM sample_knowledge WHERE sample_id = ?)"
    where = "" if sample is None else inside
    rows = db.execute(
        f"""
        SELECT {_COLUMNS} FROM sessions JOIN knowledge_sessions ON session_id = sessions.id
        JOIN knowledge ON knowledge.id = knowledge_id {_NAMES}
        WHERE sessions.dataset_id = ? AND session = ? AND format = ? AND status = 'kept' {where}
        ORDER BY knowledge.id DESC
        """,
        [dataset_id(db, dataset), session, format, *([] if sample is None else [sample_id(db, sample)])],
    )
    return [_piece(row) for row in rows]


def get_knowledge(db: Database, number: int) -> Knowledge:
    """Return one piece of knowledge.

    Raises:
        NotFound: there is no piece with this number.
    """
    pieces = pieces_by_number(db, [number])
    if not pieces:
        raise NotFound(f"there is no knowledge number {number}; kdtui knowledge ls shows the numbers")
    return pieces[0]


def pieces_of_call(db: Database, call: int) -> list[Knowledge]:
    """Return the pieces that came from a call."""
    return pieces_by_number(
        db, [row[0] for row in db.execute("SELECT id FROM knowledge WHERE call_id = ? ORDER BY id", [call])]
    )


def parents_of(db: Database, number: int) -> list[Knowledge]:
    """Return the pieces that the prompt of a piece's teacher contained."""
    rows = db.execute("SELECT parent_id FROM knowledge_parents WHERE knowledge_id = ? ORDER BY parent_id", [number])
    return pieces_by_number(db, [row[0] for row in rows])


def sessions_of_piece(db: Database, number: int) -> list[str]:
    """Return the ids of the training sessions that a piece comes from."""
    rows = db.execute(
        """
        SELECT session FROM knowledge_sessions JOIN sessions ON sessions.id = session_id
        WHERE knowledge_id = ? ORDER BY session_id
        """,
        [number],
    )
    return [row[0] for row in rows]


def sessions_by_knowledge(db: Database, dataset: str, format: Format) -> dict[int, list[str]]:
    """Return the ids of the training sessions that each piece of a format comes from, by piece.

    Raises:
        NotFound: there is no such dataset.
    """
    sessions: dict[int, list[str]] = {}
    for number, session in db.execute(
        """
        SELECT knowledge_id, session FROM knowledge JOIN knowledge_sessions ON knowledge_id = knowledge.id
        JOIN sessions ON sessions.id = session_id
        WHERE knowledge.dataset_id = ? AND format = ? ORDER BY knowledge_id, session_id
        """,
        [dataset_id(db, dataset), format],
    ):
        sessions.setdefault(number, []).append(session)
    return sessions


def parents_by_knowledge(db: Database, dataset: str, format: Format) -> dict[int, list[int]]:
    """Return the pieces that the teacher's prompt contained, for each piece of a format.

    Raises:
        NotFound: there is no such dataset.
    """
    parents: dict[int, list[int]] = {}
    for number, parent in db.execute(
        """
        SELECT knowledge_id, parent_id FROM knowledge JOIN knowledge_parents ON knowledge_id = knowledge.id
        WHERE dataset_id = ? AND format = ? ORDER BY knowledge_id, parent_id
        """,
        [dataset_id(db, dataset), format],
    ):
        parents.setdefault(number, []).append(parent)
    return parents


def sample_id(db: Database, name: str) -> int:
    """Return the row number of a sample.

    Raises:
        NotFound: there is no such sample.
    """
    row = db.execute("SELECT id FROM samples WHERE name = ?", [name]).fetchone()
    if row is None:
        names = (other for (other,) in db.execute("SELECT name FROM samples ORDER BY name"))
        raise NotFound(f"there is no sample {name!r}; {suggestion(name, names, 'kdtui sample ls lists the samples')}")
    return int(row[0])


def pieces_by_number(db: Database, numbers: Sequence[int]) -> list[Knowledge]:
    """Return pieces in the order of the given numbers; skip missing ones."""
    rows = db.execute(
        f"""
        SELECT {_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN knowledge ON knowledge.id = wanted.value
        {_NAMES} ORDER BY wanted.key
        """,
        [json.dumps(list(numbers))],
    )
    return [_piece(row) for row in rows]


def existing_among(db: Database, numbers: Iterable[int]) -> list[int]:
    """Return the numbers for which there is a piece, ascending."""
    rows = db.execute(
        "SELECT id FROM knowledge WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        [json.dumps(list(numbers))],
    )
    return [number for (number,) in rows.fetchall()]


def kept_among(db: Database, numbers: Iterable[int]) -> list[int]:
    """Return the numbers for which there is a kept piece, ascending."""
    rows = db.execute(
        "SELECT id FROM knowledge WHERE id IN (SELECT value FROM json_each(?)) AND status = 'kept' ORDER BY id",
        [json.dumps(list(numbers))],
    )
    return [number for (number,) in rows.fetchall()]


def count_shares(db: Database, numbers: Iterable[int]) -> list[Share]:
    """Count pieces by dataset and format, along with the totals."""
    rows = db.execute(
        """
        SELECT datasets.name, format, count(*), (
            SELECT count(*) FROM knowledge AS every
            WHERE every.dataset_id = knowledge.dataset_id AND every.format = knowledge.format
        )
        FROM knowledge JOIN datasets ON datasets.id = dataset_id
        WHERE knowledge.id IN (SELECT value FROM json_each(?))
        GROUP BY dataset_id, format ORDER BY datasets.name, format
        """,
        [json.dumps(list(numbers))],
    )
    return [Share(*row) for row in rows.fetchall()]
