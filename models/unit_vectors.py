"""Vectors of length one."""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


def scaled_to_one(vectors: Vectors) -> Vectors:
    """Return vectors of the same directions with length one along the last axis; zero vectors stay zero."""
    scaled: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return scaled
