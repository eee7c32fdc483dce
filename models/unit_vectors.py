"""Vectors of length one."""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


def of_length_one(vectors: Vectors) -> Vectors:
    """Vectors of the same directions, each along the last axis of length one; one of zeros stays."""
    scaled: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return scaled
