"""Intents without a language model, from the categories that the products have in common."""

from collections import Counter
from collections.abc import Sequence

from store.records import Item


def category_intent(items: Sequence[Item]) -> str:
    """Return the narrowest category that the products share, or the two most frequent narrowest ones."""
    paths = [item.categories[0] for item in items if item.categories]
    if not paths:
        return "products that go together"
    shared = 0
    while shared < min(map(len, paths)) and len({path[shared] for path in paths}) == 1:
        shared += 1
    if shared > 1 or len(paths) == 1:
        return paths[0][max(shared, 1) - 1]
    kinds = Counter(path[-1] for path in paths).most_common(2)
    return " with ".join(kind for kind, _ in kinds)
