"""Check a request to merge adapters. Importing this is cheap."""

from collections.abc import Sequence
from pathlib import Path

from kdtui.errors import KdtuiError

SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-6, 1e6
"""The range of weights for a merge: 32-bit floats have seven digits, so others would be lost in the sum."""


def merged_name(adapters: Sequence[tuple[str, float]]) -> str:
    """Return the default name of a merged adapter."""
    from kdtui.workflows.manage_models import slug

    return slug("-".join(Path(name).stem if name.endswith(".gguf") else name for name, _ in adapters))


def check_merge(adapters: Sequence[tuple[str, float]], rank: int | None) -> None:
    """Refuse an impossible merge before anything is read.

    Raises:
        KdtuiError: it is refused.
    """
    if not adapters:
        raise KdtuiError("name the adapters to merge; kdtui model ls lists them")
    names = [name for name, _ in adapters]
    for name, weight in adapters:
        if not SMALLEST_WEIGHT <= abs(weight) <= LARGEST_WEIGHT:
            raise KdtuiError(f"{name}: the weight of an adapter is a number such as 0.5, not {weight:g}")
        if names.count(name) > 1:
            raise KdtuiError(f"{name} is named twice; name it once, with the sum of its weights")
    if rank is not None and rank < 1:
        raise KdtuiError(f"a rank must be at least 1, not {rank:,}")
