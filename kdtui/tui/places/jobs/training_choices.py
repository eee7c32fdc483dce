"""The datasets, adapters, hosts and names that a new training can use."""

import re
from collections.abc import Container
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.errors import KdtuiError
from kdtui.tui.core.store_worker import named_database
from models.embedded import NAME
from models.sft.state import ACTIVE

if TYPE_CHECKING:
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """An adapter that a training can continue, with the settings that it inherits.

    Attributes:
        target: whether the adapter was trained to write its knowledge.
    """

    name: str
    form: str
    knowledge: tuple[str, ...]
    target: bool
    base: str


@dataclass(frozen=True, slots=True)
class TrainingChoices:
    """The choices for a new training, and where it can run.

    Attributes:
        active: trainings that another one can wait for, each with its host (None for this machine).
        taken: names of trainings and models.
        lacking: why this machine cannot train; None if it can.
        named_database: the path by which a command names the store, or None for the default.
        sources: adapters that a training can continue.
    """

    datasets: tuple[str, ...]
    samples: tuple[str, ...]
    bases: tuple[str, ...]
    hosts: tuple[str, ...]
    active: tuple[tuple[str, str | None], ...]
    taken: frozenset[str]
    lacking: str | None
    named_database: Path | None
    sources: tuple[SourceChoice, ...] = ()

    def source(self, name: str) -> SourceChoice | None:
        """Return the adapter of this name, or None."""
        return next((each for each in self.sources if each.name == name), None)


def training_choices(db: "Database", database: Path) -> TrainingChoices:
    """Read the choices for a new training from the store; for worker threads."""
    from kdtui.workflows.job_state import known_trainings
    from kdtui.workflows.training.prepare import check_trainer
    from kdtui.workflows.training.source_adapters import local_sources
    from store.datasets import dataset_names
    from store.hosts import list_hosts
    from store.models import named_models
    from store.samples import list_samples

    trainings, models = known_trainings(db), named_models(db)
    lacking = None
    try:
        check_trainer()
    except KdtuiError as problem:
        lacking = str(problem)
    return TrainingChoices(
        tuple(dataset_names(db)),
        tuple(sample.name for sample in list_samples(db)),
        (NAME, *(model.name for model in models if model.kind == "base")),
        tuple(host.name for host in list_hosts(db)),
        tuple((training.job.name, training.job.host) for training in trainings if training.status.state in ACTIVE),
        frozenset(
            [*(training.job.name for training in trainings), *(model.name for model in models), *_folders(database)]
        ),
        lacking,
        named_database(database),
        tuple(
            SourceChoice(each.name, trained.form, trained.knowledge, trained.target, each.base or NAME)
            for each in local_sources(db)
            if (trained := each.trained) is not None
        ),
    )


def _folders(database: Path) -> list[str]:
    """Return the names of all folders among the trainings, even of those that are not trainings."""
    from kdtui.workflows.training.plan import jobs_folder

    folder = jobs_folder(database)
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def free_training_name(stem: str, taken: Container[str]) -> str:
    """Return a free name for a training: the name of a dataset or a training, with a number."""
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", stem).strip("-._") or "training"
    return next(name for number in count(1) if (name := f"{plain}-{number}") not in taken)
