"""The file of an adapter that a user names, and the settings of its training."""

from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.workflows.job_state import one_job
from kdtui.workflows.model_names import is_file
from kdtui.workflows.student.manifest import training_of
from models.embedded import SHIPPED, shipped_adapter
from models.errors import ModelError
from store.jobs import list_jobs
from store.models import named_models
from store.records import TrainingSettings
from store.similar import suggestion
from store.sqlite import Database


def adapter_file(db: Database | None, adapter: str) -> Path:
    """The GGUF file of an adapter: the file itself, that of a training of this name that is done, or the shipped one.

    Raises:
        KdtuiError: there is no such adapter, or the training has none.
    """
    if adapter == SHIPPED:
        return shipped_adapter()
    if is_file(adapter):
        return Path(adapter)
    if db is not None:
        for job in list_jobs(db):
            if job.name == adapter and (status := one_job(db, adapter).status).state != "done":
                why = f" ({status.reason})" if status.reason else ""
                raise KdtuiError(f"training {adapter!r} has no adapter yet; it is {status.state}{why}")
        known = {model.name: model.path for model in named_models(db) if model.kind == "adapter"}
        if adapter in known:
            return known[adapter]
        names = [SHIPPED, *known]
        there_are = f"there are: {', '.join(names)}, and files ending in .gguf"
        raise KdtuiError(f"there is no adapter {adapter!r}; {suggestion(adapter, names, there_are)}")
    raise KdtuiError(f"there is no adapter {adapter!r}")


def trained_with(db: Database | None, adapter: str) -> TrainingSettings | None:
    """What the manifest of an adapter says of its training; None where it was made elsewhere, or cannot be read: why
    is said where it is loaded.

    Raises:
        KdtuiError: there is no such adapter.
    """
    from models.adapters.provenance import adapter_manifest

    path = adapter_file(db, adapter)
    try:
        return training_of(adapter_manifest(path))
    except ModelError:
        return None
