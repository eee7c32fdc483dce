"""What a student is asked about bundles that are known already: what shoppers want their products for.

The instructions are the same for every bundle, so that a student reads them once; a bundle is only its own products.
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
"""Characters of one name of a category."""

_MOST_PRODUCTS = 6
"""Products that are shown; more of a large bundle seldom say anything new."""


def intent_question(items: Sequence[Item]) -> str:
    """A bundle as it stands before its intent: its products, those of one category behind the name of it."""
    groups: dict[str, list[str]] = {}
    for item in items[:_MOST_PRODUCTS]:
        category = _category(item.categories[0]) if item.categories else "Products"
        groups.setdefault(category, []).append(_cut(item.title or "", _TITLE_LENGTH) or "(no title)")
    return "".join(f"{name}: {'; '.join(titles)}\n" for name, titles in groups.items()) + "Intent:"


def _category(path: CategoryPath) -> str:
    """The second and the last name of a path: the first is the same for a whole shop."""
    names = path[1:] or path
    return " > ".join(_cut(name, _NAME_LENGTH) for name in dict.fromkeys((names[0], names[-1])))


def _cut(text: str, length: int) -> str:
    """The text on one line, cut behind the last word that fits; a word that is too long is cut anywhere."""
    text = one_line(text, 2 * length)
    if len(text) <= length:
        return text
    return text[: length + 1].rpartition(" ")[0] or text[:length]
