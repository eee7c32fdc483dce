"""The choices of a user who wants bundles generated. Importing this is cheap."""

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
        students: those that come with the program, and the named bases.
        adapters: each with the student that it was trained on.
        samples: by name.
        formats: that the dataset has knowledge of.
        near: embedding models that the dataset has vectors of.
        intent_writers: adapters that only write intents; only known with `as_trained`.
        default: settings of the default adapter of the dataset; None if the shipped student answers it.
        as_trained: settings that ask a student with an adapter as it was trained, if requested and known.
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
    """Return the choices for sessions of a dataset; None for sessions of no dataset.

    Args:
        as_trained: whether to find out how adapters were trained: that reads the files of adapters from elsewhere.

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
        # A router asks each of its adapters as it was trained. The user cannot change that.
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

    # Using it says why it cannot be used.
    with suppress(KdtuiError, ModelError, StoreError):
        if default_adapter(db, dataset) is not None:
            return settings_as_trained(db, None, None, dataset=dataset)
    return None


def _routers(db: "Database") -> dict[str, str]:
    """Return the routers as adapters, each with the student that its adapters are for."""
    from store.routers import list_routers

    base_by_router = {}
    for stored in list_routers(db):
        # Imported only if there is a router.
        from kdtui.workflows.student.routed import load_router

        # Using it says why it cannot be used.
        with suppress(KdtuiError):
            base_by_router[f"{ROUTED}{stored.name}"] = load_router(db, stored.name).routes[0].settings.student
    return base_by_router


def _trained(db: "Database") -> dict[str, tuple[str | None, TrainingSettings]]:
    """Return the trainings whose adapter is on this machine, with their base, if it can be a student, and settings."""
    from store.jobs import list_jobs

    trained = {}
    for job in list_jobs(db):
        # Imported only if there is a training: it takes a third of a second.
        from kdtui.workflows.job_state import base_of, known_status
        from models.sft.job_files import ADAPTER

        # Its folder can be gone, or written by another version.
        with suppress(KdtuiError, ModelError, OSError):
            if known_status(job).state == "done" and (job.folder / ADAPTER).is_dir():
                trained[job.name] = base_of(job), job.settings
    return trained


def _as_trained(
    db: "Database", adapters: Iterable[str], trained: Mapping[str, tuple[str | None, TrainingSettings]]
) -> tuple[dict[str, RunSettings], frozenset[str]]:
    """Return the settings that ask each adapter as it was trained, and the adapters that only write intents."""
    from kdtui.workflows.student.settings import add_trained_knowledge

    settings_by_adapter, writers = {}, set()
    for name in adapters:
        base, settings = trained.get(name, (None, None))
        # An adopted training can lack its settings.
        if base is not None and settings is not None and settings.datasets:
            settings_by_adapter[name] = add_trained_knowledge(RunSettings(base, adapters=((name, 1.0),)), settings)
            if settings.form == "intents":
                writers.add(name)
            continue
        # Using it says why it cannot be used.
        with suppress(KdtuiError, ModelError, StoreError):
            from kdtui.workflows.student.adapters import trained_with
            from kdtui.workflows.student.describe_model import settings_for_model

            if (known := trained_with(db, name)) is not None:
                settings_by_adapter[name] = settings_for_model(db, name)
                if known.form == "intents":
                    writers.add(name)
    return settings_by_adapter, frozenset(writers)


def combined(offers: Iterable[StudentOptions]) -> StudentOptions:
    """Combine the options of several datasets. A choice is checked again for its own dataset."""
    first, *others = offers
    formats, near = first.formats, first.near
    for other in others:
        formats, near = (*formats, *other.formats), (*near, *other.near)
    return replace_fields(first, formats=formats, near=tuple(dict.fromkeys(near)))
