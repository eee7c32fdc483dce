"""Formatting of untrusted text, numbers and times for prompts, tables and the terminal."""

import json
import re
from datetime import UTC, datetime
from math import isfinite
from unicodedata import category

# Control characters (ANSI escapes begin with one), format characters (which can reverse a line), separators.
_UNFIT = ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")
# Zero-width characters that are part of words in some scripts, and of emoji.
_JOINERS = "\u200c\u200d"
_MAYBE_UNFIT = re.compile(r"[^ -~]")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")


def one_line(text: str, limit: int | None = None) -> str:
    """Return the text on one line, without escape sequences and control characters, cut to `limit` characters."""
    # Text far beyond the limit is invisible anyway, and a title can be very long.
    if limit is not None and len(text) > 8 * limit + 100:
        text = text[: 8 * limit + 100]
    if _MAYBE_UNFIT.search(text):
        text = _fit(_ESCAPE.sub(" ", text))
    text = " ".join(text.split())
    return text if limit is None or len(text) <= limit else text[: limit - 1].rstrip() + "…"


def fit_lines(text: str) -> str:
    """Return the text without escape sequences and control characters; keep its lines and their indentation."""
    if _MAYBE_UNFIT.search(text):
        text = "\n".join(_fit(line) for line in _ESCAPE.sub("", text).expandtabs().split("\n"))
    return text


def log_line(line: bytes) -> str:
    """Return a log line as a terminal finally shows it: the last state of a progress bar, without escape sequences."""
    text = line.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]
    if _MAYBE_UNFIT.search(text):
        text = _fit(_ESCAPE.sub("", text).expandtabs())
    return text


def escape_in_json(text: str) -> str:
    """Return JSON whose control and format characters are escapes, so that no terminal obeys them."""

    def escaped(found: re.Match[str]) -> str:
        character = found[0]
        is_unfit = category(character) in _UNFIT and character not in _JOINERS
        return json.dumps(character)[1:-1] if is_unfit else character

    return _MAYBE_UNFIT.sub(escaped, text)


def _fit(text: str) -> str:
    return "".join(
        " " if category(character) in _UNFIT and character not in _JOINERS else character for character in text
    )


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things: "1 piece", "2 pieces". `many` is an irregular plural."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def decimals(value: float) -> str:
    """Format a measure with three decimals, or with as many as distinguish it from zero."""
    if not value:
        return "0"
    return f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.1g}"


def short_number(value: float, places: int = 3, *, signed: bool = False) -> str:
    """Format a measure for a sentence, without the zero before the point: .722, 1.000, -.014; signed: +.021.

    nan and infinity become a dash; a value that rounds to zero has no sign.
    """
    if not isfinite(value):
        return "-"
    written = f"{abs(value):.{places}f}".removeprefix("0" if places else "")
    if not float(written):
        return written
    return f"{'-' if value < 0 else '+' if signed else ''}{written}"


def p_value(value: float) -> str:
    """Format a p value as in a paper: 1, .31, .04, .003, <.001."""
    if value < 0.001:
        return "<.001"
    if value < 0.1:
        return short_number(value).rstrip("0")
    return "1" if value > 0.995 else short_number(value, 2)


def letter(number: int, *, lower: bool = False) -> str:
    """Return A, B, …, Z, A1, B1, …; lower case marks a student's bundles, upper case the true ones."""
    name = chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")
    return name.lower() if lower else name


def duration(seconds: float | None) -> str | None:
    """Format seconds as hours, minutes and seconds."""
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def ago(moment: str | None) -> str | None:
    """Format how long ago a moment was, in one unit."""
    if moment is None:
        return None
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name} ago"
    return "now"
