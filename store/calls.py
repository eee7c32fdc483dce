"""The ledger of calls to teachers: requests, answers and costs. A request that was answered is never sent again."""

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

from store.database import now
from store.errors import NotFound
from store.hits import FIRST, Hits, hits_of
from store.knowledge import Knowledge, pieces_of_call
from store.sqlite import Database

_SPAN = 1_000
"""Row numbers covered by one query of a text search."""

_PAUSE = 0.1
"""Seconds between two partial results of a text search."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call to a teacher.

    Attributes:
        key: hash of everything that determines the answer.
        request: the hashed content, as JSON.
        response: None if the call failed; `error` says why.
        prompt_tokens, completion_tokens: None if nothing was charged.
        cost: in the currency of the prices; None if the prices are unknown.
        seconds: from the first attempt to the end of the last.
        attempts: number of attempts.
        is_estimated: whether the server did not report all token counts.
        is_final: whether the failure is permanent: a retry would fail again and be charged again.
    """

    id: int
    key: str
    teacher: str
    step: str
    request: str
    status: Literal["answered", "failed"]
    response: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    seconds: float
    attempts: int
    error: str | None
    created_at: str
    is_estimated: bool
    is_final: bool


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call in a list, without request and answer; see `Call`."""

    id: int
    step: str
    teacher: str
    status: Literal["answered", "failed"]
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    seconds: float
    created_at: str
    is_estimated: bool


@dataclass(frozen=True, slots=True)
class TeacherTotals:
    """Totals of all calls to a teacher.

    Attributes:
        cost: sum of the known costs; None if no cost is known.
        unknown: charged calls with unknown cost.
        estimated: calls whose token counts the server did not report.
    """

    teacher: str
    answered: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    unknown: int
    estimated: int


@dataclass(frozen=True, slots=True)
class CallDetails:
    """A call with its conversation, as pairs of role and content, and the knowledge distilled from its answer."""

    call: Call
    messages: tuple[tuple[str, str], ...]
    pieces: tuple[Knowledge, ...]


_COLUMNS = """id, key, teacher, step, request, status, response, finish_reason, prompt_tokens, completion_tokens, cost,
    seconds, attempts, error, created_at, estimated, final"""


def known_call(db: Database, key: str) -> Call | None:
    """Return the call with this key if there is no need to repeat it: it was answered, or has failed permanently."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM calls WHERE key = ? AND (status = 'answered' OR final = 1)", [key]
    ).fetchone()
    return None if row is None else _call(row)


def _call(row: Sequence[Any]) -> Call:
    return Call(*row[:-2], *map(bool, row[-2:]))


def record_call(
    db: Database,
    *,
    key: str,
    teacher: str,
    step: str,
    request: str,
    response: str | None = None,
    finish_reason: str | None = None,
    prompt_tokens: int | None = None,
    completion_tokens: int | None = None,
    cost: float | None = None,
    seconds: float,
    attempts: int,
    error: str | None = None,
    is_estimated: bool = False,
    is_final: bool = False,
    replace: bool = False,
) -> int:
    """Store a call, committed on return, and return its number.

    It replaces a failed call with the same key; tokens, cost and attempts are added up. An answer that another process
    has stored meanwhile is kept.

    Args:
        replace: whether to replace an existing answer, too.
    """
    with db.atomic():
        db.execute(
            """
                INSERT INTO calls (key, teacher, step, request, status, response, finish_reason, prompt_tokens,
                    completion_tokens, cost, seconds, attempts, error, created_at, estimated, final)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (key) DO UPDATE SET status = excluded.status, response = excluded.response,
                    finish_reason = excluded.finish_reason, seconds = excluded.seconds,
                    prompt_tokens = coalesce(calls.prompt_tokens + excluded.prompt_tokens,
                        excluded.prompt_tokens, calls.prompt_tokens),
                    completion_tokens = coalesce(calls.completion_tokens + excluded.completion_tokens,
                        excluded.completion_tokens, calls.completion_tokens),
                    -- What has tokens was paid for: an unknown cost and a known one are unknown together.
                    cost = iif(calls.prompt_tokens IS NULL, excluded.cost,
                        iif(excluded.prompt_tokens IS NULL, calls.cost, calls.cost + excluded.cost)),
                    attempts = calls.attempts + excluded.attempts, error = excluded.error,
                    created_at = excluded.created_at, estimated = max(calls.estimated, excluded.estimated),
                    final = iif(excluded.status = 'answered', 0, max(calls.final, excluded.final))
                WHERE calls.status = 'failed' OR (? AND excluded.status = 'answered')
                """,
            [
                key,
                teacher,
                step,
                request,
                "failed" if response is None else "answered",
                response,
                finish_reason,
                prompt_tokens,
                completion_tokens,
                cost,
                seconds,
                attempts,
                error,
                now(),
                is_estimated,
                is_final,
                replace,
            ],
        )
        return int(db.execute("SELECT id FROM calls WHERE key = ?", [key]).fetchone()[0])


def is_recorded(db: Database, key: str, response: str | None, error: str | None) -> bool:
    """Whether the store has a call with exactly this outcome."""
    sql = "SELECT 1 FROM calls WHERE key = ? AND response IS ? AND error IS ?"
    return db.execute(sql, [key, response, error]).fetchone() is not None


def call_hits(db: Database, text: str = "", *, failed: bool = False) -> Iterator[Hits]:
    """Iterate over calls, newest first: all, or those with a text in a sent message, the answer or the error.

    Args:
        failed: only failed calls.
    """
    if text.strip():
        yield from _search(db, text.strip(), failed)
        return
    # Each half is read from the index in this order; the table with all requests would be many times larger.
    halves = [f"SELECT id FROM calls WHERE status = '{status}'" for status in ("failed", "answered")[: 2 - failed]]
    yield from hits_of(db, f"{' UNION ALL '.join(halves)} ORDER BY id DESC", [])


def calls_after(db: Database, number: int) -> "array[int]":
    """Return the numbers of calls newer than this one, newest first."""
    return array("q", [row[0] for row in db.execute("SELECT id FROM calls WHERE id > ? ORDER BY id DESC", [number])])


def _search(db: Database, text: str, failed: bool) -> Iterator[Hits]:
    """Scan all texts, a span of numbers at a time; an index of them would be as large as the rest of the store."""
    plain = _like_pattern(text)
    # JSON escapes quotes and line ends.
    written = _like_pattern(json.dumps(text, ensure_ascii=False)[1:-1])
    where = """
        (request LIKE :written ESCAPE '\\'
                AND iif(json_valid(request), json_extract(request, '$.messages'), request) LIKE :written ESCAPE '\\'
            OR response LIKE :plain ESCAPE '\\' OR error LIKE :plain ESCAPE '\\')
        """
    if failed:
        where += " AND status = 'failed'"
    first, upper = 0, int(db.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()[0])
    ids, yielded_at = array("q"), monotonic()
    while upper > 0:
        rows = db.execute(
            f"SELECT id FROM calls WHERE id > :lower AND id <= :upper AND {where} ORDER BY id DESC",
            {"lower": upper - _SPAN, "upper": upper, "plain": plain, "written": written},
        )
        ids.extend(row[0] for row in rows)
        upper -= _SPAN
        if ids and ((not first and len(ids) >= FIRST) or monotonic() - yielded_at > _PAUSE):
            yield Hits(first, ids)
            first, ids, yielded_at = first + len(ids), array("q"), monotonic()
    yield Hits(first, ids, first + len(ids))


def _like_pattern(text: str) -> str:
    """Return a LIKE pattern for texts that contain `text`, with special characters escaped."""
    for character in "\\%_":
        text = text.replace(character, f"\\{character}")
    return f"%{text}%"


def call_rows(db: Database, numbers: Sequence[int]) -> list[CallRow]:
    """Return rows for a list of calls, in the order of the given numbers; skip missing ones."""
    rows = db.execute(
        """
        SELECT calls.id, step, teacher, status, prompt_tokens, completion_tokens, cost, seconds, created_at,
            estimated
        FROM json_each(?) AS wanted JOIN calls ON calls.id = wanted.value ORDER BY wanted.key
        """,
        [json.dumps(list(numbers))],
    )
    return [CallRow(*[*row[:-1], bool(row[-1])]) for row in rows]


def totals_by_teacher(db: Database) -> list[TeacherTotals]:
    """Return the totals of each teacher, the most expensive first."""
    rows = db.execute(
        """
        SELECT teacher, sum(status = 'answered'), sum(status = 'failed'), coalesce(sum(prompt_tokens), 0),
            coalesce(sum(completion_tokens), 0), sum(cost) AS total,
            sum(cost IS NULL AND (status = 'answered' OR prompt_tokens IS NOT NULL)), sum(estimated)
        FROM calls GROUP BY teacher ORDER BY total DESC, count(*) DESC, teacher
        """
    )
    return [TeacherTotals(*row) for row in rows]


def call_details(db: Database, number: int) -> CallDetails:
    """Return everything about one call.

    Raises:
        NotFound: there is no call with this number.
    """
    row = db.execute(f"SELECT {_COLUMNS} FROM calls WHERE id = ?", [number]).fetchone()
    if row is None:
        raise NotFound(f"there is no call {number}; kdtui knowledge calls shows the numbers")
    call = _call(row)
    return CallDetails(call, _messages(call.request), tuple(pieces_of_call(db, number)))


def _messages(request: str) -> tuple[tuple[str, str], ...]:
    """Return the conversation in a request; the raw request if its format is unknown."""
    try:
        return tuple((str(role), str(content)) for role, content in json.loads(request)["messages"])
    except (ValueError, TypeError, LookupError):
        return (("request", request),)
