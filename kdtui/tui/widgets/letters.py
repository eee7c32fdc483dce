"""Letters and colours for bundles, and colours for right and wrong."""

from typing import Literal

from rich.style import Style
from rich.text import Text
from textual.color import Color, ColorParseError
from textual.widget import Widget

from kdtui.text import letter

_COLOURS = ("#7fb2e5", "#f0a35e", "#8fca7f", "#e58ab6", "#d9c55a", "#a99be8", "#6fcbc4", "#e88a7d")
"""Light colours, so that black letters are readable on them in dark and light themes."""


def badge(number: int, *, lower: bool = False) -> Text:
    """Return the letter of a bundle on its colour."""
    style = Style(color="#101010", bgcolor=_COLOURS[number % len(_COLOURS)], bold=True)
    return Text(letter(number, lower=lower), style=style)


def badges(numbers: list[int], *, lower: bool = False) -> Text:
    """Return the letters of bundles, with spaces between."""
    return Text(" ").join(badge(number, lower=lower) for number in numbers)


def tone(widget: Widget, name: Literal["success", "warning", "error"]) -> Style:
    """Return the theme's colour for right, nearly right or wrong. Something else always shows the same."""
    try:
        return Style(color=Color.parse(widget.app.theme_variables[f"text-{name}"]).rich_color, bold=True)
    except (KeyError, ColorParseError):
        return Style(bold=True)
