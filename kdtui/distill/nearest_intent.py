"""Intents without a language model: that of the training bundle with the most similar products."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from kdtui.bundling.truth import minimal_bundles
from store.records import Item, Session

Vectors = npt.NDArray[np.float32]

Embed = Callable[[Sequence[str]], Vectors]
"""Returns the vectors of texts, (texts, dimensions)."""


class NearestIntents:
    """Finds the intent of the nearest training bundle, by the cosine of mean vectors.

    A product counts with two vectors: one of its title, one of the names in its main category.

    Args:
        train: sessions whose minimal bundles with an intent are searched.

    Raises:
        ValueError: there is no such bundle.
    """

    def __init__(self, train: Iterable[Session], embed: Embed) -> None:
        self._embed = embed
        known = [
            ([session.items[position - 1] for position in bundle.positions], bundle.intent)
            for session in train
            for bundle in minimal_bundles(session.bundles)
            if bundle.intent.strip()
        ]
        if not known:
            raise ValueError("no training bundle has an intent")
        self._intents = [intent for _, intent in known]
        self._vectors = self._means([items for items, _ in known])

    def of(self, bundles: Sequence[Sequence[Item]]) -> list[str]:
        """Return an intent for each of these bundles."""
        if not bundles:
            return []
        nearest = (self._means(bundles) @ self._vectors.T).argmax(axis=1)
        return [self._intents[index] for index in nearest.tolist()]

    def _means(self, bundles: Sequence[Sequence[Item]]) -> Vectors:
        """Return the mean vector of the texts of each bundle, of length one: (bundles, dimensions)."""
        texts = [[text for item in bundle for text in _texts(item)] for bundle in bundles]
        rows = {text: row for row, text in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
        vectors = self._embed(list(rows))
        means = np.stack([vectors[[rows[text] for text in each]].mean(axis=0) for each in texts])
        unit_means: Vectors = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        return unit_means


def _texts(item: Item) -> list[str]:
    return [item.title or "", *(" > ".join(path) for path in item.categories[:1])]
