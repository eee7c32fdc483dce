"""An intent without a language model: that of the training bundle whose products are most alike."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from kdtui.bundling.truth import minimal_bundles
from store.records import Item, Session

Vectors = npt.NDArray[np.float32]

Embed = Callable[[Sequence[str]], Vectors]
"""The vectors of texts, (texts, width)."""


class NearestIntents:
    """Finds the intent of the training bundle that is nearest to a bundle, by the cosine of mean vectors.

    A product's text is its title and the names of its main category.

    Args:
        train: sessions whose minimal bundles with an intent are looked at.

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
        """The intent for each of these bundles."""
        if not bundles:
            return []
        nearest = (self._means(bundles) @ self._vectors.T).argmax(axis=1)
        return [self._intents[index] for index in nearest.tolist()]

    def _means(self, bundles: Sequence[Sequence[Item]]) -> Vectors:
        """(bundles, width): the mean vector of the products of each, of length 1."""
        places = {text: place for place, text in enumerate(dict.fromkeys(_text(item) for b in bundles for item in b))}
        vectors = self._embed(list(places))
        means = np.stack([vectors[[places[_text(item)] for item in bundle]].mean(axis=0) for bundle in bundles])
        found: Vectors = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        return found


def _text(item: Item) -> str:
    return " ".join([item.title or "", *(item.categories[0] if item.categories else ())])
