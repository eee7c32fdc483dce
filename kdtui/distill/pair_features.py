"""Features of pairs of products: the similarity of their categories and titles, also relative to the rest of the
session.

Nothing is learned here. All features of a session are computed at once, on matrices of its products.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import log
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from models.pairs.clustering import Matrix
from models.unit_vectors import Vectors
from store.full_text import words_in
from store.records import CategoryPath, Item, Session

TextReader: TypeAlias = Callable[[Sequence[str]], Vectors | None]
"""Computes vectors of texts: (texts, dimensions), rows of length one; None if there is no model for that."""

TextVectors: TypeAlias = Mapping[str, Vectors]
"""Vectors of texts by text, (dimensions,) each."""

SessionKind: TypeAlias = Literal["categories and titles", "titles", "categories and words", "words"]
"""What is known of a session's products: whether any has a category, and whether there are vectors of titles."""

PairMeasure: TypeAlias = Literal["depth", "categories", "titles", "words"]
"""Measures of the similarity of two products:

- depth: number of names that their category paths share from the top
- categories: cosine of the vectors of their narrowest categories
- titles: cosine of the vectors of their titles
- words: cosine of their titles as sets of words
"""

PAIR_MEASURES: dict[SessionKind, tuple[PairMeasure, ...]] = {
    "categories and titles": ("depth", "categories", "titles"),
    "titles": ("titles",),
    "categories and words": ("depth", "words"),
    "words": ("words",),
}

_OF_MEASURE = (
    "{}",
    "{}, mean of the two with all others",
    "{}, the better of the best of the two with another",
    "{}, the worse of the best of the two with another",
    "{}, mean of the session",
)
_OF_ITEMS = ("products without a category", "ln(products of the session)")

_Numbers: TypeAlias = npt.NDArray[np.intp]

_WORDS_AT_ONCE = 4096


def feature_names(kind: SessionKind) -> tuple[str, ...]:
    """Return the names of the columns of `features`."""
    return (*(text.format(measure) for measure in PAIR_MEASURES[kind] for text in _OF_MEASURE), *_OF_ITEMS)


def session_kind(session: Session, *, has_vectors: bool) -> SessionKind:
    """Return what is known of the products of a session."""
    if any(item.categories for item in session.items):
        return "categories and titles" if has_vectors else "categories and words"
    return "titles" if has_vectors else "words"


def read_text_vectors(sessions: Iterable[Session], reader: TextReader | None) -> TextVectors | None:
    """Return the vectors of all texts that the features of these sessions need; None without a model."""
    texts = list(dict.fromkeys(text for session in sessions for text in texts_to_read(session)))
    rows = None if reader is None else reader(texts)
    return None if rows is None else dict(zip(texts, rows, strict=True))


def features(session: Session, kind: SessionKind, vectors: TextVectors | None) -> Matrix:
    """Compute the features of a session: (pairs, features), rows in the order of `pairs_of`, columns by feature name.

    A pair is described by itself and in relation to its session: two products that are similar to all others are
    bundled less often than two that are similar only to each other.
    """
    return np.concatenate(stacked_features([session], kind, vectors))


def stacked_features(sessions: Sequence[Session], kind: SessionKind, vectors: TextVectors | None) -> Matrix:
    """Compute the features of sessions with equally many products: (sessions, pairs, features).

    The features of a session do not depend on the other sessions.
    """
    size = len(sessions[0].items)
    if size < 2:
        return np.zeros((len(sessions), 0, len(feature_names(kind))))
    rows, columns = np.triu_indices(size, 1)
    of_measures = [
        column
        for measure in PAIR_MEASURES[kind]
        for column in _among_others(_measured(sessions, measure, vectors), rows, columns)
    ]
    bare = np.array([[not item.categories for item in session.items] for session in sessions], np.float64)
    of_items = [bare[:, rows] + bare[:, columns], np.full((len(sessions), len(rows)), log(size))]
    return np.stack([*of_measures, *of_items], axis=-1)


def pairs_of(session: Session) -> Iterator[tuple[int, int]]:
    """Return the pairs of product numbers of a session, 1-based."""
    return combinations(range(1, len(session.items) + 1), 2)


def texts_to_read(session: Session) -> Iterator[str]:
    """Yield the texts of a session whose vectors its features need; with repetitions."""
    for item in session.items:
        yield from (text for text in (_title(item), _narrowest(item)) if text)


def title_words(item: Item) -> frozenset[str]:
    """Return the distinct words of a title, in lower case."""
    return frozenset(words_in(item.title or ""))


def _title(item: Item) -> str:
    return (item.title or "").strip()


def _narrowest(item: Item) -> str:
    return item.categories[0][-1].strip() if item.categories else ""


def _measured(sessions: Sequence[Session], measure: PairMeasure, vectors: TextVectors | None) -> Matrix:
    """Return (sessions, products, products), symmetric; 0 on the diagonals, as self-similarity says nothing."""
    match measure:
        case "depth":
            matrix = _shared_depth(sessions)
        case "categories":
            matrix = _cosines([[_narrowest(item) for item in each.items] for each in sessions], vectors)
        case "titles":
            matrix = _cosines([[_title(item) for item in each.items] for each in sessions], vectors)
        case "words":
            matrix = np.stack([_shared_words([title_words(item) for item in each.items]) for each in sessions])
    every = np.arange(matrix.shape[1])
    matrix[:, every, every] = 0
    return matrix


def _among_others(matrix: Matrix, rows: _Numbers, columns: _Numbers) -> Iterator[Matrix]:
    """Yield the columns of a measure, one for each of `_OF_MEASURE`, (sessions, pairs) each."""
    sessions, size, _ = matrix.shape
    of_pairs = np.take(matrix.reshape(sessions, -1), rows * size + columns, axis=1)
    sums = matrix.sum(axis=2)
    yield of_pairs
    yield (sums[:, rows] + sums[:, columns]) / (size - 1)
    if size == 2:
        yield of_pairs
        yield of_pairs
    else:
        others = matrix.copy()
        every = np.arange(size)
        others[:, every, every] = -np.inf
        best = others.argmax(axis=2)[:, :, np.newaxis]
        first = np.take_along_axis(others, best, axis=2)[:, :, 0]
        np.put_along_axis(others, best, -np.inf, axis=2)
        second = others.max(axis=2)
        nearest = best[:, :, 0]
        of_row = np.where(nearest[:, rows] == columns, second[:, rows], first[:, rows])
        of_column = np.where(nearest[:, columns] == rows, second[:, columns], first[:, columns])
        yield np.maximum(of_row, of_column)
        yield np.minimum(of_row, of_column)
    yield np.broadcast_to(of_pairs.mean(axis=1, keepdims=True), of_pairs.shape)


def _cosines(texts: Sequence[Sequence[str]], vectors: TextVectors | None) -> Matrix:
    """Return cosines, (sessions, texts, texts); 0 for empty texts."""
    assert vectors is not None
    row_of = {
        text: number for number, text in enumerate(dict.fromkeys(text for each in texts for text in each if text))
    }
    if not row_of:
        return np.zeros((len(texts), len(texts[0]), len(texts[0])))
    known = np.stack([vectors[text] for text in row_of])
    # The last row stands for an empty text.
    rows = np.concatenate([known, np.zeros((1, known.shape[1]), np.float32)])
    chosen = rows[[[row_of.get(text, len(row_of)) for text in each] for each in texts]]
    cosines: Matrix = (chosen @ chosen.swapaxes(1, 2)).astype(np.float64)
    return cosines


def _shared_depth(sessions: Sequence[Session]) -> Matrix:
    """Return the number of names that the best matching category paths share, (sessions, items, items)."""
    size = len(sessions[0].items)
    kinds: dict[tuple[CategoryPath, ...], int] = {}
    kind_of_item = [[kinds.setdefault(item.categories, len(kinds)) for item in each.items] for each in sessions]
    most = max(map(len, kinds))
    deepest = max((len(path) for paths in kinds for path in paths), default=0)
    depth = np.zeros((len(sessions), size, size))
    for level in range(1, deepest + 1):
        prefixes: dict[CategoryPath, int] = {}
        # For each kind and path number, the prefix at this level; -1 for none.
        numbers = np.full((len(kinds), most), -1, np.int32)
        for kind, paths in enumerate(kinds):
            for number, path in enumerate(paths):
                if len(path) >= level:
                    numbers[kind, number] = prefixes.setdefault(path[:level], len(prefixes))
        begins = numbers[kind_of_item]
        shared = np.zeros(depth.shape, np.bool_)
        for number in range(most):
            own = begins[:, :, number, np.newaxis, np.newaxis]
            shared |= ((own == begins[:, np.newaxis]) & (own >= 0)).any(axis=3)
        # Paths that share a prefix share all shorter ones, so the number of levels with a shared prefix is the depth.
        depth += shared
    return depth


def _shared_words(words: Sequence[frozenset[str]]) -> Matrix:
    """Return the shared words of two titles / the geometric mean of their numbers of words, (titles, titles)."""
    size = len(words)
    counts = Counter(word for each in words for word in each)
    shared = {word: number for number, word in enumerate(word for word, count in counts.items() if count > 1)}
    norms = np.sqrt(np.array([max(len(each), 1) for each in words], np.float64))
    dot = np.zeros((size, size))
    # Words in only one title join nothing; the others are processed in blocks, to bound the memory.
    for first in range(0, len(shared), _WORDS_AT_ONCE):
        part = np.zeros((size, min(_WORDS_AT_ONCE, len(shared) - first)))
        for item, each in enumerate(words):
            for word in each:
                number = shared.get(word, -1) - first
                if 0 <= number < part.shape[1]:
                    part[item, number] = 1
        dot += part @ part.T
    cosines: Matrix = dot / np.outer(norms, norms)
    return cosines
