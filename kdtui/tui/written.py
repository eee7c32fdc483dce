"""What teachers write, who write Markdown."""

from markdown_it import MarkdownIt
from rich.markdown import Markdown

from kdtui.bundling.text import fit_lines

_PARSER = (
    MarkdownIt().enable(["strikethrough", "table"]).disable(["html_block", "html_inline", "link", "image", "autolink"])
)
"""Of what it does not know, every character is shown: nothing can hide in a comment, and no word is a link."""


def written(text: str, limit: int, style: str = "none") -> Markdown:
    """Emphasis, lists, headings, tables and code as they are meant; no more than so many characters of the text."""
    shown = Markdown("", style=style, hyperlinks=False)
    # Rich has no way to say what it is to understand.
    shown.parsed = _PARSER.parse(fit_lines(text[:limit]) + "…" * (len(text) > limit))
    return shown
