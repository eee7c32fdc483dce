"""Tables as text: for a terminal, as CSV and as Markdown."""

import csv
import io
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import zip_longest
from math import isfinite

from kdtui.text import decimals, one_line

LONGEST_CELL = 10_000
"""Characters of a cell; a title can have millions, which nobody reads and which take minutes to measure."""

NARROWEST = 4
"""Width to which a narrow terminal shrinks the text columns before it shrinks columns of numbers, too."""

_FORMULAS = tuple("=+-@＝＋－＠")
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|~&"})


def cell(value: object) -> str:
    """Format a value for people: on one line, without control characters."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return decimals(value)
    if isinstance(value, int):
        return f"{value:,}"
    return one_line(str(value), LONGEST_CELL)


def is_number(value: object) -> bool:
    """Whether a value is right-aligned as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def fit_widths(widths: Sequence[int], shrinking: Container[int], room: int) -> list[int]:
    """Fit columns into a total width: shrink the longest until it is as narrow as the next one, and so on.

    Args:
        widths: natural widths of the columns, in cells.
        shrinking: indexes of the columns to shrink first; the others follow if these cannot shrink further.
    """
    fitted = list(widths)
    for giving in ([index for index in range(len(widths)) if index in shrinking], range(len(widths))):
        while (excess := sum(fitted) - room) > 0:
            longest = max((fitted[index] for index in giving), default=0)
            if longest <= NARROWEST:
                break
            among = [index for index in giving if fitted[index] == longest]
            below = max((fitted[index] for index in giving if fitted[index] < longest), default=NARROWEST)
            taken = min(longest - max(below, NARROWEST), -(-excess // len(among)))
            for index in among:
                fitted[index] -= min(taken, max(0, sum(fitted) - room))
    return fitted


def table_lines(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    room: int,
    *,
    wide: Container[str] = (),
    right: Container[str] = (),
) -> tuple[list[str], list[str]]:
    """Return the lines of a table: those of the head, including the rule, and those of the body.

    Args:
        columns: headings, which can have several lines.
        room: cells in a line.
        wide: columns whose text wraps instead of being cut off.
        right: columns whose texts are numbers with an addition, and are right-aligned.
    """
    values = list(rows)
    cells = [list(map(cell, row)) for row in values]
    numeric = _numeric(columns, values, right)
    headings = [column.split("\n") for column in columns]
    widths = [
        max(_width(text) for text in (*headings[index], *(row[index] for row in cells)))
        for index in range(len(columns))
    ]
    # With many columns in a narrow terminal, columns are one cell apart.
    gap = 3 if room >= 100 else 1
    edges = (len(columns) - 1) * gap + 2
    fitted = fit_widths(widths, [index for index, number in enumerate(numeric) if not number], room - edges)

    folds = [column in wide for column in columns]

    def lines(row: Sequence[Sequence[str]]) -> list[str]:
        """Return the lines of a row; each cell is a list of texts, one below the other."""
        parts = [
            [part for text in texts for part in _fit_text(text, width, folds=fold)]
            for texts, width, fold in zip(row, fitted, folds, strict=True)
        ]
        return [
            " " + (" " * gap).join(map(_align, line, fitted, numeric)).rstrip()
            for line in zip_longest(*parts, fillvalue="")
        ]

    rule = f" {'─' * (sum(fitted) + edges - 2)}"
    return ["", *lines(headings), rule], [*(line for row in cells for line in lines([[text] for text in row])), ""]


def as_csv(records: Iterable[Mapping[str, object]]) -> str:
    """Format records as CSV with a header. A nested object becomes columns named `outer.inner`; a list becomes JSON.

    Text is on one line and without control characters, as in a table. An apostrophe precedes text that a spreadsheet
    would take for a formula. Numbers are exact. Only JSON keeps everything unchanged.
    """
    rows = [_flatten(record) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    # A value can be an object in one record and null in another.
    names = [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
    return csv_lines(names, ([row.get(name) for name in names] for row in rows)) if rows else ""


def csv_lines(columns: Sequence[str] | None, rows: Iterable[Sequence[object]]) -> str:
    """Format rows as CSV; see `as_csv`. `columns` is the header; None for none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if columns is not None:
        writer.writerow(map(_csv_cell, columns))
    writer.writerows(map(_csv_cell, row) for row in rows)
    return text.getvalue()


def markdown_lines(
    columns: Sequence[str] | None, rows: Iterable[Sequence[object]], *, right: Container[str] = ()
) -> str:
    """Format a table in Markdown, with all markup in cells escaped. `columns` is the header; None for none."""
    rows = list(rows)
    lines: list[Iterable[str]] = []
    if columns is not None:
        numeric = _numeric(columns, rows, right)
        lines += [map(markdown_text, columns), ("---:" if number else "---" for number in numeric)]
    lines += [map(markdown_text, row) for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _width(text: str) -> int:
    """Return the width of a text in cells: some characters take two, or none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _fit_text(text: str, width: int, *, folds: bool) -> list[str]:
    """Fit a text into a width: wrapped into several lines, or cut off."""
    if _width(text) <= width:
        return [text]
    from rich.cells import set_cell_size

    if not folds:
        return [set_cell_size(text, max(0, width - 1)) + "…"]
    from rich.console import Console
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(text).wrap(Console(width=width), width, overflow="fold")]


def _align(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _numeric(columns: Sequence[str], rows: Sequence[Sequence[object]], right: Container[str]) -> list[bool]:
    """Return which columns are right-aligned."""
    return [column in right or any(is_number(row[index]) for row in rows) for index, column in enumerate(columns)]


def _flatten(record: Mapping[str, object]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            fields |= {f"{name}.{inner}": each for inner, each in _flatten(value).items()}
        else:
            fields[name] = value
    return fields


def _csv_cell(value: object) -> object:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    return f"'{text}" if text.startswith(_FORMULAS) else text


def markdown_text(value: object) -> str:
    return cell(value).translate(_MARKDOWN)
