"""What somebody asks for who wants adapters merged. Importing this is cheap."""

from collections.abc import Sequence
from pathlib import Path

from kdtui.errors import KdtuiError

SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-6, 1e6
"""With which an adapter can be merged: numbers of 32 bits have seven digits, and others would be lost in the sum."""


def merged_name(adapters: Sequence[tuple[str, float]]) -> str:
    """What a merged adapter is called, if nobody says."""
    from kdtui.workflows.manage_models import slug

    return slug("-".join(Path(name).stem if name.endswith(".gguf") else name for name, _ in adapters))


def check_merge(adapters: Sequence[tuple[str, float]], rank: int | None) -> None:
    """Refuse what cannot be merged, before anything is read.

    Raises:
        KdtuiError: it is refused.
    """
    if not adapters:
        raise KdtuiError("say which adapters to merge; kdtui model ls shows those that there are")
    names = [name for name, _ in adapters]
    for name, weight in adapters:
        if not SMALLEST_WEIGHT <= abs(weight) <= LARGEST_WEIGHT:
            raise KdtuiError(f"{name}: an adapter is merged with a weight such as 0.5, not {weight:g}")
        if names.count(name) > 1:
            raise KdtuiError(f"{name} is named twice; name it once, with the sum of its weights")
    if rank is not None and rank < 1:
        raise KdtuiError(f"a rank is 1 or more, not {rank:,}")
