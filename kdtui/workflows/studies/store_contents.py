"""What a store has for the steps of a study, and what they made."""

import json
from collections.abc import Callable, Mapping

from kdtui.errors import KdtuiError
from kdtui.workflows.kept_sums import known_sum
from kdtui.workflows.model_names import is_endpoint, located_model
from kdtui.workflows.student.valid_calibrations import valid_calibrations
from kdtui.workflows.studies.steps import (
    ANY,
    CalibrationStep,
    EvaluationStep,
    KnowledgeStep,
    MixtureStep,
    SampleStep,
    Step,
    TrainingStep,
    prerequisites,
    run_settings,
    step_kind,
)
from models.errors import ModelError
from store.calibrations import calibrations
from store.models import named_models
from store.records import Format, RunSettings
from store.routers import list_routers
from store.samples import list_samples
from store.sqlite import Database
from store.studies import (
    StoredStep,
    dataset_times,
    finished_runs,
    knowledge_kept,
    teachers_kept,
)


class StoreContents:
    """What a store has for the steps of a study, and what they made; looked up once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._datasets = dataset_times(db)
        self._kept = knowledge_kept(db)
        self._teachers = teachers_kept(db)
        self._samples = {sample.name for sample in list_samples(db)}
        self._adapters = {model.name: model.path for model in named_models(db) if model.kind == "adapter"}
        self._routers = {router.name for router in list_routers(db)}
        self._runs = finished_runs(db)
        self._basis: dict[Step, str] = {}
        self._hashes: dict[str, str | None] = {}

    def has_knowledge(self, step: KnowledgeStep) -> bool:
        """Return whether there is knowledge that the step would find."""
        if step.teacher == ANY:
            return (step.dataset, step.format) in self._kept
        return (step.dataset, step.format, step.teacher) in self._teachers

    def basis(self, step: Step) -> str:
        """Identify what a step is made from: imports of datasets, their kept knowledge, and files of models."""
        if step not in self._basis:
            datasets, formats, models = _sources(step)
            kept = {pair: self._kept.get(pair, (0, 0, 0, "")) for pair in sorted(formats)}
            self._basis[step] = json.dumps(
                [
                    sorted((name, self._datasets.get(name, "")) for name in datasets),
                    [(*pair, count, highest) for pair, (count, highest, _, _) in kept.items()],
                    [(total, newest) for _, _, total, newest in kept.values()],
                    [(name, self.model_hash(name)) for name in sorted(models)],
                ]
            )
        return self._basis[step]

    def model_hash(self, name: str) -> str | None:
        """Return the SHA-256 of the file of a base or an adapter; None if there is none."""
        if name not in self._hashes:
            try:
                path = self._adapters[name] if name in self._adapters else located_model(self._db, name)
                self._hashes[name] = known_sum(path)
            except (KdtuiError, ModelError, OSError):
                self._hashes[name] = None
        return self._hashes[name]

    def why_not_done(self, step: Step, stored: StoredStep | None, made: Callable[[Step], str]) -> str | None:
        """Return None for a finished step; otherwise why it has to be done again, empty if it was never done."""
        if isinstance(step, KnowledgeStep):
            return None if self.has_knowledge(step) else ""
        if stored is None or stored.state != "done":
            return ""
        if not is_same_basis(stored.basis, self.basis(step)):
            return "the dataset, its knowledge or a model has changed since"
        return None if self._is_there(step, stored, made) else f"{_made_in_words(step, stored)} has been deleted"

    def _calibrations(self, dataset: str, settings: RunSettings) -> Mapping[str, object]:
        """Return the calibrations that a student would use; all of them if its files are gone."""
        try:
            return valid_calibrations(self._db, dataset, settings)
        except (KdtuiError, ModelError):
            return calibrations(self._db, dataset, settings)

    def _is_there(self, step: Step, stored: StoredStep, made: Callable[[Step], str]) -> bool:
        match step:
            case SampleStep():
                return stored.made in self._samples
            case TrainingStep():
                return stored.made in self._adapters
            case MixtureStep():
                return stored.made in (self._routers if step.how == "routed" else self._adapters)
            case CalibrationStep():
                return step.form in self._calibrations(step.dataset, run_settings(step, made))
            case EvaluationStep():
                return stored.made in self._runs
            case KnowledgeStep():
                return True


def is_same_basis(stored: str, present: str) -> bool:
    """Return whether a step would be made from the same as before. A model that is gone may be the same."""
    *others, models = json.loads(present)
    # Earlier versions stored fewer parts.
    before = json.loads(stored)
    hashes = dict(before[len(others)]) if len(before) > len(others) else {}
    return before[: len(others)] == others[: len(before)] and all(
        digest is None or hashes.get(name) in (None, digest) for name, digest in models
    )


def _made_in_words(step: Step, stored: StoredStep) -> str:
    return f"run {stored.made}" if isinstance(step, EvaluationStep) else f"its {step_kind(step)} {stored.made}".rstrip()


def _sources(step: Step) -> tuple[set[str], set[tuple[str, Format]], set[str]]:
    """Return the datasets that a step is made from, the formats of their knowledge, and the names of models."""
    datasets: set[str] = set()
    formats: set[tuple[str, Format]] = set()
    models: set[str] = set()
    match step:
        case KnowledgeStep():
            datasets.add(step.dataset)
        case SampleStep() | TrainingStep():
            datasets.update(step.datasets)
            formats.update((dataset, format) for dataset in step.datasets for format in step.formats)
            if isinstance(step, TrainingStep):
                models.update((step.base,) if step.start is None else (step.base, step.start))
        case MixtureStep():
            datasets.add(step.dataset)
        case CalibrationStep() | EvaluationStep():
            datasets.add(step.dataset)
            shown_of = (step.dataset,) if step.sample is None else step.sample.datasets
            formats.update((dataset, format) for dataset in shown_of for format in step.shown)
            if not is_endpoint(step.student):
                models.add(step.student)
    for need in prerequisites(step):
        more_datasets, more_formats, more_models = _sources(need)
        datasets |= more_datasets
        formats |= more_formats
        models |= more_models
    return datasets, formats, models
