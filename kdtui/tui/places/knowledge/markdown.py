"""Render the texts of teachers: models write Markdown, texts from a dataset are plain."""

from markdown_it import MarkdownIt
from rich.markdown import Markdown
from rich.text import Text

from kdtui.text import fit_lines

_PARSER = (
    MarkdownIt().enable(["strikethrough", "table"]).disable(["html_block", "html_inline", "link", "image", "autolink"])
)
"""Unknown markup is shown character by character: nothing can hide in a comment, and no word is a link."""


def render_markdown(text: str, limit: int, style: str = "none") -> Markdown:
    """Render emphasis, lists, headings, tables and code.

    Args:
        limit: the maximum number of characters.
    """
    shown = Markdown("", style=style, hyperlinks=False)
    # Rich has no option for the parser.
    shown.parsed = _PARSER.parse(_cut(text, limit))
    return shown


def plain_text(text: str, limit: int, style: str = "none") -> Text:
    """Return the text without any markup, at most `limit` characters of it."""
    return Text(_cut(text, limit), style=style)


def _cut(text: str, limit: int) -> str:
    return fit_lines(text[:limit]) + "…" * (len(text) > limit)
