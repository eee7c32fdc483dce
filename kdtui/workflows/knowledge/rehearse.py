"""Estimate what a distillation would cost, from the calls that are stored already."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace

from kdtui.workflows.async_events import iterate
from kdtui.workflows.calls.costs import check_budget
from kdtui.workflows.calls.rehearsal import NotPaidYet, Rehearsal
from kdtui.workflows.calls.tally import Tally
from kdtui.workflows.knowledge.distillation_plan import DistillationPlan, sessions_to_ask_about
from kdtui.workflows.knowledge.teacher_conversations import conversation_about, forget_lesson, hold_conversation
from models.endpoint.teacher import Teacher
from models.errors import ModelError
from store.records import Format, Session
from store.sqlite import Database

_CALLS: dict[Format, int] = {"rule": 3, "thought": 1}
"""Calls for one session."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The progress of a rehearsal; `tally` is the estimated cost so far, as in `rehearse`."""

    sessions: int
    of: int
    tally: Tally


def rehearse(db: Database, plan: DistillationPlan) -> Tally:
    """Estimate what the work would cost: `hits` need no call, `paid` ones are estimated.

    Raises:
        As `distil_with_model`.
    """
    tally = Tally()
    for event in rehearsal(db, plan):
        tally = event.tally
    return tally


def rehearsal(db: Database, plan: DistillationPlan) -> Iterator[Rehearsed]:
    """Run `rehearse` session by session.

    Raises:
        As `distil_with_model`.
    """
    check_budget(plan.budget, plan.prices)
    return iterate(_rehearse(db, plan, sessions_to_ask_about(db, plan)))


async def _rehearse(db: Database, plan: DistillationPlan, sessions: Sequence[Session]) -> AsyncGenerator[Rehearsed]:
    teacher = Teacher(plan.endpoint, plan.pace)
    try:
        desk = Rehearsal(db, await teacher.model(), plan.prices, plan.answer_tokens, plan.retry_failed)
    finally:
        await teacher.close()
    done = 0
    for format in plan.formats:
        converse = conversation_about(db, plan.dataset, format, desk, forget_lesson)
        for session in sessions:
            done += 1
            desk.asked = 0
            try:
                await hold_conversation(converse, session, desk)
            except NotPaidYet:
                desk.count_further(_CALLS[format] - desk.asked)
            except ModelError:
                # The ledger holds an unusable answer, which would be used again.
                pass
            yield Rehearsed(done, len(plan.formats) * len(sessions), replace(desk.tally))
