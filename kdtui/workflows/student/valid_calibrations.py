"""The calibrations that count: a calibration is only valid for the weights that it was fitted on."""

import shlex

import msgspec

from kdtui.workflows.kept_sums import known_sum
from kdtui.workflows.model_names import located_model
from kdtui.workflows.student.command_options import option_words, options_of
from kdtui.workflows.student.learning import Tell, tell_nobody
from kdtui.workflows.student.model import adapters_of
from models.errors import ModelError
from store.calibrations import StoredCalibration, calibrations
from store.records import RunSettings
from store.sqlite import Database


def valid_calibrations(
    db: Database, dataset: str, settings: RunSettings, tell: Tell = tell_nobody
) -> dict[str, StoredCalibration]:
    """Return the calibrations of a student on a dataset that were fitted on its present weights, by strategy.

    Those of earlier versions, which do not say what they were fitted on, are included.

    Args:
        tell: gets a sentence if others are left out.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: there is no such student, or no such adapter.
        ModelError: one of their files is missing.
    """
    stored = calibrations(db, dataset, settings)
    if not any(each.model for each in stored.values()):
        return stored
    weights = describe_weights(db, settings)
    valid = {name: each for name, each in stored.items() if is_about(each, weights)}
    if len(valid) < len(stored):
        options = {"--dataset": [dataset], **options_of(msgspec.structs.replace(settings, strategy=None))}
        command = shlex.join(["kdtui", "calibrate", *option_words(options)])
        tell(
            f"the weights of {settings.student} have changed since it was calibrated on {dataset}, so that calibration "
            f"is not used; calibrate again with: {command}"
        )
    return valid


def describe_weights(db: Database, settings: RunSettings) -> str:
    """Describe the files of a student by name, size and SHA-256, and the scales of its adapters, as JSON.

    Raises:
        KdtuiError: there is no such student, or no such adapter.
        ModelError: one of the files is missing.
    """
    adapters = adapters_of(db, settings)
    seen = []
    for path in (located_model(db, settings.student), *(adapter.path for adapter in adapters)):
        try:
            seen.append((path.name, path.stat().st_size, known_sum(path)))
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror}") from error
    return msgspec.json.encode([seen, [adapter.scale for adapter in adapters]]).decode()


def is_about(stored: StoredCalibration, weights: str) -> bool:
    """Return whether a calibration was fitted on these weights. Earlier versions stored the times of the files."""
    if stored.model is None:
        return True
    (before, scales_before), (seen, scales) = msgspec.json.decode(stored.model), msgspec.json.decode(weights)
    return (
        scales_before == scales
        and len(before) == len(seen)
        and all(
            known[:2] == present[:2] and (isinstance(known[2], int) or known[2] == present[2])
            for known, present in zip(before, seen, strict=True)
        )
    )
