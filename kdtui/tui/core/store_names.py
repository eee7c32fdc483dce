"""The names in the store, for the palette: datasets, samples, trainings, models, studies and runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdtui.text import counted

if TYPE_CHECKING:
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StoreName:
    """Something in the store with a name.

    Attributes:
        title: its kind and its name; untrusted text.
        description: more about it; untrusted text.
        place: the place that shows it.
        key: the key of its row there.
    """

    title: str
    description: str
    place: str
    key: str


def store_names(db: "Database") -> list[StoreName]:
    """Return all names, the newest runs first; for threads."""
    return list(_names(db))


def _names(db: "Database") -> Iterator[StoreName]:
    from kdtui.workflows.manage_models import known_models
    from store.datasets import dataset_names
    from store.jobs import list_jobs
    from store.runs import list_runs
    from store.samples import list_samples
    from store.studies import list_studies

    for name in dataset_names(db):
        yield StoreName(f"Dataset {name}", "its sessions, in the workbench", "workbench", name)
    for sample in list_samples(db):
        yield StoreName(
            f"Sample {sample.name}", f"{counted(sample.pieces, 'piece')} of knowledge", "samples", sample.name
        )
    for job in list_jobs(db):
        host = f"on {job.host}" if job.host else "on this machine"
        yield StoreName(f"Training {job.name}", f"{host}, of {', '.join(job.settings.datasets)}", "jobs", job.name)
    for model in known_models(db):
        kind = "Adapter" if model.kind == "adapter" else "Model"
        yield StoreName(f"{kind} {model.name}", model.source, "models", model.name)
    for study in list_studies(db):
        yield StoreName(f"Study {study.name}", f"from {study.source}, {study.created_at[:10]}", "studies", study.name)
    for summary in reversed(list_runs(db)):
        run = summary.run
        description = f"{counted(summary.answered, 'session')} answered, {run.created_at[:10]}"
        yield StoreName(f"Run {run.id}: {run.name} on {run.dataset} {run.split}", description, "runs", f"run {run.id}")
