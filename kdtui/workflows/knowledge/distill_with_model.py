"""A language model as the teacher: its rules by self-reflection, and its thoughts, from each training session."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from threading import current_thread, main_thread
from typing import Any, TypeAlias

import msgspec

from kdtui.distill.applicable import rule_line
from kdtui.distill.conversations import (
    RULES_SCHEMA,
    correction_prompt,
    detection_prompt,
    read_rules,
    read_thought,
    reflection_prompt,
    thought_prompt,
    thought_schema,
)
from kdtui.distill.feedback import write_feedback
from kdtui.distill.patterns import Pattern, patterns_for
from kdtui.distill.retrieval import decode_piece, rules_that_apply
from kdtui.distill.rules import Rule, applies_to, consolidate
from kdtui.distill.thoughts import rejection_reason
from kdtui.workflows.async_events import iterate
from kdtui.workflows.calls.asker import (
    Asker,
    BudgetReached,
    NotPaidYet,
    PaidCalls,
    Rehearsal,
    Tally,
    Unusable,
    read_answer,
    teacher_name,
    text_of,
)
from kdtui.workflows.calls.costs import Budget, Prices, check_budget
from kdtui.workflows.calls.unsaved_calls import take_in
from kdtui.workflows.knowledge.distill import rule_pieces, training_sessions
from kdtui.workflows.knowledge.findings import Distilled, Findings, store_findings
from kdtui.workflows.pause_control import PauseControl
from kdtui.workflows.waiting import when_free
from models.endpoint.chat_server import Endpoint
from models.endpoint.json_answer import answer_schema, parse_answer
from models.endpoint.teacher import NoAnswer, RequestLimits, Teacher
from models.errors import ModelError
from models.messages import Message
from models.student_protocol import Noted
from store.knowledge import Knowledge, NewKnowledge, add_knowledge, count_pieces, find_knowledge
from store.knowledge_renewal import Renewal
from store.records import Format, Session
from store.sqlite import Database
from store.subsets import draw_subset

_PATTERNS = 3
_RULES = 5
"""Patterns and rules that a teacher is given for a session."""

_PATIENCE = 60.0
"""Seconds that calls under way are waited for when the work is broken off: they are paid for."""

_ENDED = "it was told to end"

_CALLS: dict[Format, int] = {"rule": 3, "thought": 1}
"""For one session."""


@dataclass(frozen=True, slots=True)
class DistillProgress:
    """So many of the sessions of a format are done, and so many calls are under way."""

    format: Format
    sessions: int
    of: int
    tally: Tally
    asking: int = 0


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """A session gave no knowledge."""

    format: Format
    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class DistillStopped:
    """The work ends before it is done; what was answered is kept, and the same command goes on from there."""

    reason: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """So many sessions of all formats have been looked up; `tally` is what they would cost, as in `rehearse`."""

    sessions: int
    of: int
    tally: Tally


DistillEvent: TypeAlias = DistillProgress | SessionFailed | DistillStopped | Distilled | Noted


@dataclass(frozen=True, slots=True)
class DistillationRequest:
    """What to distil, from whom, and for how much at most.

    Attributes:
        limit: as in `training_sessions`.
        seed: by which those are drawn, and the order in which they are asked about.
        answer_tokens: of an answer at most; None for as many as usual.
        retry_failed: whether to pay again for what failed for good.
        replace: delete rules that the teacher gave before and that are not found again, if all sessions give an answer.
            Thoughts are added one by one, and stay.
    """

    dataset: str
    formats: tuple[Format, ...]
    endpoint: Endpoint
    pace: RequestLimits
    prices: Prices
    budget: Budget
    limit: int | None = None
    answer_tokens: int | None = None
    retry_failed: bool = False
    replace: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _ToldRule:
    """A rule of a teacher, and where it comes from."""

    rule: Rule
    session: str
    call: int
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _ToldThought:
    """A thought, and the teacher that gave it."""

    teacher: str
    piece: NewKnowledge


_Told: TypeAlias = _ToldRule | _ToldThought
_Tell: TypeAlias = Callable[[_Told], Awaitable[None]]


def distil_with_model(
    db: Database, job: DistillationRequest, gate: PauseControl | None = None
) -> Generator[DistillEvent]:
    """Ask a teacher about the training sessions, many at a time, and keep what it says.

    An interrupt, or closing the iterator, lets the calls that are under way end: they are paid for. A second interrupt
    does not wait.

    Args:
        gate: holds the work, or ends it, from another thread.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: it has no training sessions with bundles, a prompt of the user's own cannot be used, or the cost is
            limited and there are no prices.
        ModelError: the server is not there, or the model is not named.
    """
    check_budget(job.budget, job.prices)
    sessions = _to_ask_about(db, job)
    with asyncio.Runner() as runner:
        work = runner.run(_begin(db, job, sessions, gate or PauseControl()))
        try:
            with _interrupts_told(runner.get_loop(), work.interrupt):
                try:
                    while (event := runner.run(work.next_event())) is not None:
                        yield event
                finally:
                    runner.run(work.end())
        finally:
            # The caller is told as of any interrupt, now that what was paid for is kept.
            if work.interrupts:
                raise KeyboardInterrupt


def rehearse(db: Database, job: DistillationRequest) -> Tally:
    """What the work would cost: `hits` need no call, `paid` ones are estimated.

    Raises:
        As `distil_with_model`.
    """
    tally = Tally()
    for event in rehearsal(db, job):
        tally = event.tally
    return tally


def rehearsal(db: Database, job: DistillationRequest) -> Iterator[Rehearsed]:
    """`rehearse`, session by session.

    Raises:
        As `distil_with_model`.
    """
    check_budget(job.budget, job.prices)
    return iterate(_rehearse(db, job, _to_ask_about(db, job)))


def _to_ask_about(db: Database, job: DistillationRequest) -> list[Session]:
    """The sessions of a job in an order by chance: those before a budget is reached are a fair sample of them."""
    sessions = training_sessions(db, job.dataset, job.limit, job.seed)
    return draw_subset(sessions, len(sessions), job.seed, lambda session: session.id)


def model_as_teacher(job: DistillationRequest) -> str:
    """What the knowledge that a model gives calls its teacher; a server is asked where the model is not named.

    Raises:
        ModelError: the server has several models, or is not there.
    """

    async def name() -> str:
        teacher = Teacher(job.endpoint, job.pace)
        try:
            return teacher_name(job.endpoint.url, await teacher.model())
        finally:
            await teacher.close()

    return asyncio.run(name())


async def _rehearse(db: Database, job: DistillationRequest, sessions: Sequence[Session]) -> AsyncGenerator[Rehearsed]:
    teacher = Teacher(job.endpoint, job.pace)
    try:
        desk = Rehearsal(db, await teacher.model(), job.prices, job.answer_tokens, job.retry_failed)
    finally:
        await teacher.close()
    done = 0
    for format in job.formats:
        converse = _conversation(db, job.dataset, format, desk, _forget)
        for session in sessions:
            done += 1
            desk.asked = 0
            try:
                await _answered(converse, session, desk)
            except NotPaidYet:
                desk.count_further(_CALLS[format] - desk.asked)
            except ModelError:
                # An answer in the ledger that is of no use: it would be met again.
                pass
            yield Rehearsed(done, len(job.formats) * len(sessions), replace(desk.tally))


async def _begin(db: Database, job: DistillationRequest, sessions: Sequence[Session], gate: PauseControl) -> "_Work":
    await when_free(db, partial(take_in, db))
    events: asyncio.Queue[DistillEvent | None] = asyncio.Queue()

    def notice(text: str) -> None:
        events.put_nowait(Noted(None, text))

    teacher = Teacher(job.endpoint, job.pace, notice)
    try:
        model = await teacher.model()
    except BaseException:
        await teacher.close()
        raise
    ledger = PaidCalls(
        db, teacher, model, job.prices, job.budget, job.answer_tokens, job.retry_failed, gate, notice=notice
    )
    work = _Work(db, job, sessions, ledger, events)
    work.start()
    return work


@contextmanager
def _interrupts_told(loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> Iterator[None]:
    """Interrupts come as a call between two steps of a loop: one within a step would end whatever is at work in it.

    Whoever handles them otherwise is told of the first one behind this.
    """
    received: list[int] = []

    def receive(number: int) -> None:
        received.append(number)
        tell()

    handlers: dict[int, Any] = {}
    if current_thread() is main_thread():
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        handlers = {number: signal.getsignal(number) for number in numbers if callable(signal.getsignal(number))}
    try:
        for number in handlers:
            loop.add_signal_handler(number, receive, number)
    except NotImplementedError:
        # Windows: the loop's own way has to do.
        handlers = {}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


@dataclass(slots=True)
class _Work:
    """Workers that each take the next session until there is none, or no more may be paid for."""

    db: Database
    job: DistillationRequest
    sessions: Sequence[Session]
    ledger: PaidCalls
    _events: "asyncio.Queue[DistillEvent | None]"
    _running: "asyncio.Task[None] | None" = None
    _watching: "asyncio.Task[None] | None" = None
    _stopped: str | None = None
    interrupts: int = 0

    def interrupt(self) -> None:
        """Have it end: the first time what is under way is waited for, the second time it is not."""
        self.interrupts += 1
        self._events.put_nowait(None)
        if self.interrupts > 1 and self._running is not None:
            self._running.cancel()

    def start(self) -> None:
        """Begin, in the loop that runs."""
        self._running = asyncio.create_task(self._run())
        self._watching = asyncio.create_task(self._watch())

    async def next_event(self) -> DistillEvent | None:
        """What happens next; None at the end."""
        event = None if self.interrupts else await self._events.get()
        if event is None and not self.interrupts:
            assert self._running is not None
            await asyncio.wait([self._running])
            if self._running.cancelled():
                # Only `_watch` does that while events are waited for.
                return None
            self._running.result()
        return event

    async def end(self) -> None:
        """Pay for nothing more, and wait for what is under way."""
        self.ledger.gate.close()
        try:
            if self._running is not None and not self._running.done():
                await asyncio.wait([self._running], timeout=_PATIENCE)
                self._running.cancel()
                await asyncio.wait([self._running])
            if self._watching is not None:
                self._watching.cancel()
        finally:
            await self.ledger.teacher.close()

    async def _watch(self) -> None:
        """Once nothing more is to be asked, do not wait for ever for what is under way."""
        assert self._running is not None
        await self.ledger.gate.close_seen()
        _, waiting = await asyncio.wait([self._running], timeout=_PATIENCE)
        if waiting:
            given_up = f"what was under way did not come back in {_PATIENCE:g} seconds, and is given up"
            self._events.put_nowait(DistillStopped(given_up, self.ledger.tally))
            self._running.cancel()

    async def _run(self) -> None:
        try:
            for format in self.job.formats:
                await self._distil(format)
                if self._stopped is not None:
                    # The next format is asked about with what came out of this one: later it would be other questions.
                    self._events.put_nowait(DistillStopped(self._stopped, self.ledger.tally))
                    return
        finally:
            self._events.put_nowait(None)

    async def _distil(self, format: Format) -> None:
        told: list[_Told] = []
        converse = _conversation(self.db, self.job.dataset, format, self.ledger, partial(self._note, told))
        waiting = iter(self.sessions)
        before = count_pieces(self.db, self.job.dataset, format)
        done = failed = 0

        def tell_progress() -> None:
            tally = replace(self.ledger.tally)
            self._events.put_nowait(DistillProgress(format, done, len(self.sessions), tally, self.ledger.asking))

        self.ledger.changed = tell_progress

        async def take_sessions() -> None:
            nonlocal done, failed
            for session in waiting:
                await self.ledger.gate.passed()
                if self.ledger.gate.closed:
                    self._stopped = self._stopped or _ENDED
                    return
                try:
                    await _answered(converse, session, self.ledger)
                except BudgetReached:
                    reason = _ENDED if self.ledger.gate.closed else "the next call might pass the budget"
                    self._stopped = self._stopped or reason
                    return
                except ModelError as error:
                    failed += 1
                    self._events.put_nowait(SessionFailed(format, session.id, str(error)))
                    if isinstance(error, NoAnswer) and error.ends:
                        self._stopped = str(error)
                        self.ledger.gate.close()
                        return
                done += 1
                tell_progress()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.job.pace.concurrency, len(self.sessions))):
                    group.create_task(take_sessions())
        except BaseExceptionGroup as problems:
            # What stops one worker, such as a prompt that cannot be read, would stop them all.
            raise problems.exceptions[0] from None
        if format == "rule":
            is_whole = self._stopped is None and not failed
            findings = Findings(self.job.dataset, self.ledger.name, {"rule": self._rules(told)})
            store = partial(store_findings, self.db, findings, replace=self.job.replace, is_whole=is_whole)
            [distilled] = await when_free(self.db, store)
        else:
            new = count_pieces(self.db, self.job.dataset, format) - before
            thoughts = {each.piece.statement: each.piece for each in told if isinstance(each, _ToldThought)}
            rejected = sum(piece.rejected is not None for piece in thoughts.values())
            distilled = Distilled(format, Renewal(len(thoughts) - rejected, rejected, new))
        self._events.put_nowait(distilled)

    async def _note(self, told: list[_Told], each: _Told) -> None:
        """Keep what a teacher has told: thoughts in the store at once, rules until all have been told."""
        told.append(each)
        if isinstance(each, _ToldThought):
            add = partial(add_knowledge, self.db, self.job.dataset, "thought", each.teacher, [each.piece])
            await when_free(self.db, add)

    def _rules(self, told: Sequence[_Told]) -> list[NewKnowledge]:
        """Merge what was said of all sessions, in their order: answers come in any."""
        place = {session.id: number for number, session in enumerate(self.sessions)}
        rules = [each for each in told if isinstance(each, _ToldRule)]
        ordered = sorted(rules, key=lambda each: place[each.session])
        origin = {each.session: each for each in reversed(ordered)}
        merged = consolidate((each.rule, each.session) for each in ordered)
        pieces = []
        for piece in rule_pieces(merged, self.sessions, least_sessions=1):
            sources = [origin[session] for session in piece.sessions]
            parents = tuple(sorted({parent for source in sources for parent in source.parents}))
            pieces.append(replace(piece, call=sources[0].call, parents=parents))
        return pieces


def _conversation(
    db: Database, dataset: str, format: Format, desk: Asker, tell: _Tell
) -> Callable[[Session], Awaitable[None]]:
    """How a format is distilled from a session."""
    if format == "rule":
        pieces = find_knowledge(db, dataset=dataset, format="pattern")
        patterns = {decode_piece(piece, Pattern): piece.id for piece in pieces}
        return partial(_reflect, desk, patterns, tell)
    # All rules, and not those of a search: what it finds changes with what else is stored, and so would the questions.
    return partial(_think, desk, find_knowledge(db, dataset=dataset, format="rule"), tell)


async def _forget(_: _Told) -> None:
    """A rehearsal keeps nothing."""


async def _answered(
    converse: Callable[[Session], Awaitable[None]], session: Session, desk: PaidCalls | Rehearsal
) -> None:
    """Have a conversation; where an answer is of no use and may be asked for again, once more.

    Raises:
        ModelError: it comes to nothing.
    """
    while True:
        try:
            return await converse(session)
        except Unusable as error:
            if desk.gives_up(error.call):
                raise


async def _reflect(desk: Asker, patterns: dict[Pattern, int], tell: _Tell, session: Session) -> None:
    """Detect bundles, correct them, and learn rules from what people did instead."""
    matches = patterns_for(session, patterns, _PATTERNS)
    known = [f"{','.join(map(str, each.positions))}: {each.pattern.statement}" for each in matches]
    schema = answer_schema(len(session.items))
    messages = [detection_prompt(session, known)]
    first = await desk.ask("detect", messages, schema)
    messages += [Message("assistant", text_of(first)), correction_prompt()]
    second = await desk.ask("correct", messages, schema)
    bundles = read_answer(second, lambda text: parse_answer(text, len(session.items), 1.0))
    messages += [Message("assistant", text_of(second)), reflection_prompt(write_feedback(session, bundles))]
    third = await desk.ask("reflect", messages, RULES_SCHEMA)
    parents = tuple(patterns[each.pattern] for each in matches)
    for rule in read_answer(third, lambda text: read_rules(text, session)):
        await tell(_ToldRule(rule, session.id, third.id, parents))


async def _think(desk: Asker, rules: Sequence[Knowledge], tell: _Tell, session: Session) -> None:
    """Have the way from the products to the bundles explained, and keep it where it leads to the true ones."""
    given = [piece for piece in rules_that_apply(rules, session, _RULES) if applies_to(piece.value, session)]
    known = [rule_line(piece.value, session) for piece in given]
    call = await desk.ask("thought", [thought_prompt(session, known)], thought_schema(len(session.items)))
    thought = read_answer(call, lambda text: read_thought(text, session))
    piece = NewKnowledge(
        thought.statement,
        msgspec.json.encode(thought).decode(),
        rejected=rejection_reason(thought, session),
        call=call.id,
        sessions=(session.id,),
        parents=tuple(piece.number for piece in given),
    )
    await tell(_ToldThought(call.teacher, piece))
