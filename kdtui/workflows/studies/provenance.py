"""What it takes to repeat a study: its data, models and adapters by their hashes, and the commands."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import is_endpoint, located_model
from kdtui.workflows.runs.published import fingerprint
from kdtui.workflows.student.command_options import evaluate_arguments
from kdtui.workflows.studies.labels import cell_label, label, model_label
from kdtui.workflows.studies.plan import StudyPlan
from kdtui.workflows.studies.steps import EvaluationStep, TrainingStep
from store.errors import NotFound
from store.models import named_model
from store.records import SPLITS
from store.runs import get_run
from store.sessions import iter_sessions
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a study was made of.

    Attributes:
        hashes: what, and its SHA-256 in hexadecimal: splits of datasets, base models, adapters.
        commands: what each is for, and the command that does the same without a study.
    """

    hashes: list[tuple[str, str]]
    commands: list[tuple[str, str]]


def provenance_of(db: Database, plan: StudyPlan) -> Provenance:
    """What a study was made of, as far as that is still there."""
    return Provenance(list(_hashes(db, plan)), list(_commands(db, plan)))


def _hashes(db: Database, plan: StudyPlan) -> Iterator[tuple[str, str]]:
    for dataset in plan.answered:
        for split in SPLITS:
            yield f"{dataset} {split}", fingerprint(iter_sessions(db, dataset, split=split))
    for student in dict.fromkeys(name for question in plan.spec.question for name in question.student):
        if not is_endpoint(student):
            try:
                yield f"base {model_label(student)}", _sha256(located_model(db, student))
            except (KdtuiError, OSError):
                continue
    for planned in plan.steps.values():
        if isinstance(planned.step, TrainingStep) and planned.stored is not None and planned.stored.made:
            try:
                path = named_model(db, planned.stored.made).path
                yield f"adapter {planned.stored.made} ({label(planned.step)})", _sha256(path)
            except (NotFound, OSError):
                continue


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _commands(db: Database, plan: StudyPlan) -> Iterator[tuple[str, str]]:
    yield "the whole study", f"kdtui study run {shlex.quote(plan.spec.name)}.toml"
    for cell in plan.cells:
        if cell.status == "done" and cell.stored is not None and isinstance(cell.step, EvaluationStep):
            run = get_run(db, int(cell.stored.made))
            words = shlex.join(["kdtui", *evaluate_arguments(run.dataset, run.split, run.settings)])
            yield f"{run.dataset}: {cell_label(cell.step)} (run {run.id})", words
