"""An adapter is asked as it was trained: on its base, in its form, and shown the same kinds of knowledge."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kdtui.distill.applicable import AICL
from kdtui.workflows.model_names import is_file, router_in
from kdtui.workflows.student.settings import settings_for, shown_as_trained
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
    """`settings_for`, where what is not said is as the only adapter was trained.

    The form needs no saying: where no strategy is named or calibrated, it is what the adapter was trained for.

    Args:
        student: the shipped one for the base of the adapter; None where nothing is said of it, for the default of the
            dataset.
        dataset: whose default adapter is used where neither a student nor an adapter is named.
        knowledge: None where nothing is said of it.

    Raises:
        KdtuiError: there is no such adapter, or no base is here that it fits.
    """
    if student is None and adapters is None and (default := default_adapter(db, dataset)) is not None:
        adapters = ((default, 1.0),)
    student = student or SHIPPED
    said = settings_for(student, knowledge or (), adapters=adapters, **others)
    if len(said.adapters) != 1 or said.adapters[0][0] == SHIPPED:
        return said
    # Imported here: without an adapter there is no training to look at.
    from kdtui.workflows.student.adapters import trained_with
    from kdtui.workflows.student.describe_model import student_with

    [(adapter, _)] = said.adapters
    if (router := router_in(said)) is not None:
        from kdtui.workflows.student.routed import base_of_router

        return replace(said, student=base_of_router(db, router, None if student == SHIPPED else student))
    trained = trained_with(db, adapter)
    if student == SHIPPED and not is_file(adapter):
        said = replace(said, student=student_with(db, adapter).student)
    if knowledge is not None or said.strategy == AICL or trained is None:
        return said
    return shown_as_trained(said, trained)


def default_adapter(db: "Database", dataset: str | None) -> str | None:
    """The adapter that a dataset is answered with where none is named; None for the shipped student."""
    if dataset is None:
        return None
    from store.default_adapters import default_adapters

    return default_adapters(db).get(dataset)
