"""Ask an adapter as it was trained: on its base, in its form, and with the same kinds of knowledge."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kdtui.distill.applicable import AICL
from kdtui.workflows.model_names import is_file, router_in
from kdtui.workflows.student.settings import add_trained_knowledge, settings_for
from models.embedded import SHIPPED
from store.records import RunSettings

if TYPE_CHECKING:
    from store.sqlite import Database


def settings_as_trained(
    db: "Database",
    student: str | None,
    knowledge: tuple[str, ...] | None,
    *,
    dataset: str | None = None,
    adapters: tuple[tuple[str, float], ...] | None = None,
    **others: Any,
) -> RunSettings:
    """Like `settings_for`, but open settings are taken from the training of the only adapter.

    The form is never needed: without a named or calibrated strategy, it is the one that the adapter was trained for.

    Args:
        student: the shipped one for the base of the adapter; None for the default of the dataset.
        dataset: whose default adapter is used if neither a student nor an adapter is named.
        knowledge: None to take it from the training.

    Raises:
        KdtuiError: there is no such adapter, or no base on this machine fits it.
    """
    if student is None and adapters is None and (default := default_adapter(db, dataset)) is not None:
        adapters = ((default, 1.0),)
    student = student or SHIPPED
    settings = settings_for(student, knowledge or (), adapters=adapters, **others)
    if len(settings.adapters) != 1 or settings.adapters[0][0] == SHIPPED:
        return settings
    # Imported here: without an adapter there is no training to read.
    from kdtui.workflows.student.adapters import trained_with
    from kdtui.workflows.student.describe_model import settings_for_model

    [(adapter, _)] = settings.adapters
    if (router := router_in(settings)) is not None:
        from kdtui.workflows.student.routed import base_of_router

        return replace(settings, student=base_of_router(db, router, None if student == SHIPPED else student))
    trained = trained_with(db, adapter)
    if student == SHIPPED and not is_file(adapter):
        settings = replace(settings, student=settings_for_model(db, adapter).student)
    if knowledge is not None or settings.strategy == AICL or trained is None:
        return settings
    return add_trained_knowledge(settings, trained)


def default_adapter(db: "Database", dataset: str | None) -> str | None:
    """Return the default adapter of a dataset; None for the shipped student."""
    if dataset is None:
        return None
    from store.default_adapters import default_adapters

    return default_adapters(db).get(dataset)
