"""A plan to distil with a language model as the teacher."""

from dataclasses import dataclass

from kdtui.workflows.calls.costs import Budget, Prices
from kdtui.workflows.calls.requests import teacher_name
from kdtui.workflows.knowledge.distill import training_sessions
from models.endpoint.chat_server import Endpoint
from models.endpoint.teacher import RequestLimits, Teacher
from models.event_loop import new_runner
from store.records import Format, Session
from store.sqlite import Database
from store.subsets import draw_subset


@dataclass(frozen=True, slots=True)
class DistillationPlan:
    """What to distil, with which teacher, and within which budget.

    Attributes:
        limit: as in `training_sessions`.
        seed: of the draw of sessions, and of their order.
        answer_tokens: of an answer at most; None for the usual limit.
        retry_failed: whether to pay again for calls that failed for good.
        replace: delete earlier rules of the teacher that are not found again, if all sessions give an answer. Thoughts
            are added one by one and stay.
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


def sessions_to_ask_about(db: Database, plan: DistillationPlan) -> list[Session]:
    """Return the sessions of a plan in random order, so that the ones within a budget are a fair sample."""
    sessions = training_sessions(db, plan.dataset, plan.limit, plan.seed)
    return draw_subset(sessions, len(sessions), plan.seed, lambda session: session.id)


def model_as_teacher(plan: DistillationPlan) -> str:
    """Return the teacher name of a model. A server is asked for its model if the plan names none.

    Raises:
        ModelError: the server has several models, or cannot be reached.
    """

    async def name() -> str:
        teacher = Teacher(plan.endpoint, plan.pace)
        try:
            return teacher_name(plan.endpoint.url, await teacher.model())
        finally:
            await teacher.close()

    with new_runner() as runner:
        return runner.run(name())
