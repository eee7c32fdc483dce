"""What the manifest of an adapter says of its training."""

from collections.abc import Mapping
from typing import Any

import msgspec

from store.records import TrainingSettings


def training_of(manifest: Mapping[str, Any]) -> TrainingSettings | None:
    """What a manifest says of the training; None for one of another version, or edited: the adapter works without."""
    try:
        return msgspec.convert(manifest, TrainingSettings)
    except msgspec.ValidationError:
        return None
