"""The prompt that asks a student for the intents of known bundles.

The instructions are the same for every bundle, so a student reads them once; each bundle adds only its products.
"""

from collections.abc import Sequence

from kdtui.text import one_line
from models.messages import Message
from store.records import CategoryPath, Item

INTENT_MESSAGES = (
    Message("system", "You name what shoppers want the products of a bundle for, in two to five words."),
    Message("user", "Name these bundles."),
)
"""The instructions; the bundles and their intents follow in the answer."""

_TITLE_LENGTH = 42
"""Characters; the beginning of a title names the product, and every token costs time."""

_NAME_LENGTH = 28
"""Characters of one category name."""

_MOST_PRODUCTS = 6
"""Products shown of a bundle; more of a large bundle rarely add information."""


def intent_question(items: Sequence[Item]) -> str:
    """Return a bundle as it precedes its intent: its products, grouped by category."""
    groups: dict[str, list[str]] = {}
    for item in items[:_MOST_PRODUCTS]:
        category = _category(item.categories[0]) if item.categories else "Products"
        groups.setdefault(category, []).append(_cut(item.title or "", _TITLE_LENGTH) or "(no title)")
    return "".join(f"{name}: {'; '.join(titles)}\n" for name, titles in groups.items()) + "Intent:"


def _category(path: CategoryPath) -> str:
    """Return the second and the last name of a path; the first is the same for a whole shop."""
    names = path[1:] or path
    return " > ".join(_cut(name, _NAME_LENGTH) for name in dict.fromkeys((names[0], names[-1])))


def _cut(text: str, length: int) -> str:
    """Return the text on one line, cut after the last word that fits; a single long word is cut anywhere."""
    text = one_line(text, 2 * length)
    if len(text) <= length:
        return text
    return text[: length + 1].rpartition(" ")[0] or text[:length]
