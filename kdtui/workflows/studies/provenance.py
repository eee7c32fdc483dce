"""What is needed to repeat a study: the hashes of its data, models and adapters, and the commands."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from kdtui.workflows.model_names import is_endpoint
from kdtui.workflows.runs.published import fingerprint
from kdtui.workflows.student.command_options import evaluate_arguments
from kdtui.workflows.studies.labels import label, model_label
from kdtui.workflows.studies.plan import StudyPlan
from kdtui.workflows.studies.spec import NOTHING
from kdtui.workflows.studies.steps import EvaluationStep, TrainingStep
from kdtui.workflows.studies.store_contents import StoreContents
from store.records import SPLITS
from store.runs import get_run
from store.sessions import iter_sessions
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a study was made of.

    Attributes:
        hashes: a name and its SHA-256 in hexadecimal: splits of datasets, base models, adapters.
        commands: the purpose of each command, and the command that does the same without a study.
    """

    hashes: list[tuple[str, str]]
    commands: list[tuple[str, str]]


def provenance_of(db: Database, plan: StudyPlan) -> Provenance:
    """Return what a study was made of, as far as that still exists."""
    return Provenance(list(_hashes(db, plan)), list(_commands(db, plan)))


def _hashes(db: Database, plan: StudyPlan) -> Iterator[tuple[str, str]]:
    for dataset in plan.answered:
        for split in SPLITS:
            yield f"{dataset} {split}", fingerprint(iter_sessions(db, dataset, split=split))
    named: dict[str, str] = {}
    for question in plan.spec.question:
        named |= {name: f"base {model_label(name)}" for name in question.student if not is_endpoint(name)}
        named |= {name: f"adapter {name}, which trainings begin from" for name in question.from_ if name != NOTHING}
    for planned in plan.steps.values():
        if isinstance(planned.step, TrainingStep) and planned.stored is not None and planned.stored.made:
            named[planned.stored.made] = f"adapter {planned.stored.made} ({label(planned.step)})"
    contents = StoreContents(db)
    for name, what in named.items():
        if (digest := contents.model_hash(name)) is not None:
            yield what, digest


def _commands(db: Database, plan: StudyPlan) -> Iterator[tuple[str, str]]:
    yield "the whole study", f"kdtui study run {shlex.quote(plan.spec.name)}.toml"
    names = plan.cell_names
    for cell in plan.cells:
        if cell.status == "done" and cell.stored is not None and isinstance(cell.step, EvaluationStep):
            run = get_run(db, int(cell.stored.made))
            words = shlex.join(["kdtui", *evaluate_arguments(run.dataset, run.split, run.settings)])
            yield f"{names[cell.key]} (run {run.id})", words
