"""The routers of a report: each compared with simpler ways to use the same adapters, on the validation sessions."""

from collections.abc import Mapping, Sequence

from kdtui.errors import KdtuiError
from kdtui.workflows.student.routed import load_router
from kdtui.workflows.studies.labels import trained_first
from kdtui.workflows.studies.plan import PlannedStep, StudyPlan
from kdtui.workflows.studies.results import QuestionRow
from kdtui.workflows.studies.steps import EvaluationStep, step_key
from kdtui.workflows.studies.verdicts import value_in_words
from store.errors import NotFound
from store.sqlite import Database

ROUTER_HEADINGS = ("cell", "validation sessions", "answered by", "pair F1")

ROUTER_NOTE = (
    "By cross-validation: the router and the choice of the best single adapter are judged on sessions that they were "
    "not fitted to. The oracle knows the best adapter for each session, so no router can be better."
)


def router_rows(
    db: Database, plan: StudyPlan, rows: Sequence[QuestionRow], names: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """Return a line for each way to use the adapters of each router that exists, by cross-validation."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        for cell in row.cells:
            name = _router_of(plan, cell)
            if name is None:
                continue
            try:
                router = load_router(db, name)
            except (NotFound, KdtuiError):
                # It was deleted after it answered.
                continue
            label = names[row.name] if len(row.cells) == 1 else f"{names[row.name]} · seed {_seed(cell)}"
            lines += [
                (label, f"{router.sessions:,}", each.name, value_in_words(each.mean, each.low, each.high))
                for each in router.validation
            ]
    return lines


def _router_of(plan: StudyPlan, cell: PlannedStep) -> str | None:
    step = cell.step
    if not isinstance(step, EvaluationStep) or step.mixture is None or step.mixture.how != "routed":
        return None
    stored = plan.steps[step_key(step.mixture)].stored
    return None if stored is None else stored.made or None


def _seed(cell: PlannedStep) -> int:
    assert isinstance(cell.step, EvaluationStep)
    training = trained_first(cell.step)
    return 0 if training is None else training.seed
