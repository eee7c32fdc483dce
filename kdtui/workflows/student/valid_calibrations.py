"""The calibrations that count: a calibration is only valid for the weights that it was fitted on."""

import shlex

import msgspec

from kdtui.workflows.model_names import located_model
from kdtui.workflows.student.command_options import option_words, options_of
from kdtui.workflows.student.learning import Tell, tell_nobody
from kdtui.workflows.student.model import adapters_of
from models import embedded
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
    valid = {name: each for name, each in stored.items() if each.model in (None, weights)}
    if len(valid) < len(stored):
        options = {"--dataset": [dataset], **options_of(msgspec.structs.replace(settings, strategy=None))}
        command = shlex.join(["kdtui", "calibrate", *option_words(options)])
        tell(
            f"the weights of {settings.student} have changed since it was calibrated on {dataset}, so that calibration "
            f"is not used; calibrate again with: {command}"
        )
    return valid


def describe_weights(db: Database, settings: RunSettings) -> str:
    """Describe the files of a student by name, size and time, and the scales of its adapters, as JSON.

    Raises:
        KdtuiError: there is no such student, or no such adapter.
        ModelError: one of the files is missing.
    """
    adapters = adapters_of(db, settings)
    seen = []
    for path in (located_model(db, settings.student), *(adapter.path for adapter in adapters)):
        try:
            known = path.stat()
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror}") from error
        seen.append((path.name, known.st_size, known.st_mtime_ns))
    if settings.student == embedded.NAME:
        # Installing it again changes its time, but not its weights.
        seen[0] = (*seen[0][:2], 0)
    return msgspec.json.encode([seen, [adapter.scale for adapter in adapters]]).decode()
