"""Annotators as the teacher: rules and thoughts composed from the bundles that they saw in training sessions.

No model is involved. What the annotators had in mind is derived from the products' categories and the intents.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import minimal_bundles, true_bundles
from kdtui.distill.product_line import product_line
from kdtui.distill.rules import Rule
from kdtui.distill.thoughts import Step, Thought
from kdtui.text import one_line
from store.records import Bundle, CategoryPath, Item, Session

TEACHER = "annotations"
"""Name of this teacher."""

_LEAST_DEPTH = 3
_DEPTH = 4
"""Category names in a rule: shorter paths are departments, deeper ones are products on one shelf."""

_TITLE = 50
"""Characters of a title in a thought."""


def derive_rules(session: Session, answered: Sequence[frozenset[int]] | None = None) -> Iterator[Rule]:
    """Derive rules about categories from the bundles of a session.

    Args:
        answered: a model's bundles; if given, only rules about its errors are derived.
    """
    bundled = pairs(true_bundles(session))
    intents = {
        pair: clean_intent(bundle.intent)
        for bundle in minimal_bundles(session.bundles)
        for pair in pairs([frozenset(bundle.positions)])
    }
    together: dict[tuple[CategoryPath, CategoryPath], tuple[int, int]] = {}
    apart: set[tuple[CategoryPath, CategoryPath]] = set()
    for a, b in combinations(range(1, len(session.items) + 1), 2):
        one, other = _category(session.items[a - 1]), _category(session.items[b - 1])
        if one is None or other is None:
            continue
        categories = (min(one, other), max(one, other))
        if (a, b) in bundled:
            together.setdefault(categories, (a, b))
        else:
            apart.add(categories)
    wrong = None if answered is None else _categories_of(session, bundled ^ pairs(answered))
    for categories, pair in together.items():
        # If a session has both kinds of pairs, it says nothing about these categories.
        if categories not in apart and (wrong is None or categories in wrong):
            yield Rule(
                _rule_sentence(categories, together=True), True, categories, tuple(filter(None, [intents[pair]]))
            )
    for categories in sorted(apart - together.keys() if wrong is None else (apart - together.keys()) & wrong):
        yield Rule(_rule_sentence(categories, together=False), False, categories)


def compose_thought(session: Session, bundles: Sequence[Bundle]) -> Thought:
    """Compose the reasoning that leads from the products of a session to one or more bundles."""
    steps = tuple(
        Step(bundle.positions, clean_intent(bundle.intent) or "them", _explain(session, bundle.positions))
        for bundle in bundles
    )
    inside = {position for bundle in bundles for position in bundle.positions}
    others = [position for position in range(1, len(session.items) + 1) if position not in inside]
    left_out = f"{','.join(map(str, others))} fit no bundle." if others else ""
    return Thought(tuple(product_line(item, _TITLE) for item in session.items), steps, left_out)


def clean_intent(text: str) -> str:
    """Return an annotator's intent without quotes, line ends and the full stop."""
    return one_line(text).strip("\"' .,;")


def _categories_of(session: Session, about: Iterable[tuple[int, int]]) -> set[tuple[CategoryPath, CategoryPath]]:
    """Return the categories of pairs of products; leave out pairs without."""
    categories = set()
    for a, b in about:
        one, other = _category(session.items[a - 1]), _category(session.items[b - 1])
        if one is not None and other is not None:
            categories.add((min(one, other), max(one, other)))
    return categories


def _category(item: Item) -> CategoryPath | None:
    path = item.main_category
    return path[:_DEPTH] if len(path) >= _LEAST_DEPTH else None


def _rule_sentence(categories: Sequence[CategoryPath], *, together: bool) -> str:
    # The first name is the same for the whole shop.
    one, other = (one_line(" > ".join(path[1:] or path)) for path in categories)
    if categories[0] == categories[1]:
        return f"Put several products of {one} together" if together else f"Leave products of {one} apart"
    return f"Put {one} together with {other}" if together else f"Leave {one} apart from {other}"


def _explain(session: Session, positions: Sequence[int]) -> str:
    """Say how the products of a bundle are related, by their categories."""
    names = list(
        dict.fromkeys(
            one_line(session.items[position - 1].categories[0][-1])
            for position in positions
            if session.items[position - 1].categories
        )
    )
    if not names:
        return "people choose them together"
    if len(names) == 1:
        return f"they are alternatives among {names[0]}"
    return f"{', '.join(names[:-1])} and {names[-1]} complement each other"
