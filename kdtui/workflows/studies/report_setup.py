"""What a reader of a report has to know before the results: the students, their training, and what the cells mean."""

from collections.abc import Mapping, Sequence

from kdtui.text import counted
from kdtui.workflows.studies.labels import formats_label, formats_of_cell, model_label, utilization_of
from kdtui.workflows.studies.plan import StudyPlan
from kdtui.workflows.studies.results import QuestionRow
from kdtui.workflows.studies.spec import Utilization
from kdtui.workflows.studies.steps import EvaluationStep

_MEANINGS: Mapping[Utilization, str] = {
    "zero-shot": "not trained, and shown no knowledge",
    "icl": "not trained; knowledge is in the prompt",
    "sft": "trained, with knowledge in the training only",
    "sft+icl": "trained and asked with knowledge in the prompt",
    "routed": "an adapter for each format and one without, of which a router chooses one for each session",
    "merged": "the mean of these adapters",
}


def setup_of(plan: StudyPlan) -> list[str]:
    """Return sentences about the students, the training and the utilizations of a study."""
    steps = [cell.step for cell in plan.cells if isinstance(cell.step, EvaluationStep)]
    students = ", ".join(dict.fromkeys(model_label(step.student) for step in steps))
    used = {utilization_of(step) for step in steps}
    sentences = [f"Students: {students}"]
    if used - {"zero-shot", "icl"}:
        training = plan.spec.training
        each = "all training sessions" if training.sessions is None else counted(training.sessions, "training session")
        drawn = "" if training.sessions is None else ", drawn at random"
        sentences.append(
            f"Adapters are trained on {each} of a dataset{drawn}, for {counted(training.epochs, 'epoch')}, "
            "where a row does not say otherwise"
        )
    meanings = [f"{name}: {what}" for name, what in _MEANINGS.items() if name in used]
    return [*sentences, "; ".join(meanings)]


def knowledge_of(rows: Sequence[QuestionRow]) -> str:
    """Return a sentence about the knowledge of the rows of a question, if all that use any use the same formats."""
    steps = [cell.step for row in rows for cell in row.cells if isinstance(cell.step, EvaluationStep)]
    sets = {formats for step in steps if (formats := formats_of_cell(step))}
    return f"The knowledge of all rows that use any is {formats_label(next(iter(sets)))}" if len(sets) == 1 else ""
