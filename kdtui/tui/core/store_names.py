"""What there is in the store that has a name, for the palette to find."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdtui.text import counted

if TYPE_CHECKING:
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Named:
    """Something that can be gone to.

    Attributes:
        title: what it is, and its name; text from outside.
        about: what else there is to say of it; text from outside.
        place: where it is shown.
        key: of its row there.
    """

    title: str
    about: str
    place: str
    key: str


def names_in(db: "Database") -> list[Named]:
    """All that has a name, the newest runs first; for threads."""
    return list(_names(db))


def _names(db: "Database") -> Iterator[Named]:
    from kdtui.workflows.manage_models import known_models
    from store.datasets import dataset_names
    from store.jobs import list_jobs
    from store.runs import list_runs
    from store.samples import list_samples
    from store.studies import list_studies

    for name in dataset_names(db):
        yield Named(f"Dataset {name}", "its sessions, in the workbench", "workbench", name)
    for sample in list_samples(db):
        yield Named(f"Sample {sample.name}", f"{counted(sample.pieces, 'piece')} of knowledge", "samples", sample.name)
    for job in list_jobs(db):
        where = f"on {job.host}" if job.host else "here"
        yield Named(f"Training {job.name}", f"{where}, of {', '.join(job.settings.datasets)}", "jobs", job.name)
    for model in known_models(db):
        what = "Adapter" if model.kind == "adapter" else "Model"
        yield Named(f"{what} {model.name}", model.source, "models", model.name)
    for study in list_studies(db):
        yield Named(f"Study {study.name}", f"from {study.source}, {study.created_at[:10]}", "studies", study.name)
    for summary in reversed(list_runs(db)):
        run = summary.run
        of = f"{counted(summary.answered, 'session')} answered, {run.created_at[:10]}"
        yield Named(f"Run {run.id}: {run.name} on {run.dataset} {run.split}", of, "runs", f"run {run.id}")
