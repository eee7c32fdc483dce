"""Make the knowledge that a study needs: mined, composed from the annotations, or from a teacher."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kdtui.distill.annotations import TEACHER as ANNOTATIONS
from kdtui.errors import KdtuiError
from kdtui.workflows.pause_gate import PauseGate
from kdtui.workflows.studies.spec import Spec, TeacherOptions
from kdtui.workflows.studies.steps import ANY, KnowledgeStep
from store.sqlite import Database

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.distillation_plan import DistillationPlan


def teacher_of(spec: Spec, step: KnowledgeStep) -> TeacherOptions | None:
    """Return the model that is the teacher of a step; None for patterns and annotations, which cost nothing.

    Raises:
        KdtuiError: the study has no address for the teacher.
    """
    if step.format == "pattern" or step.teacher in (ANY, ANNOTATIONS):
        return None
    for options in spec.teachers.values():
        if options.stored_name == step.teacher:
            return options
    raise KdtuiError(
        f"dataset {step.dataset!r} has no {step.format}s of teacher {step.teacher!r}, and the study has no address for "
        f"it; distil them, or add a table [teachers.NAME] with its address"
    )


def make_knowledge(db: Database, spec: Spec, step: KnowledgeStep, gate: PauseGate) -> Iterator[tuple[int, int]]:
    """Mine or distil the knowledge of a step, and store it next to existing knowledge.

    Args:
        gate: pauses or ends the calls to a model from another thread.

    Yields:
        how many sessions are done, and how many there are.

    Raises:
        KdtuiError: nothing can be found, there is no address for the teacher, or the budget is too small.
        ModelError: the teacher cannot be reached.
    """
    from kdtui.workflows.knowledge.distill import distill_annotations
    from kdtui.workflows.knowledge.distill_with_model import DistillProgress, DistillStopped, distill_with_model
    from kdtui.workflows.knowledge.mine_patterns import mine_patterns

    options = teacher_of(spec, step)
    if step.format == "pattern":
        mine_patterns(db, step.dataset)
    elif options is None:
        for _ in distill_annotations(db, step.dataset, [step.format]):
            pass
    else:
        # The distillation closes its gate at its end, or when the budget is used up. The study continues.
        with gate.branch() as own:
            for event in distill_with_model(db, distillation(options, step), own):
                if isinstance(event, DistillProgress):
                    yield event.sessions, event.of
                elif isinstance(event, DistillStopped):
                    raise KdtuiError(f"teacher {step.teacher}: {event.reason}; its answers so far are kept")


def distillation(options: TeacherOptions, step: KnowledgeStep) -> "DistillationPlan":
    """Return the request to the model of a step."""
    from kdtui.workflows.calls.costs import Budget, Prices
    from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
    from models.endpoint.chat_server import Endpoint
    from models.endpoint.teacher import RequestLimits

    url, _, model = options.address.partition("#")
    return DistillationPlan(
        step.dataset,
        (step.format,),
        Endpoint(url, model, options.key),
        RequestLimits(),
        Prices(options.prompt_price, options.answer_price),
        Budget(options.max_calls, options.max_cost),
        options.sessions,
    )
