"""Knowledge: what a teacher knows, piece by piece, and where each piece comes from."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from store.database import now
from store.datasets import dataset_id
from store.errors import NotFound
from store.full_text import match_any
from store.records import FORMATS, Format, Status
from store.similar import meant
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class NewKnowledge:
    """A piece of knowledge to be stored. `content` is JSON in the shape of its format; None is an unknown measure.

    Attributes:
        rejected: why it is not to be used; None for a piece that is.
        call: the number of the call that it came from, if a model was asked.
        sessions: ids of the training sessions that it came from.
        parents: numbers of the pieces that its teacher was given.
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
class Origin:
    """Where an imported piece comes from.

    Attributes:
        dataset: that it was exported from; None where the file does not say.
        file: the file or folder that it was read from.
    """

    dataset: str | None
    file: str
    imported_at: str


@dataclass(frozen=True, slots=True)
class Share:
    """Some of the pieces of a format of a dataset: how many are chosen, of how many."""

    dataset: str
    format: Format
    chosen: int
    of: int


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A stored piece of knowledge; `reason` says why it is rejected, `call_id` is None where no model was asked.

    Attributes:
        own: whether the sessions of its dataset gave it; if not, its measures are those of another dataset.
        origin: where it was imported from; None where it was not.
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
    origin: Origin | None = None


_COLUMNS = """knowledge.id, datasets.name, format, knowledge.statement, content, teacher, status, reason, support,
    confidence, lift, precision, call_id, knowledge.created_at, own,
    knowledge_imports.source, knowledge_imports.file, knowledge_imports.created_at"""

_NAMES = """JOIN datasets ON datasets.id = knowledge.dataset_id
    LEFT JOIN knowledge_imports ON knowledge_imports.id = import_id"""
"""What `_COLUMNS` need besides the table `knowledge`."""


def _piece(row: Sequence[Any]) -> Knowledge:
    """A row of `_COLUMNS`."""
    own, source, file, imported_at = row[-4:]
    origin = None if imported_at is None else Origin(source, file, imported_at)
    return Knowledge(*(*row[:-4], bool(own), origin))


def add_knowledge(
    db: Database, dataset: str, format: Format, teacher: str, pieces: Iterable[NewKnowledge]
) -> list[int]:
    """Store pieces beside those that are there, and return their numbers. The same statement is stored once.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    with db.atomic():
        return [put_knowledge(db, number, format, teacher, piece) for piece in pieces]


def put_knowledge(
    db: Database, dataset: int, format: Format, teacher: str, piece: NewKnowledge, *, imported_by: int | None = None
) -> int:
    """Store a piece in place of one with the same statement, within a transaction, and return its number.

    Args:
        dataset: the row number of the dataset.
        imported_by: the row number of the import that brings it; None where the dataset's own sessions gave it.
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
    """The formats of which a dataset has knowledge that is kept.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    sql = "SELECT EXISTS (SELECT 1 FROM knowledge WHERE dataset_id = ? AND format = ? AND status = 'kept')"
    return tuple(format for format in FORMATS if db.execute(sql, [number, format]).fetchone()[0])


def count_pieces(db: Database, dataset: str, format: Format) -> int:
    """How many pieces of a format a dataset has, those that are rejected too.

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
    """Knowledge by support.

    Args:
        sample: only what is in the sample of this name.

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
    """Kept knowledge that shares any of the words, those first that share many and rare ones (BM25).

    Args:
        dataset: None for all.

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
        # The best of all are found first, and then filtered: looking at each match in the table would take far longer.
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
    """Kept knowledge of a format that came from a training session.

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
        ORDER BY knowledge.id
        """,
        [dataset_id(db, dataset), session, format, *([] if sample is None else [sample_id(db, sample)])],
    )
    return [_piece(row) for row in rows]


def get_knowledge(db: Database, number: int) -> Knowledge:
    """One piece of knowledge.

    Raises:
        NotFound: there is none of that number.
    """
    found = pieces_by_number(db, [number])
    if not found:
        raise NotFound(f"there is no knowledge number {number}; kdtui knowledge ls shows the numbers")
    return found[0]


def pieces_of_call(db: Database, call: int) -> list[Knowledge]:
    """The pieces that came of a call."""
    return pieces_by_number(
        db, [row[0] for row in db.execute("SELECT id FROM knowledge WHERE call_id = ? ORDER BY id", [call])]
    )


def parents_of(db: Database, number: int) -> list[Knowledge]:
    """The pieces that the teacher of a piece was given."""
    rows = db.execute("SELECT parent_id FROM knowledge_parents WHERE knowledge_id = ? ORDER BY parent_id", [number])
    return pieces_by_number(db, [row[0] for row in rows])


def sessions_of(db: Database, number: int) -> list[str]:
    """The ids of the training sessions that a piece came from."""
    rows = db.execute(
        """
        SELECT session FROM knowledge_sessions JOIN sessions ON sessions.id = session_id
        WHERE knowledge_id = ? ORDER BY session_id
        """,
        [number],
    )
    return [row[0] for row in rows]


def sessions_by_knowledge(db: Database, dataset: str, format: Format) -> dict[int, list[str]]:
    """For each piece of a format the ids of the training sessions that it came from.

    Raises:
        NotFound: there is no such dataset.
    """
    found: dict[int, list[str]] = {}
    for number, session in db.execute(
        """
        SELECT knowledge_id, session FROM knowledge JOIN knowledge_sessions ON knowledge_id = knowledge.id
        JOIN sessions ON sessions.id = session_id
        WHERE knowledge.dataset_id = ? AND format = ? ORDER BY knowledge_id, session_id
        """,
        [dataset_id(db, dataset), format],
    ):
        found.setdefault(number, []).append(session)
    return found


def parents_by_knowledge(db: Database, dataset: str, format: Format) -> dict[int, list[int]]:
    """For each piece of a format the pieces that its teacher was given.

    Raises:
        NotFound: there is no such dataset.
    """
    found: dict[int, list[int]] = {}
    for number, parent in db.execute(
        """
        SELECT knowledge_id, parent_id FROM knowledge JOIN knowledge_parents ON knowledge_id = knowledge.id
        WHERE dataset_id = ? AND format = ? ORDER BY knowledge_id, parent_id
        """,
        [dataset_id(db, dataset), format],
    ):
        found.setdefault(number, []).append(parent)
    return found


def sample_id(db: Database, name: str) -> int:
    """The row number of a sample.

    Raises:
        NotFound: there is none of that name.
    """
    row = db.execute("SELECT id FROM samples WHERE name = ?", [name]).fetchone()
    if row is None:
        names = (other for (other,) in db.execute("SELECT name FROM samples ORDER BY name"))
        raise NotFound(
            f"there is no sample {name!r}; {meant(name, names, 'kdtui sample ls shows those that there are')}"
        )
    return int(row[0])


def pieces_by_number(db: Database, numbers: Sequence[int]) -> list[Knowledge]:
    """Pieces in the order of their numbers as given; those that are not there are left out."""
    rows = db.execute(
        f"""
        SELECT {_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN knowledge ON knowledge.id = wanted.value
        {_NAMES} ORDER BY wanted.key
        """,
        [json.dumps(list(numbers))],
    )
    return [_piece(row) for row in rows]


def existing(db: Database, numbers: Iterable[int]) -> list[int]:
    """Those of the numbers that pieces have, ascending."""
    rows = db.execute(
        "SELECT id FROM knowledge WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        [json.dumps(list(numbers))],
    )
    return [number for (number,) in rows.fetchall()]


def kept_among(db: Database, numbers: Iterable[int]) -> list[int]:
    """Those of the numbers that kept pieces have, ascending."""
    rows = db.execute(
        "SELECT id FROM knowledge WHERE id IN (SELECT value FROM json_each(?)) AND status = 'kept' ORDER BY id",
        [json.dumps(list(numbers))],
    )
    return [number for (number,) in rows.fetchall()]


def shares_of(db: Database, numbers: Iterable[int]) -> list[Share]:
    """What pieces are of, by dataset and format."""
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
