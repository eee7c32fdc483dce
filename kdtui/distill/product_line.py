"""A product as a line of text, for teachers and in thoughts."""

from kdtui.text import one_line
from store.records import Item

_LONGEST_TITLE = 120
"""Characters of a title that a teacher is shown."""


def product_line(item: Item, longest_title: int = _LONGEST_TITLE) -> str:
    """Return the title and the narrowest category of a product, on one line."""
    title = one_line(item.title or "", longest_title) or "(no title)"
    return f"{title} [{one_line(item.categories[0][-1])}]" if item.categories else title
