"""Knowledge: what a teacher knows, piece by piece."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sqlite_utils import Database

from store.database import now
from store.datasets import dataset_id, match_words
from store.errors import NotFound

Format: TypeAlias = Literal["pattern", "rule", "thought"]


@dataclass(frozen=True, slots=True)
class NewKnowledge:
    """A piece of knowledge to be stored. `content` is JSON in the shape of its format; None is an unknown measure."""

    statement: str
    content: str
    support: float | None = None
    confidence: float | None = None
    lift: float | None = None
    precision: float | None = None


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A stored piece of knowledge."""

    id: int
    dataset: str
    format: Format
    statement: str
    content: str
    teacher: str
    support: float | None
    confidence: float | None
    lift: float | None
    precision: float | None
    created_at: str


_COLUMNS = """knowledge.id, datasets.name, format, knowledge.statement, content, teacher, support, confidence, lift,
    precision, knowledge.created_at"""


def replace_knowledge(
    db: Database,
    dataset: str,
    format: Format,
    teacher: str,
    pieces: Iterable[NewKnowledge],
) -> int:
    """Make these pieces all that is known of a format in a dataset, and return their number.

    A statement that was there already keeps its row number.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    with db.atomic():
        db.execute("CREATE TEMP TABLE IF NOT EXISTS kept (statement TEXT PRIMARY KEY)")
        db.execute("DELETE FROM kept")
        count = 0
        for piece in pieces:
            count += 1
            db.execute("INSERT OR IGNORE INTO kept VALUES (?)", [piece.statement])
            db.execute(
                """
                INSERT INTO knowledge (dataset_id, format, statement, content, teacher, support, confidence, lift,
                    precision, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (dataset_id, format, statement) DO UPDATE SET content = excluded.content,
                    teacher = excluded.teacher, support = excluded.support, confidence = excluded.confidence,
                    lift = excluded.lift, precision = excluded.precision
                """,
                [
                    number,
                    format,
                    piece.statement,
                    piece.content,
                    teacher,
                    piece.support,
                    piece.confidence,
                    piece.lift,
                    piece.precision,
                    now(),
                ],
            )
        db.execute(
            """
            DELETE FROM knowledge
            WHERE dataset_id = ? AND format = ? AND statement NOT IN (SELECT statement FROM kept)
            """,
            [number, format],
        )
        return count


def find_knowledge(
    db: Database,
    text: str = "",
    *,
    dataset: str | None = None,
    format: Format | None = None,
    limit: int = -1,
    offset: int = 0,
) -> list[Knowledge]:
    """A page of the knowledge that holds the words of a text, best match first; without a text by support.

    Raises:
        NotFound: there is no such dataset.
    """
    where: list[str] = []
    values: list[object] = []
    source, order = "knowledge", "support DESC, knowledge.id"
    if text.strip():
        source, order = "knowledge_fts JOIN knowledge ON knowledge.id = knowledge_fts.rowid", "rank, knowledge.id"
        where.append("knowledge_fts MATCH ?")
        values.append(match_words(text))
    if dataset is not None:
        where.append("dataset_id = ?")
        values.append(dataset_id(db, dataset))
    if format is not None:
        where.append("format = ?")
        values.append(format)
    rows = db.execute(
        f"""
        SELECT {_COLUMNS} FROM {source} JOIN datasets ON datasets.id = dataset_id
        WHERE {" AND ".join(where) or "1"} ORDER BY {order} LIMIT ? OFFSET ?
        """,
        [*values, limit, offset],
    )
    return [Knowledge(*row) for row in rows]


def get_knowledge(db: Database, number: int) -> Knowledge:
    """One piece of knowledge.

    Raises:
        NotFound: there is none of that number.
    """
    row = db.execute(
        f"SELECT {_COLUMNS} FROM knowledge JOIN datasets ON datasets.id = dataset_id WHERE knowledge.id = ?", [number]
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no knowledge number {number}; kdtui knowledge ls shows the numbers")
    return Knowledge(*row)
