"""Themes beyond those of Textual."""

from textual.theme import BUILTIN_THEMES, Theme

HIGH_CONTRAST = Theme(
    name="high-contrast",
    primary="#ffff00",
    secondary="#00ffff",
    accent="#00ffff",
    warning="#ffb000",
    error="#ff6060",
    success="#60ff60",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#303030",
    dark=True,
    text_alpha=1.0,
    variables={"text-muted": "#ffffff", "block-cursor-foreground": "#000000", "footer-key-foreground": "#ffff00"},
)
"""White and yellow on black."""

THEME_NAMES = frozenset({*BUILTIN_THEMES, HIGH_CONTRAST.name})
"""The names of all built-in themes."""
