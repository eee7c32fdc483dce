"""The strategy that a student uses on a dataset, and its calibration."""

from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from kdtui.distill.applicable import AICL
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import (
    PATTERNS,
    is_endpoint,
    router_in,
)
from kdtui.workflows.student.learning import Tell, tell_nobody
from kdtui.workflows.student.settings import DEFAULT_STRATEGY
from models.embedded import SHIPPED
from models.student_protocol import (
    StrategyName,
)
from store.records import RunSettings

if TYPE_CHECKING:
    from models.pairs.calibration import Calibration
    from store.calibrations import StoredCalibration
    from store.sqlite import Database


def with_strategy(db: "Database | None", dataset: str | None, settings: RunSettings) -> RunSettings:
    """Return the settings with the strategy that they will use, to be stored, so that a run resumes as it began."""
    if settings.student == PATTERNS or is_endpoint(settings.student):
        return settings
    # AICL is a way to ask for a list.
    return settings if settings.strategy == AICL else replace(settings, strategy=strategy_for(db, dataset, settings)[0])


def strategy_for(
    db: "Database | None", dataset: str | None, settings: RunSettings, tell: Tell = tell_nobody
) -> "tuple[StrategyName, Calibration | None]":
    """Return the strategy of these settings, or else the one chosen for this student, and its calibration.

    Args:
        tell: gets a sentence if a calibration is not used, because it was fitted on other weights.

    Raises:
        KdtuiError: the calibration cannot be used, or there is no such student, adapter or dataset.
        ModelError: a file of the student is missing.
    """
    if settings.strategy == AICL:
        return DEFAULT_STRATEGY, None
    # Imported here: a student without a dataset does not need the store.
    from kdtui.workflows.student.valid_calibrations import valid_calibrations

    stored = valid_calibrations(db, dataset, settings, tell) if db is not None and dataset is not None else {}
    strategy = settings.strategy or next((each.strategy for each in stored.values() if each.chosen), None)
    if strategy is None:
        strategy = "pairs" if _is_trained_for_pairs(db, settings) else DEFAULT_STRATEGY
    calibration = stored.get(strategy)
    return cast("StrategyName", strategy), None if calibration is None else weights_of(calibration)


def weights_of(stored: "StoredCalibration") -> "Calibration":
    """Return the weights of a calibration.

    Raises:
        KdtuiError: they cannot be used.
    """
    import msgspec

    from models.pairs.calibration import Calibration

    try:
        weights = msgspec.json.decode(stored.weights, type=Calibration)
    except msgspec.MsgspecError:
        weights = None
    if weights is None or not weights.is_finite or (weights.pairs is None and stored.strategy != "list"):
        raise KdtuiError(
            f"calibration {stored.number} of the strategy {stored.strategy} cannot be used, since its weights are not "
            f"numbers; delete it with: kdtui calibrate rm {stored.number}"
        )
    return weights


def _is_trained_for_pairs(db: "Database | None", settings: RunSettings) -> bool:
    """Return whether the only adapter of these settings was trained on questions about pairs, or on intents.

    Intent writers get their bundles from the evidence for pairs.
    """
    if settings.student == SHIPPED or len(settings.adapters) != 1 or router_in(settings) is not None:
        return settings.student == SHIPPED
    from kdtui.workflows.student.adapters import trained_with

    trained = trained_with(db, settings.adapters[0][0])
    return trained is not None and trained.form in ("pairs", "intents")
