"""A language model that is here rates the intents of a run. It costs nothing, and its answers are kept all the same."""

from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, replace
from math import inf, nan
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, cast

from platformdirs import user_cache_path

from kdtui.distill.judging import BEST_RATING, LEAST_RATING, RATING_SCHEMA, rating_prompt, read_rating
from kdtui.errors import KdtuiError
from kdtui.workflows.calls.asker import Tally, key_of, request_of
from kdtui.workflows.calls.unsaved_calls import PaidCall
from kdtui.workflows.model_names import PATTERNS, located_model
from kdtui.workflows.runs.judge import JudgeEvent, NotRated, Rated, intents_of
from kdtui.workflows.runs.ratings import Ratings
from models.endpoint.teacher import TeacherQuestion
from models.messages import Message
from models.student_protocol import Refused, SessionTask
from store.calls import known_call
from store.records import Session
from store.runs import Run
from store.sqlite import Database

if TYPE_CHECKING:
    from models.llama.student import Student

_LEAD = '{"rating": '
"""How an answer begins."""

_ANSWER_TOKENS = 8


@dataclass(frozen=True, slots=True)
class JudgeHere:
    """A model by the name that a user gives it, and its file."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question about an intent of a session, and what it is kept under."""

    session: str
    question: Message
    request: str


def judge_here(db: Database, name: str) -> JudgeHere:
    """The judge of a name that `kdtui model ls` shows, or in a GGUF file.

    Raises:
        KdtuiError: there is no such model, or it is none that answers questions.
    """
    if name == PATTERNS:
        raise KdtuiError("the pattern student is no language model, and rates nothing; name another judge")
    path = located_model(db, name)
    if not path.is_file():
        raise KdtuiError(f"{name}: there is no such file")
    return JudgeHere(path.stem, path)


def rate_intents_here(db: Database, run: Run, sessions: Collection[Session], judge: JudgeHere) -> Generator[JudgeEvent]:
    """Have the intents of a run rated; the last event is what came out. The rating is the likeliest of the scale.

    Closing the iterator stops within one batch.

    Raises:
        KdtuiError: a prompt of the user's own cannot be used.
        ModelError: the model cannot be loaded, or fails.
    """
    # Imported here: llama.cpp takes a while.
    from models.adapters.provenance import norms_hash
    from models.llama.student import Student

    cache = user_cache_path("kdtui")
    # Quantizations of the same weights differ in their size.
    version = f"{judge.name}#{norms_hash(judge.path, cache / 'norms')[:16]}-{judge.path.stat().st_size}"
    tally = Tally(cost=0.0)
    ratings: list[int] = []
    done = failed = 0
    with Student(judge.path, cache=cache / "prefixes") as student:
        for asked, told in _told(db, run, sessions, version, student, judge.name, tally):
            done += 1
            if isinstance(told, int):
                ratings.append(told)
            else:
                failed += 1
                yield NotRated(asked.session, told)
            yield Rated(done, replace(tally))
    mean = sum(ratings) / len(ratings) if ratings else nan
    yield Ratings(judge.name, mean, len(ratings), failed, done)


def _told(
    db: Database,
    run: Run,
    sessions: Collection[Session],
    version: str,
    student: "Student",
    name: str,
    tally: Tally,
) -> Iterator[tuple[_Asked, int | str]]:
    """Each intent with its rating, or why it has none."""
    waiting: list[_Asked] = []
    for asked in _questions(db, run, sessions, version):
        known = known_call(db, key_of(asked.request))
        if known is not None and known.response is not None:
            tally.hits += 1
            yield asked, read_rating(known.response)
        else:
            waiting.append(asked)
    began = perf_counter()
    tasks = (SessionTask(asked, 2, lambda *_, asked=asked: [asked.question]) for asked in waiting)
    scale = [str(rating) for rating in range(LEAST_RATING, BEST_RATING + 1)]
    for event, chosen in student.choose(tasks, _LEAD, scale):
        asked = cast("_Asked", event.key)
        if isinstance(event, Refused):
            tally.failed += 1
            yield asked, event.reason
            continue
        rating = LEAST_RATING + chosen
        call = PaidCall(
            key=key_of(asked.request),
            teacher=name,
            step="judge",
            request=asked.request,
            response=f"{_LEAD}{rating}}}",
            finish_reason="stop",
            prompt_tokens=event.usage.prompt,
            completion_tokens=event.usage.completion,
            cost=0.0,
            seconds=perf_counter() - began,
            attempts=1,
        )
        began = perf_counter()
        with db.waiting(inf):
            call.record(db)
        tally.paid += 1
        yield asked, rating


def _questions(db: Database, run: Run, sessions: Collection[Session], version: str) -> Iterator[_Asked]:
    """The questions about the intents of a run; of equal ones each."""
    for session, items, intent in intents_of(db, run, sessions):
        message = rating_prompt(items, intent)
        yield _Asked(session, message, request_of(version, TeacherQuestion((message,), RATING_SCHEMA, _ANSWER_TOKENS)))
