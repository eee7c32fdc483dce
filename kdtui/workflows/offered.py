"""What there is to choose from, for who wants bundles generated. Importing this is cheap."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import RESERVED
from models.embedded import NAME
from models.errors import ModelError
from store.records import Format

if TYPE_CHECKING:
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Offered:
    """What settings can name.

    Attributes:
        students: those that come with the program, and the bases that have names.
        adapters: each with the student that it was trained on.
        samples: by name.
        formats: of which the dataset has knowledge.
        near: embedding models that the dataset has vectors of.
    """

    students: tuple[str, ...] = RESERVED
    adapters: tuple[tuple[str, str], ...] = ()
    samples: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    near: tuple[str, ...] = ()


def offered(db: "Database", dataset: str | None) -> Offered:
    """What there is to choose from for sessions of a dataset; for None, of those that belong to none.

    Raises:
        NotFound: there is no such dataset.
    """
    from store.models import named_models
    from store.samples import list_samples

    models = named_models(db)
    trained = _trained(db)
    named = {model.name: trained.get(model.name, NAME) for model in models if model.kind == "adapter"}
    bases = [model.name for model in models if model.kind == "base"]
    formats: tuple[Format, ...] = ()
    near: tuple[str, ...] = ()
    if dataset is not None:
        from store.knowledge import known_formats
        from store.vectors import vector_models

        formats = known_formats(db, dataset)
        near = tuple(vector_models(db, dataset))
    samples = tuple(sample.name for sample in list_samples(db))
    return Offered((*RESERVED, *bases), tuple(sorted({**trained, **named}.items())), samples, formats, near)


def _trained(db: "Database") -> dict[str, str]:
    """The trainings here that have an adapter, each with its base."""
    from kdtui.workflows.fine_tune import base_of, known_status
    from models.sft.job_files import ADAPTER
    from store.jobs import list_jobs

    found = {}
    for job in list_jobs(db):
        # Its folder may be gone, or hold what another version has written.
        with suppress(KdtuiError, ModelError, OSError):
            if known_status(job).state == "done" and (job.folder / ADAPTER).is_dir():
                found[job.name] = base_of(job) or NAME
    return found
