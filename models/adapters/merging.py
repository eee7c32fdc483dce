"""Merges several LoRA adapters of one base into one.

What an adapter adds to a weight is `scale * B @ A`. The weighted sum of such products is again a product, of the
stacked matrices: `[w1 * s1 * B1, w2 * s2 * B2] @ [A1; A2]`. Its rank is the sum of the ranks. (Adding the A and the B
of several adapters is different: the product of the sums has cross terms.) A smaller rank keeps the largest singular
values of that sum.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from models.adapters.deltas import Delta
from models.errors import ModelError


def weighted_sum(adapters: Sequence[tuple[str, Mapping[str, Delta], float]]) -> dict[str, Delta]:
    """Return the exact weighted sum of what adapters add to their base, in 32 bits; its deltas have a scale of 1.

    Args:
        adapters: for each a name for messages, its deltas by module, and its weight. They can change different modules,
            and have different ranks.

    Raises:
        ModelError: they change a module with different sizes, or the sum exceeds 32 bits.
    """
    merged: dict[str, Delta] = {}
    of = {module: name for name, deltas, _ in reversed(adapters) for module in deltas}
    for module in sorted(of):
        parts = [(name, deltas[module], weight) for name, deltas, weight in adapters if module in deltas]
        sizes = {name: (len(delta.b), delta.a.shape[1]) for name, delta, _ in parts}
        for name, size in sizes.items():
            if size != sizes[of[module]]:
                (one, other) = (" x ".join(map(str, each)) for each in (sizes[of[module]], size))
                raise ModelError(
                    f"{of[module]} and {name} cannot be merged: they change {module}, which is {one} in one, and "
                    f"{other} in the other; they are for different bases"
                )
        with np.errstate(over="ignore", invalid="ignore"):
            a = np.vstack([delta.a for _, delta, _ in parts]).astype(np.float32)
            b = np.hstack([delta.b.astype(np.float64) * (weight * delta.scale) for _, delta, weight in parts])
            merged[module] = Delta(a, b.astype(np.float32), 1.0)
        if not (np.isfinite(merged[module].a).all() and np.isfinite(merged[module].b).all()):
            raise ModelError(f"the adapters cannot be merged: what they add to {module} is not a number")
    return merged


def reduce_rank(deltas: Mapping[str, Delta], rank: int) -> tuple[dict[str, Delta], float]:
    """Return the nearest adapter whose ranks are at most `rank`, and the share of the squared norm that it keeps.

    Raises:
        ModelError: all deltas are 0.
    """
    smaller = {}
    kept = total = 0.0
    for module, delta in deltas.items():
        # The singular values of B A are those of the product of two small triangular matrices.
        left, upper = np.linalg.qr(delta.scale * delta.b.astype(np.float64))
        right, lower = np.linalg.qr(delta.a.astype(np.float64).T)
        u, values, vh = np.linalg.svd(upper @ lower.T, full_matrices=False)
        squares = values**2
        kept, total = kept + float(squares[:rank].sum()), total + float(squares.sum())
        # Each side takes the square root of each singular value, so that both have numbers of similar size.
        roots = np.sqrt(values[:rank])
        a = (vh[:rank] * roots[:, None]) @ right.T
        b = (left @ u[:, :rank]) * roots
        smaller[module] = Delta(a.astype(np.float32), b.astype(np.float32), 1.0)
    if total == 0.0:
        raise ModelError("the adapters cancel each other out: their sum is zero")
    return smaller, kept / total
