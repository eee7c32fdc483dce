"""Read the training settings in the manifest of an adapter."""

from collections.abc import Mapping
from typing import Any

import msgspec

from store.records import TrainingSettings


def training_of(manifest: Mapping[str, Any]) -> TrainingSettings | None:
    """Return the training settings in a manifest.

    None for one of another version, or an edited one: the adapter works without them.
    """
    try:
        return msgspec.convert(manifest, TrainingSettings)
    except msgspec.ValidationError:
        return None
