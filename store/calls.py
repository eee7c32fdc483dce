"""Calls: what teachers were asked, what they answered, and what it cost. What is answered is never asked again."""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from store.database import now


@dataclass(frozen=True, slots=True)
class Call:
    """A call to a teacher.

    Attributes:
        key: the hash of all that shapes the answer.
        request: JSON, all of that.
        response: None where there is none, and `error` says why.
        cost: in the currency of the prices; None where they are not known.
        seconds: from the first try to the end of the last.
        attempts: how often it was tried.
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


_COLUMNS = """id, key, teacher, step, request, status, response, finish_reason, prompt_tokens, completion_tokens, cost,
    seconds, attempts, error, created_at"""


def answered_call(db: Database, key: str) -> Call | None:
    """The call of a key that has been answered."""
    row = db.execute(f"SELECT {_COLUMNS} FROM calls WHERE key = ? AND status = 'answered'", [key]).fetchone()
    return None if row is None else Call(*row)


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
) -> int:
    """Store a call, committed when this returns, and return its number. It takes the place of one that failed.

    One that another process has answered meanwhile stays.
    """
    with db.atomic():
        db.execute(
            """
                INSERT INTO calls (key, teacher, step, request, status, response, finish_reason, prompt_tokens,
                    completion_tokens, cost, seconds, attempts, error, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (key) DO UPDATE SET status = excluded.status, response = excluded.response,
                    finish_reason = excluded.finish_reason, prompt_tokens = excluded.prompt_tokens,
                    completion_tokens = excluded.completion_tokens, cost = excluded.cost, seconds = excluded.seconds,
                    attempts = calls.attempts + excluded.attempts, error = excluded.error,
                    created_at = excluded.created_at
                WHERE calls.status = 'failed'
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
            ],
        )
        return int(db.execute("SELECT id FROM calls WHERE key = ?", [key]).fetchone()[0])
