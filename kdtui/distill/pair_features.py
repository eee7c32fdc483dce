"""What is seen of two products of a session: how alike their categories and titles are, also beside the others there.

Nothing here is learned from sessions. All features of a session are computed at once, on matrices of its products.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import log
from re import compile as compile_pattern
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from models.clustering import Matrix
from models.unit_vectors import Vectors
from store.records import CategoryPath, Item, Session

ReadTexts: TypeAlias = Callable[[Sequence[str]], Vectors | None]
"""Makes vectors of texts: (texts, dimensions), each row of length one; None where there is no model to read them."""

TextVectors: TypeAlias = Mapping[str, Vectors]
"""The vectors of texts that have been read, (dimensions,) each."""

Kind: TypeAlias = Literal["categories and titles", "titles", "categories and words", "words"]
"""What is known of the products of a session: whether one has a category, and whether a model reads their titles."""

Measure: TypeAlias = Literal["depth", "categories", "titles", "words"]
"""How alike two products are:

- depth: names that their category paths share from the top
- categories: cosine of the vectors of their narrowest categories
- titles: cosine of the vectors of their titles
- words: cosine of their titles as sets of words
"""

MEASURES: dict[Kind, tuple[Measure, ...]] = {
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
_WORD = compile_pattern(r"[^\W_]+")


def feature_names(kind: Kind) -> tuple[str, ...]:
    """What the columns of `features` are."""
    return (*(text.format(measure) for measure in MEASURES[kind] for text in _OF_MEASURE), *_OF_ITEMS)


def kind_of(session: Session, *, has_vectors: bool) -> Kind:
    """What is known of the products of a session."""
    if any(item.categories for item in session.items):
        return "categories and titles" if has_vectors else "categories and words"
    return "titles" if has_vectors else "words"


def read(sessions: Iterable[Session], reader: ReadTexts | None) -> TextVectors | None:
    """The vectors of all texts that the features of these sessions need; None where there is no model to read them."""
    texts = list(dict.fromkeys(text for session in sessions for text in texts_of(session)))
    rows = None if reader is None else reader(texts)
    return None if rows is None else dict(zip(texts, rows, strict=True))


def features(session: Session, kind: Kind, vectors: TextVectors | None) -> Matrix:
    """(pairs, features): a row for each pair of products, in the order of `pairs_of`, a column for each name.

    A pair is described by itself and by the rest of its session: two products that are like all others are bundled
    less often than two that are like each other alone.

    Raises:
        ModelError: there are no vectors.
    """
    size = len(session.items)
    if size < 2:
        return np.zeros((0, len(feature_names(kind))))
    rows, columns = np.triu_indices(size, 1)
    found = [
        column
        for measure in MEASURES[kind]
        for column in _among_others(_measured(session, measure, vectors), rows, columns)
    ]
    bare = np.array([not item.categories for item in session.items], np.float64)
    return np.column_stack([*found, bare[rows] + bare[columns], np.full(len(rows), log(size))])


def pairs_of(session: Session) -> Iterator[tuple[int, int]]:
    """The pairs of product numbers of a session, 1-based."""
    return combinations(range(1, len(session.items) + 1), 2)


def texts_of(session: Session) -> Iterator[str]:
    """The texts of a session whose vectors its features need; some may come twice."""
    for item in session.items:
        yield from (text for text in (_title(item), _narrowest(item)) if text)


def words_of(item: Item) -> frozenset[str]:
    """The different words of a title, in lower case."""
    return frozenset(_WORD.findall((item.title or "").lower()))


def _title(item: Item) -> str:
    return (item.title or "").strip()


def _narrowest(item: Item) -> str:
    return item.categories[0][-1].strip() if item.categories else ""


def _measured(session: Session, measure: Measure, vectors: TextVectors | None) -> Matrix:
    """(products, products), symmetric, 0 on the diagonal: what a product has in common with itself says nothing."""
    match measure:
        case "depth":
            matrix = _shared_depth(session.items)
        case "categories":
            matrix = _cosines([_narrowest(item) for item in session.items], cast("TextVectors", vectors))
        case "titles":
            matrix = _cosines([_title(item) for item in session.items], cast("TextVectors", vectors))
        case "words":
            matrix = _shared_words([words_of(item) for item in session.items])
    np.fill_diagonal(matrix, 0)
    return matrix


def _among_others(matrix: Matrix, rows: _Numbers, columns: _Numbers) -> Iterator[Matrix]:
    """The columns of a measure, one for each of `_OF_MEASURE`."""
    size = len(matrix)
    of_pairs = matrix[rows, columns]
    sums = matrix.sum(axis=1)
    yield of_pairs
    yield (sums[rows] + sums[columns]) / (size - 1)
    if size == 2:
        yield of_pairs
        yield of_pairs
    else:
        others = matrix.copy()
        np.fill_diagonal(others, -np.inf)
        best = others.argmax(axis=1)
        every = np.arange(size)
        first = others[every, best]
        others[every, best] = -np.inf
        second = others.max(axis=1)
        of_row = np.where(best[rows] == columns, second[rows], first[rows])
        of_column = np.where(best[columns] == rows, second[columns], first[columns])
        yield np.maximum(of_row, of_column)
        yield np.minimum(of_row, of_column)
    yield np.full(len(rows), of_pairs.mean())


def _cosines(texts: Sequence[str], vectors: TextVectors) -> Matrix:
    """(texts, texts): 0 where one is empty."""
    distinct = list(dict.fromkeys(text for text in texts if text))
    if not distinct:
        return np.zeros((len(texts), len(texts)))
    place = {text: number for number, text in enumerate(distinct)}
    known = np.stack([vectors[text] for text in distinct])
    # The last row stands for a text that is empty.
    rows = np.concatenate([known, np.zeros((1, known.shape[1]), np.float32)])
    chosen = rows[[place.get(text, len(distinct)) for text in texts]]
    cosines: Matrix = (chosen @ chosen.T).astype(np.float64)
    return cosines


def _shared_depth(items: Sequence[Item]) -> Matrix:
    """(items, items): names that two category paths share from the top, for the two paths that share most."""
    size = len(items)
    deepest = max((len(path) for item in items for path in item.categories), default=0)
    depth = np.zeros((size, size))
    for level in range(1, deepest + 1):
        prefixes: dict[CategoryPath, int] = {}
        places = [
            (number, prefixes.setdefault(path[:level], len(prefixes)))
            for number, item in enumerate(items)
            for path in item.categories
            if len(path) >= level
        ]
        has = np.zeros((size, len(prefixes)), np.float32)
        has[tuple(np.array(places).T)] = 1
        # Who shares a prefix shares all shorter ones, so the levels at which two share one are counted.
        depth += (has @ has.T) > 0
    return depth


def _shared_words(words: Sequence[frozenset[str]]) -> Matrix:
    """(titles, titles): words that two titles share / the geometric mean of how many each has."""
    size = len(words)
    counts = Counter(word for each in words for word in each)
    shared = {word: number for number, word in enumerate(word for word, count in counts.items() if count > 1)}
    norms = np.sqrt(np.array([max(len(each), 1) for each in words], np.float64))
    dot = np.zeros((size, size))
    # Words of one title alone join nothing; of the others some are taken at a time, to bound the memory.
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
