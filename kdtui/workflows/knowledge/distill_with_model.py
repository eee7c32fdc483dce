"""A language model as the teacher: its rules by self-reflection, and its thoughts, from each training session."""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from kdtui.distill.rules import consolidate
from kdtui.workflows.calls.asker import BudgetReached, PaidCalls
from kdtui.workflows.calls.costs import check_budget
from kdtui.workflows.calls.tally import Tally
from kdtui.workflows.calls.unsaved_calls import store_unsaved_calls
from kdtui.workflows.knowledge.distill import rule_pieces
from kdtui.workflows.knowledge.distillation_request import DistillationRequest, sessions_to_ask_about
from kdtui.workflows.knowledge.findings import Distilled, Findings, store_findings
from kdtui.workflows.knowledge.interrupts import interrupts_between_steps
from kdtui.workflows.knowledge.teacher_conversations import (
    LearnedRule,
    LearnedThought,
    Lesson,
    conversation_about,
    hold_conversation,
)
from kdtui.workflows.pause_control import PauseControl
from kdtui.workflows.waiting import when_free
from models.endpoint.teacher import NoAnswer, Teacher
from models.errors import ModelError
from models.student_protocol import Noted
from store.knowledge import NewKnowledge, add_knowledge, count_pieces
from store.knowledge_renewal import Renewal
from store.records import Format, Session
from store.sqlite import Database

_PATIENCE = 60.0
"""Seconds that calls under way are waited for when the work is broken off: they are paid for."""

_ENDED = "it was told to end"


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


DistillEvent: TypeAlias = DistillProgress | SessionFailed | DistillStopped | Distilled | Noted


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
    sessions = sessions_to_ask_about(db, job)
    with asyncio.Runner() as runner:
        work = runner.run(_begin(db, job, sessions, gate or PauseControl()))
        try:
            with interrupts_between_steps(runner.get_loop(), work.interrupt):
                try:
                    while (event := runner.run(work.next_event())) is not None:
                        yield event
                finally:
                    runner.run(work.end())
        finally:
            # The caller is told as of any interrupt, now that what was paid for is kept.
            if work.interrupts:
                raise KeyboardInterrupt


async def _begin(db: Database, job: DistillationRequest, sessions: Sequence[Session], gate: PauseControl) -> "_Work":
    await when_free(db, partial(store_unsaved_calls, db))
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
        told: list[Lesson] = []
        converse = conversation_about(self.db, self.job.dataset, format, self.ledger, partial(self._note, told))
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
                    await hold_conversation(converse, session, self.ledger)
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
            thoughts = {each.piece.statement: each.piece for each in told if isinstance(each, LearnedThought)}
            rejected = sum(piece.rejected is not None for piece in thoughts.values())
            distilled = Distilled(format, Renewal(len(thoughts) - rejected, rejected, new))
        self._events.put_nowait(distilled)

    async def _note(self, told: list[Lesson], each: Lesson) -> None:
        """Keep what a teacher has told: thoughts in the store at once, rules until all have been told."""
        told.append(each)
        if isinstance(each, LearnedThought):
            add = partial(add_knowledge, self.db, self.job.dataset, "thought", each.teacher, [each.piece])
            await when_free(self.db, add)

    def _rules(self, told: Sequence[Lesson]) -> list[NewKnowledge]:
        """Merge what was said of all sessions, in their order: answers come in any."""
        place = {session.id: number for number, session in enumerate(self.sessions)}
        rules = [each for each in told if isinstance(each, LearnedRule)]
        ordered = sorted(rules, key=lambda each: place[each.session])
        origin = {each.session: each for each in reversed(ordered)}
        merged = consolidate((each.rule, each.session) for each in ordered)
        pieces = []
        for piece in rule_pieces(merged, self.sessions, least_sessions=1):
            sources = [origin[session] for session in piece.sessions]
            parents = tuple(sorted({parent for source in sources for parent in source.parents}))
            pieces.append(replace(piece, call=sources[0].call, parents=parents))
        return pieces
