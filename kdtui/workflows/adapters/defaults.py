"""Set and unset the default adapter of a dataset."""

from collections.abc import Sequence
from contextlib import suppress

from kdtui.errors import KdtuiError
from kdtui.workflows.student.adapters import adapter_file, trained_with
from models.embedded import SHIPPED
from store.default_adapters import default_adapters, set_default_adapter
from store.errors import NotFound
from store.jobs import get_job
from store.sqlite import Database


def make_default(db: Database, adapter: str, datasets: Sequence[str] = ()) -> list[str]:
    """Make an adapter the default of datasets. The shipped adapter removes their default.

    Args:
        datasets: if empty, those that the adapter was trained on.

    Returns:
        The datasets.

    Raises:
        KdtuiError: there is no such adapter, or it does not say what it was trained on.
        NotFound: there is no such dataset, or the adapter has no name in this store.
    """
    # Check that it exists, and that its training is done.
    adapter_file(db, adapter)
    if not datasets:
        datasets = _trained_on(db, adapter)
        if not datasets:
            raise KdtuiError("name the dataset with --dataset")
    with db.atomic():
        for dataset in datasets:
            set_default_adapter(db, dataset, None if adapter == SHIPPED else adapter)
    return list(datasets)


def _trained_on(db: Database, adapter: str) -> tuple[str, ...]:
    if adapter == SHIPPED:
        return ()
    with suppress(NotFound):
        return get_job(db, adapter).settings.datasets
    trained = trained_with(db, adapter)
    return () if trained is None else trained.datasets


def drop_default(db: Database, datasets: Sequence[str] = ()) -> dict[str, str]:
    """Remove the default adapter of datasets, so that the shipped student answers them.

    Args:
        datasets: if empty, all that have a default adapter.

    Returns:
        The removed default adapters, by dataset.

    Raises:
        KdtuiError: one has none.
        NotFound: there is no such dataset.
    """
    with db.atomic():
        defaults = default_adapters(db)
        chosen = datasets or tuple(defaults)
        for dataset in chosen:
            set_default_adapter(db, dataset, None)
        if missing := [dataset for dataset in chosen if dataset not in defaults]:
            raise KdtuiError(f"dataset {missing[0]!r} has no default adapter; the shipped student answers it")
    return {dataset: adapter for dataset, adapter in defaults.items() if dataset in chosen}
