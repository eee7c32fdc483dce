"""Estimate what a distillation would cost, from the calls that are stored already."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from kdtui.workflows.async_events import iterate
from kdtui.workflows.calls.conversation import hold_conversation
from kdtui.workflows.calls.costs import check_budget
from kdtui.workflows.calls.rehearsal import NotPaidYet, Rehearsal
from kdtui.workflows.calls.tally import Tally
from kdtui.workflows.knowledge.distillation_plan import DistillationPlan, sessions_to_ask_about
from kdtui.workflows.knowledge.teacher_conversations import conversation_about, forget_lesson
from models.endpoint.teacher import Teacher
from models.errors import ModelError
from store.records import Format, Session
from store.sqlite import Database

_CALLS: dict[Format, int] = {"rule": 3, "thought": 1}
"""Calls for one session."""


@dataclass(frozen=True, slots=True)
class EstimateProgress:
    """The progress of an estimate; `tally` is the cost so far, as in `estimate_distillation`."""

    sessions: int
    of: int
    tally: Tally


def estimate_distillation(db: Database, plan: DistillationPlan) -> Tally:
    """Estimate what the work would cost: `hits` need no call, `paid` ones are estimated.

    Raises:
        As `distill_with_model`.
    """
    tally = Tally()
    for event in estimate_with_progress(db, plan):
        tally = event.tally
    return tally


def estimate_with_progress(db: Database, plan: DistillationPlan) -> Iterator[EstimateProgress]:
    """Run `estimate_distillation` session by session.

    Raises:
        As `distill_with_model`.
    """
    check_budget(plan.budget, plan.prices)
    return iterate(_estimate(db, plan, sessions_to_ask_about(db, plan)))


async def _estimate(
    db: Database, plan: DistillationPlan, sessions: Sequence[Session]
) -> AsyncGenerator[EstimateProgress]:
    teacher = Teacher(plan.endpoint, plan.pace)
    try:
        asker = Rehearsal(db, await teacher.model(), plan.prices, plan.answer_tokens, plan.retry_failed)
    finally:
        await teacher.close()
    done = 0
    for format in plan.formats:
        converse = conversation_about(db, plan.dataset, format, asker, forget_lesson)
        for session in sessions:
            done += 1
            asker.asked = 0
            try:
                await hold_conversation(partial(converse, session), asker)
            except NotPaidYet:
                asker.count_further(_CALLS[format] - asker.asked)
            except ModelError:
                # The ledger holds an unusable answer, which would be used again.
                pass
            yield EstimateProgress(done, len(plan.formats) * len(sessions), replace(asker.tally))
