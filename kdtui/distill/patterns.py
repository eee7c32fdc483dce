"""Frequent patterns, the first format of knowledge: product categories that annotators often bundle.

A transaction is a true bundle of a training session; its items are the categories of the products (the first `level`
names of the main path). Two products of one category count as that category twice, so that bundles of alternatives
("two cases") have patterns, too. Itemsets are found by Eclat (Zaki, 2000): the bundles with a category are the bits of
an integer, and the bundles with a set of categories are the `&` of these integers.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from msgspec import Struct
from msgspec.structs import replace

from kdtui.bundling.truth import true_bundles
from store.records import CategoryPath, Item, Session

DEFAULT_LEVELS = (2, 3, 4)
DEFAULT_SUPPORT = 0.005
DEFAULT_SIZE = 3

_MOST_ALIKE = 2
"""Maximum occurrences of a category in a pattern: two mean "several of these", and more add nothing."""


class Pattern(Struct, frozen=True):
    """Categories that are bundled together, with the statistics.

    Attributes:
        categories: at least two paths, all of the same level; a repeated one means two products of it. The last is the
            one that the others make most likely: the consequent of `confidence` and `lift`.
        bundles: number of training bundles that contain all of them.
        support: that number as a share of all training bundles.
        confidence: share of the bundles with the other categories that contain the last one, too.
        lift: confidence / share of all bundles that contain the last category.
        precision: share of the training sessions with products of all these categories in which such products are
            bundled together.
    """

    categories: tuple[CategoryPath, ...]
    bundles: int
    support: float
    confidence: float
    lift: float
    precision: float

    @property
    def statement(self) -> str:
        """The pattern as text."""
        return " + ".join(" > ".join(path) for path in self.categories)


_Element = tuple[CategoryPath, int]
"""A category and an ordinal: (path, 1) is in every bundle with the category, (path, 2) if it has two such products."""


def mine(
    sessions: Sequence[Session],
    *,
    levels: Iterable[int] = DEFAULT_LEVELS,
    min_support: float = DEFAULT_SUPPORT,
    max_size: int = DEFAULT_SIZE,
) -> list[Pattern]:
    """Find the frequent category patterns in the true bundles of training sessions, most frequent first.

    Args:
        levels: category depths; each is mined separately, over the products with a path of that depth.
        min_support: minimum share of bundles that contain a pattern, 0..1; a pattern must occur at least twice.
        max_size: maximum number of categories in a pattern.
    """
    patterns = [
        pattern for level in sorted(set(levels)) for pattern in _mine_level(sessions, level, min_support, max_size)
    ]
    return sorted(patterns, key=lambda pattern: (-pattern.bundles, pattern.categories))


def _mine_level(sessions: Sequence[Session], level: int, min_support: float, max_size: int) -> Iterator[Pattern]:
    bundles_with: defaultdict[_Element, list[int]] = defaultdict(list)
    sessions_with: defaultdict[_Element, list[int]] = defaultdict(list)
    origin: list[int] = []
    for number, session in enumerate(sessions):
        paths = [category_at(item, level) for item in session.items]
        for element in _elements(paths):
            sessions_with[element].append(number)
        for bundle in true_bundles(session):
            for element in _elements([paths[position - 1] for position in bundle]):
                bundles_with[element].append(len(origin))
            origin.append(number)
    total = len(origin)
    in_bundles = {element: _bits(numbers, total) for element, numbers in bundles_with.items()}
    in_sessions = {element: _bits(numbers, len(sessions)) for element, numbers in sessions_with.items()}
    least = max(2, ceil(min_support * total))
    frequent = sorted(
        ((element, bits) for element, bits in in_bundles.items() if bits.bit_count() >= least),
        key=lambda each: (each[1].bit_count(), each[0]),
    )
    for itemset, bits in _eclat(frequent, least, max_size):
        if len(itemset) > 1 and _is_closed_downwards(itemset):
            yield _pattern(itemset, bits, in_bundles, in_sessions, origin)


def _eclat(
    candidates: Sequence[tuple[_Element, int]], least: int, max_size: int, prefix: tuple[_Element, ...] = ()
) -> Iterator[tuple[tuple[_Element, ...], int]]:
    """Search depth first for itemsets in at least `least` bundles; yield each with the bits of its bundles."""
    for index, (element, bits) in enumerate(candidates):
        itemset = (*prefix, element)
        yield itemset, bits
        if len(itemset) < max_size:
            longer = [
                (other, both)
                for other, other_bits in candidates[index + 1 :]
                if (both := bits & other_bits).bit_count() >= least
            ]
            yield from _eclat(longer, least, max_size, itemset)


def _is_closed_downwards(itemset: tuple[_Element, ...]) -> bool:
    """Whether each second product of a category comes with the first; other itemsets are redundant."""
    return all(nth == 1 or (path, nth - 1) in itemset for path, nth in itemset)


def _pattern(
    itemset: tuple[_Element, ...],
    bits: int,
    in_bundles: dict[_Element, int],
    in_sessions: dict[_Element, int],
    session_of: Sequence[int],
) -> Pattern:
    count = bits.bit_count()
    total = len(session_of)

    def confidence(consequent: _Element) -> float:
        return count / _intersection(in_bundles, (other for other in itemset if other != consequent)).bit_count()

    # Without the first of two products, the second would imply it again: only the last of each category can go.
    last = [element for element in itemset if (element[0], element[1] + 1) not in itemset]
    consequent = max(last, key=lambda element: (confidence(element), element))
    others = sorted(element for element in itemset if element != consequent)
    share = in_bundles[(consequent[0], 1)].bit_count() / total
    bundled_in = {session_of[bundle] for bundle in _numbers(bits)}
    return Pattern(
        categories=(*(path for path, _ in others), consequent[0]),
        bundles=count,
        support=count / total,
        confidence=confidence(consequent),
        lift=confidence(consequent) / share,
        precision=len(bundled_in) / _intersection(in_sessions, itemset).bit_count(),
    )


def _elements(paths: Iterable[CategoryPath | None]) -> set[_Element]:
    elements: set[_Element] = set()
    for path in paths:
        if path is not None:
            nth = 1
            while (path, nth) in elements and nth < _MOST_ALIKE:
                nth += 1
            elements.add((path, nth))
    return elements


def category_at(item: Item, level: int) -> CategoryPath | None:
    """Return the first `level` names of the item's main category path; None if the path is shorter."""
    path = item.main_category
    return path[:level] if len(path) >= level else None


def _intersection(bits: dict[_Element, int], elements: Iterable[_Element]) -> int:
    result = -1
    for element in elements:
        result &= bits[element]
    return result


def _bits(numbers: Sequence[int], total: int) -> int:
    """Return an integer with these bits set. Setting them one by one would copy it each time."""
    # Imported here, as the app works without it.
    import numpy as np

    flags = np.zeros(total, np.bool_)
    flags[numbers] = True
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def _numbers(bits: int) -> list[int]:
    """Return the numbers of the set bits, ascending."""
    import numpy as np

    octets = np.frombuffer(bits.to_bytes((bits.bit_length() + 7) // 8, "little"), np.uint8)
    numbers: list[int] = np.flatnonzero(np.unpackbits(octets, bitorder="little")).tolist()
    return numbers


@dataclass(frozen=True, slots=True)
class PatternMatch:
    """A pattern that applies to a session, and the positions of the products that it joins (1-based, ascending)."""

    pattern: Pattern
    positions: tuple[int, ...]


def patterns_for(session: Session, patterns: Iterable[Pattern], limit: int) -> list[PatternMatch]:
    """Return the patterns that apply to a session, most precise first; only one for the same products."""
    by_category: defaultdict[CategoryPath, list[int]] = defaultdict(list)
    for position, item in enumerate(session.items, start=1):
        path = item.main_category
        for level in range(1, len(path) + 1):
            by_category[path[:level]].append(position)
    best: dict[tuple[int, ...], Pattern] = {}
    for pattern in patterns:
        needed = Counter(pattern.categories)
        if all(len(by_category.get(path, ())) >= count for path, count in needed.items()):
            positions = tuple(sorted(position for path in needed for position in by_category[path]))
            if positions not in best or _strength(pattern) > _strength(best[positions]):
                best[positions] = pattern
    matches = [PatternMatch(pattern, positions) for positions, pattern in best.items()]
    return sorted(matches, key=lambda match: (_strength(match.pattern), match.positions), reverse=True)[:limit]


def unseen_patterns(session: Session, patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
    """Return the patterns that apply to a training session, as if it had not been mined.

    A pattern that is only frequent because of the session's own bundles is left out. Precision is corrected
    approximately, as the number of sessions is estimated from the bundles. Support, confidence and lift are unchanged.
    """
    least = min((pattern.bundles for pattern in patterns), default=0)
    here = count_categories(session.items)
    own = [count_categories([session.items[position - 1] for position in bundle]) for bundle in true_bundles(session)]
    unseen = []
    for pattern in patterns:
        needed = Counter(pattern.categories)
        if needed <= here:
            left = pattern.bundles - sum(needed <= bundle for bundle in own)
            if left >= least:
                others = max(1.0, pattern.bundles / pattern.precision - 1)
                unseen.append(replace(pattern, bundles=left, precision=min(1.0, left / others)))
    return tuple(unseen)


def count_categories(items: Iterable[Item]) -> Counter[CategoryPath]:
    """Count the products in each category, at every level."""
    main = [item.categories[0] for item in items if item.categories]
    return Counter(path[:level] for path in main for level in range(1, len(path) + 1))


def _strength(pattern: Pattern) -> tuple[float, int]:
    return pattern.precision, pattern.bundles
