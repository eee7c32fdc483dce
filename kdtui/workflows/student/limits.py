"""What students cannot use, and why; refused before anything is loaded. Importing this is cheap."""

from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import PATTERNS, is_endpoint, router_in, why_uncalibrated
from models.embedded import SHIPPED
from store.records import RunSettings

if TYPE_CHECKING:
    from store.sqlite import Database


def why_no_knowledge(student: str, intent_writer: str | None = None) -> str | None:
    """Say why a student is shown no knowledge, as a clause; None if it is shown some.

    Args:
        intent_writer: its adapter, if that writes only intents.
    """
    if student == PATTERNS:
        return "the pattern student learns from the training sessions and is shown no knowledge"
    if student == SHIPPED:
        return (
            "the language model of the shipped student only names bundles that the pair model finds, "
            "and is shown no knowledge"
        )
    if intent_writer is not None:
        return f"{_writes_intents(intent_writer)}, and is shown no knowledge"
    return None


def why_no_strategy(student: str, intent_writer: str | None = None) -> str | None:
    """Say why a student has no strategy to choose, as a clause; None if it has. `intent_writer` as above."""
    if student == PATTERNS:
        return "the pattern student is not a language model"
    if student == SHIPPED:
        return "the shipped student only names the bundles that the pair model finds"
    if intent_writer is not None:
        return _writes_intents(intent_writer)
    return None


def why_no_adapter(student: str) -> str | None:
    """Say why a student takes no adapter, as a clause; None if it does."""
    if student == PATTERNS:
        return "the pattern student is not a language model"
    if student == SHIPPED:
        return "the shipped student has an adapter of its own"
    if is_endpoint(student):
        return "the adapter of an endpoint is named as its model: URL#MODEL"
    return None


def intent_writer(db: "Database | None", settings: RunSettings) -> str | None:
    """Return the label of the only adapter of these settings if it only writes intents, of bundles found without it.

    Raises:
        KdtuiError: there is no such adapter.
    """
    if len(settings.adapters) != 1 or settings.student == SHIPPED or router_in(settings) is not None:
        return None
    # Imported here: without an adapter there is no training to read.
    from kdtui.workflows.student.adapters import trained_with

    adapter = settings.adapters[0][0]
    trained = trained_with(db, adapter)
    return Path(adapter).stem if trained is not None and trained.form == "intents" else None


def check_intent_writer(db: "Database | None", settings: RunSettings) -> None:
    """Refuse settings that an adapter that only writes intents cannot use.

    Raises:
        KdtuiError: they are refused, or there is no such adapter.
    """
    if (writer := intent_writer(db, settings)) is None:
        return
    given = {
        "--knowledge": settings.knowledge,
        "--sample": settings.sample,
        "--domains": settings.domains == "all",
        "--neighbours": settings.neighbours,
        "--near": settings.near,
        "--budget": settings.budget,
    }
    if named := [option for option, value in given.items() if value]:
        raise KdtuiError(f"{why_no_knowledge(settings.student, writer)}; leave out {' and '.join(named)}")
    if settings.strategy not in (None, "pairs"):
        raise KdtuiError(f"{why_no_strategy(settings.student, writer)}; leave out --strategy")


def check_calibratable(db: "Database", settings: RunSettings) -> None:
    """Refuse to calibrate a student that has no strategy to choose.

    Raises:
        KdtuiError: it has none, or there is no such adapter.
    """
    if (why := why_uncalibrated(settings.student)) is not None:
        raise KdtuiError(why)
    if (router := router_in(settings)) is not None:
        raise KdtuiError(f"the adapters of router {router!r} write lists of bundles; there is no strategy to choose")
    if (writer := intent_writer(db, settings)) is not None:
        raise KdtuiError(f"{_writes_intents(writer)}; there is no strategy to choose")


def _writes_intents(adapter: str) -> str:
    return f"the adapter {adapter} writes only the intents of bundles that the pair model finds"
