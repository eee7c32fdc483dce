"""Session vectors: means of the vectors of the products."""

from collections.abc import Callable, Sequence

import numpy as np

from kdtui.bundling.prompt import TITLE_LENGTH
from kdtui.text import one_line
from models.llama.embedding import Embedder
from models.unit_vectors import Vectors, scaled_to_one
from store.records import Item, Session


def embed_sessions(embedder: Embedder, sessions: Sequence[Session]) -> Vectors:
    """Embed sessions: (sessions, dimensions), each row of length one. Products that sessions share are embedded once.

    Raises:
        ModelError: the embedder fails.
    """
    texts = [[_text(item) for item in session.items] for session in sessions]
    row_of = {text: number for number, text in enumerate(dict.fromkeys(text for each in texts for text in each))}
    vectors = embedder.embed(list(row_of))
    means = np.stack([vectors[[row_of[text] for text in each]].mean(axis=0) for each in texts])
    return scaled_to_one(means)


def mean_text_vectors(text_vectors: Callable[[Sequence[str]], Vectors], sessions: Sequence[Session]) -> Vectors:
    """Return the mean vectors of titles and narrowest category names: (sessions, dimensions), rows of length one.

    Args:
        text_vectors: returns the vectors of texts, (texts, dimensions).
    """
    texts = [[text for item in session.items for text in _texts(item)] for session in sessions]
    vectors = text_vectors([text for each in texts for text in each])
    ends = np.cumsum([len(each) for each in texts])
    return scaled_to_one(np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])]))


def _texts(item: Item) -> tuple[str, ...]:
    return (item.title or "", *(path[-1] for path in item.categories[:1] if path))


def _text(item: Item) -> str:
    """Return the title and the narrowest category of a product; never empty."""
    category = item.categories[0][-1] if item.categories else ""
    title = one_line(item.title or "", TITLE_LENGTH)
    return f"{title} {one_line(category, TITLE_LENGTH)}".strip() or "(no title)"
