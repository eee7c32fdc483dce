"""Distil with a language model as the teacher: rules by self-reflection, and thoughts, from each training session."""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from kdtui.distill.rules import consolidate
from kdtui.workflows.calls.answers import with_options
from kdtui.workflows.calls.asker import BudgetReached, PaidCalls
from kdtui.workflows.calls.conversation import hold_conversation
from kdtui.workflows.calls.costs import check_budget
from kdtui.workflows.calls.tally import Tally
from kdtui.workflows.calls.unsaved_calls import store_unsaved_calls
from kdtui.workflows.knowledge.distill import is_sample, rule_pieces
from kdtui.workflows.knowledge.distillation_plan import DistillationPlan, sessions_to_ask_about
from kdtui.workflows.knowledge.findings import Distilled, Findings, store_findings
from kdtui.workflows.knowledge.interrupts import interrupts_between_steps
from kdtui.workflows.knowledge.teacher_conversations import (
    LearnedRule,
    LearnedThought,
    Lesson,
    conversation_about,
)
from kdtui.workflows.pause_gate import CALL_PATIENCE, PauseGate
from kdtui.workflows.waiting import when_free
from models.endpoint.teacher import NoAnswer, Teacher
from models.errors import ModelError
from models.event_loop import new_runner
from models.student_protocol import Noted
from store.knowledge import NewKnowledge, add_knowledge, count_pieces
from store.knowledge_renewal import Renewal
from store.records import Format, Session
from store.sqlite import Database

_ENDED = "it was ended"


@dataclass(frozen=True, slots=True)
class DistillProgress:
    """The progress of a format, and the number of running calls."""

    format: Format
    sessions: int
    of: int
    tally: Tally
    asking: int = 0


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """A session that gave no knowledge."""

    format: Format
    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class DistillStopped:
    """The work stopped before its end. The answers are kept, and the same command resumes."""

    reason: str
    tally: Tally


DistillEvent: TypeAlias = DistillProgress | SessionFailed | DistillStopped | Distilled | Noted


def distill_with_model(db: Database, plan: DistillationPlan, gate: PauseGate | None = None) -> Generator[DistillEvent]:
    """Ask a teacher about the training sessions, many at a time, and store its answers.

    An interrupt, or closing the iterator, lets the running calls end: they are paid for. A second interrupt does not
        wait.

    Args:
        gate: pauses or ends the work from another thread.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: it has no training sessions with bundles, a prompt of the user's own cannot be used, or the cost is
            limited and there are no prices.
        ModelError: the server cannot be reached, or the model is not named.
    """
    check_budget(plan.budget, plan.prices)
    sessions = sessions_to_ask_about(db, plan)
    with new_runner() as runner:
        work = runner.run(_begin(db, plan, sessions, gate or PauseGate()))
        try:
            with interrupts_between_steps(runner.get_loop(), work.interrupt):
                try:
                    while (event := runner.run(work.next_event())) is not None:
                        yield event
                finally:
                    runner.run(work.end())
        finally:
            # Now that paid answers are stored, the caller gets the interrupt as usual.
            if work.interrupts:
                raise KeyboardInterrupt


async def _begin(db: Database, plan: DistillationPlan, sessions: Sequence[Session], gate: PauseGate) -> "_Work":
    await when_free(db, partial(store_unsaved_calls, db))
    events: asyncio.Queue[DistillEvent | None] = asyncio.Queue()

    def notice(text: str) -> None:
        events.put_nowait(Noted(None, text))

    teacher = Teacher(plan.endpoint, plan.pace, notice)
    try:
        model = await teacher.model()
    except BaseException:
        await teacher.close()
        raise
    paid_calls = PaidCalls(
        db, teacher, model, plan.prices, plan.budget, plan.answer_tokens, plan.retry_failed, gate, notice=notice
    )
    work = _Work(db, plan, sessions, paid_calls, events)
    work.start()
    return work


@dataclass(slots=True)
class _Work:
    """Workers that each take the next session until none is left, or the budget is used up."""

    db: Database
    plan: DistillationPlan
    sessions: Sequence[Session]
    paid_calls: PaidCalls
    _events: "asyncio.Queue[DistillEvent | None]"
    _running: "asyncio.Task[None] | None" = None
    _watching: "asyncio.Task[None] | None" = None
    _stopped: str | None = None
    interrupts: int = 0

    def interrupt(self) -> None:
        """End the work. The first time, running calls are waited for; the second time, they are not."""
        self.interrupts += 1
        self._events.put_nowait(None)
        if self.interrupts > 1 and self._running is not None:
            self._running.cancel()

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._running = asyncio.create_task(self._run())
        self._watching = asyncio.create_task(self._watch())

    async def next_event(self) -> DistillEvent | None:
        """Return the next event; None at the end."""
        event = None if self.interrupts else await self._events.get()
        if event is None and not self.interrupts:
            assert self._running is not None
            await asyncio.wait([self._running])
            if self._running.cancelled():
                # Only `_watch` cancels it while events are waited for.
                return None
            self._running.result()
        return event

    async def end(self) -> None:
        """Start no more calls, and wait for the running ones."""
        self.paid_calls.gate.close()
        try:
            if self._running is not None and not self._running.done():
                await asyncio.wait([self._running], timeout=CALL_PATIENCE)
                self._running.cancel()
                await asyncio.wait([self._running])
            if self._watching is not None:
                self._watching.cancel()
        finally:
            await self.paid_calls.teacher.close()

    async def _watch(self) -> None:
        """Limit the wait for running calls after the gate is closed."""
        assert self._running is not None
        await self.paid_calls.gate.close_seen()
        _, waiting = await asyncio.wait([self._running], timeout=CALL_PATIENCE)
        if waiting:
            given_up = f"running calls did not end in {CALL_PATIENCE:g} seconds and are given up"
            self._events.put_nowait(DistillStopped(given_up, self.paid_calls.tally))
            self._running.cancel()

    async def _run(self) -> None:
        try:
            for format in self.plan.formats:
                await self._distill(format)
                if self._stopped is not None:
                    # The questions about the next format use the results of this one: asked now, they would change
                    # later.
                    self._events.put_nowait(DistillStopped(self._stopped, self.paid_calls.tally))
                    return
        finally:
            self._events.put_nowait(None)

    async def _distill(self, format: Format) -> None:
        lessons: list[Lesson] = []
        converse = conversation_about(self.db, self.plan.dataset, format, self.paid_calls, partial(self._note, lessons))
        waiting = iter(self.sessions)
        before = count_pieces(self.db, self.plan.dataset, format)
        done = failed = 0

        def tell_progress() -> None:
            tally = replace(self.paid_calls.tally)
            self._events.put_nowait(DistillProgress(format, done, len(self.sessions), tally, self.paid_calls.asking))

        self.paid_calls.changed = tell_progress

        async def take_sessions() -> None:
            nonlocal done, failed
            for session in waiting:
                await self.paid_calls.gate.passed()
                if self.paid_calls.gate.closed:
                    self._stopped = self._stopped or _ENDED
                    return
                try:
                    await hold_conversation(partial(converse, session), self.paid_calls)
                except BudgetReached:
                    reason = _ENDED if self.paid_calls.gate.closed else "the next call might pass the budget"
                    self._stopped = self._stopped or reason
                    return
                except ModelError as error:
                    failed += 1
                    self._events.put_nowait(SessionFailed(format, session.id, with_options(error)))
                    if isinstance(error, NoAnswer) and error.is_permanent:
                        self._stopped = str(error)
                        self.paid_calls.gate.close()
                        return
                done += 1
                tell_progress()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.plan.pace.concurrency, len(self.sessions))):
                    group.create_task(take_sessions())
        except BaseExceptionGroup as problems:
            # An error that stops one worker, such as an unreadable prompt, would stop them all.
            raise problems.exceptions[0] from None
        if format == "rule":
            is_whole = self._stopped is None and not failed
            findings = Findings(
                self.plan.dataset,
                self.paid_calls.name,
                {"rule": self._rules(lessons)},
                is_sample=is_sample(self.db, self.plan.dataset, self.sessions),
            )
            store = partial(store_findings, self.db, findings, replace=self.plan.replace, is_whole=is_whole)
            [distilled] = await when_free(self.db, store)
        else:
            new = count_pieces(self.db, self.plan.dataset, format) - before
            thoughts = {each.piece.statement: each.piece for each in lessons if isinstance(each, LearnedThought)}
            rejected = sum(piece.rejected is not None for piece in thoughts.values())
            distilled = Distilled(format, Renewal(len(thoughts) - rejected, rejected, new))
        self._events.put_nowait(distilled)

    async def _note(self, lessons: list[Lesson], lesson: Lesson) -> None:
        """Keep a lesson: store a thought at once, collect rules until all are known."""
        lessons.append(lesson)
        if isinstance(lesson, LearnedThought):
            add = partial(add_knowledge, self.db, self.plan.dataset, "thought", lesson.teacher, [lesson.piece])
            await when_free(self.db, add)

    def _rules(self, lessons: Sequence[Lesson]) -> list[NewKnowledge]:
        """Merge the rules of all sessions in the order of the sessions: answers arrive in any order."""
        place = {session.id: number for number, session in enumerate(self.sessions)}
        rules = [each for each in lessons if isinstance(each, LearnedRule)]
        ordered = sorted(rules, key=lambda each: place[each.session])
        learned = {each.session: each for each in reversed(ordered)}
        merged = consolidate((each.rule, each.session) for each in ordered)
        pieces = []
        for piece in rule_pieces(merged, self.sessions, least_sessions=1):
            sources = [learned[session] for session in piece.sessions]
            parents = tuple(sorted({parent for source in sources for parent in source.parents}))
            pieces.append(replace(piece, call=sources[0].call, parents=parents))
        return pieces
