"""How text from outside, numbers and times are written: in a prompt, a table or a terminal."""

import re
from datetime import UTC, datetime
from math import isfinite
from unicodedata import category

# Control characters (ANSI escapes begin with one), format characters (which can turn a line around), separators.
_UNFIT = ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")
# What takes no room of its own but does belong to words of some scripts and to emoji.
_JOINERS = "\u200c\u200d"
_MAYBE_UNFIT = re.compile(r"[^ -~]")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")


def one_line(text: str, limit: int | None = None) -> str:
    """The text on one line, without escape sequences and control characters, cut to `limit` characters."""
    # What lies far behind the limit cannot be seen, and a title may be very long.
    if limit is not None and len(text) > 8 * limit + 100:
        text = text[: 8 * limit + 100]
    if _MAYBE_UNFIT.search(text):
        text = _fit(_ESCAPE.sub(" ", text))
    text = " ".join(text.split())
    return text if limit is None or len(text) <= limit else text[: limit - 1].rstrip() + "…"


def fit_lines(text: str) -> str:
    """The text with its lines and their indentation, without escape sequences and control characters."""
    if _MAYBE_UNFIT.search(text):
        text = "\n".join(_fit(line) for line in _ESCAPE.sub("", text).expandtabs().split("\n"))
    return text


def log_line(line: bytes) -> str:
    """A line of a log as a terminal shows it in the end: a progress bar as it was last, and no escape sequences."""
    text = line.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]
    if _MAYBE_UNFIT.search(text):
        text = _fit(_ESCAPE.sub("", text).expandtabs())
    return text


def _fit(text: str) -> str:
    return "".join(
        " " if category(character) in _UNFIT and character not in _JOINERS else character for character in text
    )


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things: 1 piece, 2 pieces. `many` is for what is not `one` with an s behind it."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def decimals(value: float) -> str:
    """A measure to three places, or to as many as tell it from zero."""
    if not value:
        return "0"
    return f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.1g}"


def short_number(value: float, places: int = 3, *, signed: bool = False) -> str:
    """A measure as it stands in a sentence, without the zero before its point: .722, 1.000, -.014, signed +.021.

    A value that is none is a dash, and what rounds to zero has no sign.
    """
    if not isfinite(value):
        return "-"
    written = f"{abs(value):.{places}f}".removeprefix("0" if places else "")
    if not float(written):
        return written
    return f"{'-' if value < 0 else '+' if signed else ''}{written}"


def p_value(value: float) -> str:
    """A p value as people write it: 1, .31, .04, .003, <.001."""
    if value < 0.001:
        return "<.001"
    if value < 0.1:
        return short_number(value).rstrip("0")
    return "1" if value > 0.995 else short_number(value, 2)


def letter(number: int, *, lower: bool = False) -> str:
    """A, B, …, Z, then A1, B1, …; small letters tell a student's bundles from the true ones."""
    found = chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")
    return found.lower() if lower else found


def duration(seconds: float | None) -> str | None:
    """Hours, minutes and seconds."""
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def ago(moment: str | None) -> str | None:
    """How long ago that was, in one unit."""
    if moment is None:
        return None
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name} ago"
    return "now"
