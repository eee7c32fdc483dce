"""Open a student by name: the embedded one, a GGUF file, an endpoint or the pattern student, with its knowledge.

Importing this is cheap, so that a screen or a command can check settings before it loads anything.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace as replace_fields
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from kdtui.distill.applicable import AICL, Applicable, estimate_tokens
from kdtui.distill.student_prompt import session_prompt
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import (
    PATTERNS,
    is_endpoint,
    router_in,
)
from kdtui.workflows.student.explain import (
    PromptExplanation,
    explain_aicl,
    explain_endpoint,
    explain_model,
    explain_patterns,
)
from kdtui.workflows.student.learning import Tell, tell_nobody
from kdtui.workflows.student.limits import check_intent_writer
from kdtui.workflows.student.model import open_model, retriever, task_maker
from kdtui.workflows.student.session_student import SessionStudent
from kdtui.workflows.student.settings import check_settings, student_name
from kdtui.workflows.student.strategy import strategy_for
from models.bundle_list import WrittenBundle
from models.completion import NO_TOKENS
from models.messages import Message
from models.student_protocol import (
    IDLE_SECONDS,
    Answered,
    Grew,
    Refused,
    SessionTask,
    StudentEvent,
)
from store.records import RunSettings, Session

if TYPE_CHECKING:
    from store.sqlite import Database


_SESSIONS_AT_ONCE = 512
"""Sessions that the pattern student judges together: larger batches are hardly faster."""

_PAIRS_AT_ONCE = 20_000
"""Pairs of products in a batch: a larger session is judged by itself, so that an interrupt does not wait long."""


@contextmanager
def open_student(
    db: "Database | None",
    dataset: str | None,
    settings: RunSettings,
    tell: Tell = tell_nobody,
) -> Iterator[SessionStudent]:
    """Load a student with its knowledge, and free it afterwards. Use it from one thread.

    Args:
        db: the store; None if no dataset is needed.
        dataset: whose training sessions, patterns and calibrations the student uses.
        tell: gets what takes long, or cannot be done as usual.

    Raises:
        KdtuiError: the settings are refused, or need something that does not exist.
        ModelError: the model cannot be loaded.
    """
    check_settings(settings, dataset)
    check_intent_writer(db, settings)
    name = student_name(settings)
    if router_in(settings) is not None:
        from kdtui.workflows.student.routed import open_routed

        assert db is not None
        with open_routed(db, dataset, settings, tell) as routed:
            yield routed
        return
    if settings.student == PATTERNS:
        # Imported here: with the records of the store it takes a tenth of a second.
        from kdtui.workflows.student.pair_evidence import open_pattern_student

        with open_pattern_student(db, dataset, tell) as fitted:
            answer_patterns = partial(_in_batches, fitted.write_many)
            yield SessionStudent(name, answer_patterns, partial(explain_patterns, fitted), costs_nothing=True)
        return
    if is_endpoint(settings.student):
        from models.endpoint.chat_server import Endpoint

        url, _, model = settings.student.partition("#")
        if settings.strategy == AICL:
            from kdtui.workflows.student.aicl import answer_by_aicl
            from kdtui.workflows.student.nearest import nearest_for

            assert db is not None
            assert dataset is not None
            nearest = nearest_for(db, dataset, settings)
            yield SessionStudent(
                name,
                partial(answer_by_aicl, db, dataset, Endpoint(url, model or None), nearest),
                partial(explain_aicl, nearest),
            )
            return
        from models.endpoint.student import EndpointStudent

        knowledge = retriever(db, dataset, settings, estimate_tokens)
        task = task_maker(knowledge, (), None)
        with EndpointStudent(Endpoint(url, model or None)) as remote:
            yield SessionStudent(
                name,
                lambda sessions: remote.answer(None if each is None else task(each) for each in sessions),
                lambda session: explain_endpoint(task(session), knowledge(session)),
            )
        return
    with open_model(db, dataset, settings, tell) as opened:
        from models.pairs.bundles import PairBundles, bundles_first

        used, calibration = strategy_for(db, dataset, settings, tell)
        judge = PairBundles(calibration) if used == "pairs" and calibration is not None else None

        def task_of(session: Session) -> SessionTask:
            task = opened.task(session)
            if judge is None or judge.needs_scores or task.find is not None or task.evidence is None:
                return task
            return replace_fields(task, find=partial(judge.of_evidence, task))

        def answer_tasks(tasks: Iterable[SessionTask | None]) -> Iterator[StudentEvent]:
            from models.llama.strategies import make_strategy
            from models.llama.strategies.intents import IntentsStrategy

            strategy = IntentsStrategy() if opened.only_writes_intents else make_strategy(used, calibration)
            return opened.student.answer(tasks, strategy)

        finds_bundles_first = opened.only_writes_intents or (
            judge is not None and opened.has_evidence and not judge.needs_scores
        )
        if not finds_bundles_first:
            # Raise an error of loading now.
            opened.loading.result()

        def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
            tasks = (None if session is None else task_of(session) for session in sessions)
            return (
                bundles_first(tasks, lambda: opened.loading.done, answer_tasks)
                if finds_bundles_first
                else answer_tasks(tasks)
            )

        def explain(session: Session) -> PromptExplanation:
            return explain_model(opened.student, task_of(session), opened.knowledge(session), used)

        yield SessionStudent(name, answer, explain)


def shown_prompt(
    db: "Database", dataset: str, settings: RunSettings, session: Session
) -> tuple[Applicable, list[Message]]:
    """Return the knowledge that these settings give for a session, and the messages that a student would get.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: there is no knowledge of a format.
    """
    check_settings(settings, dataset)
    applicable = retriever(db, dataset, settings, estimate_tokens)(session)
    return applicable, session_prompt(session, applicable, "list", range(1, len(session.items) + 1))


def _in_batches(
    write_many: "Callable[[Sequence[Session]], Sequence[list[WrittenBundle] | KdtuiError]]",
    sessions: Iterable[Session | None],
) -> Iterator[StudentEvent]:
    """Answer sessions in batches: first a single session, so that it is shown at once, then twice as many each time."""
    source = iter(sessions)
    most = 1
    more = True
    while more:
        batch: list[Session] = []
        pairs = 0
        while len(batch) < most and pairs < _PAIRS_AT_ONCE:
            try:
                session = next(source)
            except StopIteration:
                more = False
                break
            if session is None:
                if not batch:
                    sleep(IDLE_SECONDS)
                break
            batch.append(session)
            pairs += len(session.items) ** 2 // 2
        if not batch:
            continue
        started = perf_counter()
        found = write_many(batch)
        seconds = (perf_counter() - started) / len(batch)
        for session, bundles in zip(batch, found, strict=True):
            if isinstance(bundles, KdtuiError):
                yield Refused(session, str(bundles), seconds, NO_TOKENS)
                continue
            for bundle in bundles:
                yield Grew(session, bundle)
            yield Answered(session, bundles, seconds, NO_TOKENS)
        most = min(2 * most, _SESSIONS_AT_ONCE)
