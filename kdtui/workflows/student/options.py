"""What there is to choose from, for who wants bundles generated. Importing this is cheap."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from typing import TYPE_CHECKING

from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import RESERVED, ROUTED
from models.embedded import NAME
from models.errors import ModelError
from store.errors import StoreError
from store.records import Format, RunSettings, TrainingSettings

if TYPE_CHECKING:
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StudentOptions:
    """What settings can name.

    Attributes:
        students: those that come with the program, and the bases that have names.
        adapters: each with the student that it was trained on.
        samples: by name.
        formats: of which the dataset has knowledge.
        near: embedding models that the dataset has vectors of.
        intent_writers: adapters that write intents alone, as far as it was asked for how they were trained.
        default: how the default adapter of the dataset is asked; None where the shipped student answers it.
        as_trained: for adapters, how a student with it is asked as it was trained, if that was asked for and is known.
    """

    students: tuple[str, ...] = RESERVED
    adapters: tuple[tuple[str, str], ...] = ()
    samples: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    near: tuple[str, ...] = ()
    as_trained: Mapping[str, RunSettings] = field(default_factory=dict)
    intent_writers: frozenset[str] = frozenset()
    default: RunSettings | None = None


def student_options(db: "Database", dataset: str | None, *, as_trained: bool = False) -> StudentOptions:
    """What there is to choose from for sessions of a dataset; for None, of those that belong to none.

    Args:
        as_trained: whether to find out how adapters were trained: files are read of those that were trained elsewhere.

    Raises:
        NotFound: there is no such dataset.
    """
    from store.models import named_models
    from store.samples import list_samples

    models = named_models(db)
    trained = _trained(db)
    adapters = {model.name: NAME for model in models if model.kind == "adapter"}
    adapters |= {name: base or NAME for name, (base, _) in trained.items()}
    asked, writers = _as_trained(db, adapters, trained) if as_trained else ({}, frozenset())
    adapters |= {name: settings.student for name, settings in asked.items()}
    routers = _routers(db)
    adapters |= routers
    if as_trained:
        # Each of their adapters is asked as it was trained, which is not for the user to say.
        asked = {**asked, **{name: RunSettings(base, adapters=((name, 1.0),)) for name, base in routers.items()}}
    bases = [model.name for model in models if model.kind == "base"]
    formats: tuple[Format, ...] = ()
    near: tuple[str, ...] = ()
    if dataset is not None:
        from store.knowledge import known_formats
        from store.vectors import vector_models

        formats = known_formats(db, dataset)
        near = tuple(vector_models(db, dataset))
    samples = tuple(sample.name for sample in list_samples(db))
    default = _default(db, dataset)
    return StudentOptions(
        (*RESERVED, *bases), tuple(sorted(adapters.items())), samples, formats, near, asked, writers, default
    )


def _default(db: "Database", dataset: str | None) -> RunSettings | None:
    from kdtui.workflows.student.as_trained import default_adapter, settings_as_trained

    # Why it cannot be used is said where it is.
    with suppress(KdtuiError, ModelError, StoreError):
        if default_adapter(db, dataset) is not None:
            return settings_as_trained(db, None, None, dataset=dataset)
    return None


def _routers(db: "Database") -> dict[str, str]:
    """The routers as adapters, each with the student that its adapters are for."""
    from store.routers import list_routers

    found = {}
    for stored in list_routers(db):
        # Imported only where there is one.
        from kdtui.workflows.student.routed import load_router

        # Why it cannot be used is said where it is.
        with suppress(KdtuiError):
            found[f"{ROUTED}{stored.name}"] = load_router(db, stored.name).routes[0].settings.student
    return found


def _trained(db: "Database") -> dict[str, tuple[str | None, TrainingSettings]]:
    """The trainings here that have an adapter, each with its base, if that can be a student, and what it is made of."""
    from store.jobs import list_jobs

    found = {}
    for job in list_jobs(db):
        # Imported only where there is one: a third of a second.
        from kdtui.workflows.job_state import base_of, known_status
        from models.sft.job_files import ADAPTER

        # Its folder may be gone, or hold what another version has written.
        with suppress(KdtuiError, ModelError, OSError):
            if known_status(job).state == "done" and (job.folder / ADAPTER).is_dir():
                found[job.name] = base_of(job), job.settings
    return found


def _as_trained(
    db: "Database", adapters: Iterable[str], trained: Mapping[str, tuple[str | None, TrainingSettings]]
) -> tuple[dict[str, RunSettings], frozenset[str]]:
    """How a student with each adapter is asked as it was trained, and which of them write intents alone."""
    from kdtui.workflows.student.settings import shown_as_trained

    found, writers = {}, set()
    for name in adapters:
        base, settings = trained.get(name, (None, None))
        # One that was found on a host may say nothing of itself.
        if base is not None and settings is not None and settings.datasets:
            found[name] = shown_as_trained(RunSettings(base, adapters=((name, 1.0),)), settings)
            if settings.form == "intents":
                writers.add(name)
            continue
        # Why it cannot be used is said where it is.
        with suppress(KdtuiError, ModelError, StoreError):
            from kdtui.workflows.student.adapters import trained_with
            from kdtui.workflows.student.describe_model import student_with

            if (known := trained_with(db, name)) is not None:
                found[name] = student_with(db, name)
                if known.form == "intents":
                    writers.add(name)
    return found, frozenset(writers)


def combined(offers: Iterable[StudentOptions]) -> StudentOptions:
    """What any of the datasets offers; what is chosen is checked against its own."""
    first, *others = offers
    formats, near = first.formats, first.near
    for other in others:
        formats, near = (*formats, *other.formats), (*near, *other.near)
    return replace_fields(first, formats=formats, near=tuple(dict.fromkeys(near)))
