"""What teachers write: models write Markdown, and what comes from a dataset is no such thing."""

from markdown_it import MarkdownIt
from rich.markdown import Markdown
from rich.text import Text

from kdtui.text import fit_lines

_PARSER = (
    MarkdownIt().enable(["strikethrough", "table"]).disable(["html_block", "html_inline", "link", "image", "autolink"])
)
"""Of what it does not know, every character is shown: nothing can hide in a comment, and no word is a link."""


def render_markdown(text: str, limit: int, style: str = "none") -> Markdown:
    """Emphasis, lists, headings, tables and code as they are meant; no more than so many characters of the text."""
    shown = Markdown("", style=style, hyperlinks=False)
    # Rich has no way to say what it is to understand.
    shown.parsed = _PARSER.parse(_cut(text, limit))
    return shown


def as_it_is(text: str, limit: int, style: str = "none") -> Text:
    """The text, whatever characters are in it; no more than so many of them."""
    return Text(_cut(text, limit), style=style)


def _cut(text: str, limit: int) -> str:
    return fit_lines(text[:limit]) + "…" * (len(text) > limit)
