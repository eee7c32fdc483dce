"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from kdtui.cli.tables import as_csv, cell, csv_lines, fit, is_number, markdown_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

Branch: TypeAlias = tuple[str, Sequence["Branch"]]
"""A text in a tree, and what is below it."""

Output: TypeAlias = Literal["table", "json", "csv", "markdown"]
"""The formats that a table can be printed in."""
OUTPUTS: tuple[Output, ...] = get_args(Output)

_WIDTH_OF_FILES = 1_000_000
"""Cells of a line that does not go to a terminal: nothing is shortened."""


def say(message: str) -> None:
    """A message for the user, on stderr."""
    from kdtui.bundling.text import one_line

    print(one_line(message), file=sys.stderr, flush=True)


def print_text(text: str) -> None:
    """Text of several lines on stdout, each of them fit for a terminal."""
    from kdtui.bundling.text import one_line

    print("\n".join(one_line(line) for line in text.split("\n")), flush=True)


def print_json(value: object) -> None:
    """One object on a line of its own, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    wide: Container[str] = (),
    output: Output = "table",
    records: Iterable[Mapping[str, object]] | None = None,
    empty: str | None = None,
) -> None:
    """A table on stdout, or the same rows in another format.

    In a terminal a table is as wide as that, and the longest columns give way; elsewhere nothing is shortened.

    Args:
        columns: their headings; a line feed in one is where it may be divided.
        rows: values, which are formatted here: numbers stand on the right, text from outside is shown as it is.
        wide: the columns whose text goes on in the next line, instead of being cut off.
        records: the same with all fields, for JSON and CSV; by default they have the values of the rows.
        empty: the message where there is no row, instead of a table without any.
    """
    rows = list(rows)
    if not rows and empty is not None:
        # A program that reads objects sees that there are none.
        if output != "json":
            say(empty)
        return
    if output == "table":
        _print_rich_table(columns, rows, wide)
        return
    headings = [" ".join(column.split()) for column in columns]
    if output == "markdown":
        sys.stdout.write(markdown_lines(headings, rows))
    elif output == "csv":
        sys.stdout.write(csv_lines(headings, rows) if records is None else as_csv(records))
    else:
        for record in records if records is not None else (dict(zip(headings, row, strict=True)) for row in rows):
            print_json(record)
    sys.stdout.flush()


def print_lines(columns: Sequence[str] | None, rows: Iterable[Sequence[object]], output: Output) -> None:
    """Rows of CSV or Markdown, at once; the columns are the header, where it has not been printed before."""
    sys.stdout.write(csv_lines(columns, rows) if output == "csv" else markdown_lines(columns, rows))
    sys.stdout.flush()


def print_gap(output: Output) -> None:
    """What parts two tables of a command; in a terminal each ends with an empty line by itself."""
    if output in ("csv", "markdown"):
        print(flush=True)


@contextmanager
def live_table(
    columns: Sequence[str], *, wide: Container[str] = ()
) -> Iterator[Callable[[Iterable[Sequence[object]]], None]]:
    """A table on stdout that is there at once, and changes until the end; where stdout is no terminal, only the last.

    Yields:
        what takes the rows as they are now.
    """
    from rich.live import Live

    if not sys.stdout.isatty():
        latest: list[Sequence[object]] = []
        yield lambda rows: latest.__setitem__(slice(None), list(rows))
        _print_rich_table(columns, latest, wide)
        return
    console = _console()
    with Live(console=console, auto_refresh=False) as live:
        yield lambda rows: live.update(_table(console, columns, rows, wide), refresh=True)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES, highlight=False)


def _print_rich_table(columns: Sequence[str], rows: Iterable[Sequence[object]], wide: Container[str]) -> None:
    console = _console()
    if sys.stdout.isatty():
        console.print(_table(console, columns, rows, wide))
        return
    with console.capture() as captured:
        console.print(_table(console, columns, rows, wide))
    # What is only there to fill the last column has no place in a file.
    print("\n".join(line.rstrip() for line in captured.get().split("\n")), end="", flush=True)


def _table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], wide: Container[str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    values = list(rows)
    cells = [list(map(cell, row)) for row in values]
    numeric = [any(is_number(row[index]) for row in values) for index in range(len(columns))]
    # With many columns a narrow terminal has no room between them but the one cell of the box.
    padding = 1 if console.width >= 100 else 0
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, padding))
    widths = [
        max(cell_len(text) for text in (*column.split("\n"), *(row[index] for row in cells)))
        for index, column in enumerate(columns)
    ]
    between = (len(columns) - 1) * (1 + 2 * padding) + 2
    fitted = fit(widths, [index for index, is_one in enumerate(numeric) if not is_one], console.width - between)
    for column, width, is_one in zip(columns, fitted, numeric, strict=True):
        table.add_column(
            column,
            justify="right" if is_one else "left",
            width=width,
            no_wrap=column not in wide,
            overflow="fold" if column in wide else "ellipsis",
        )
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def print_tree(title: str, branches: Sequence[Branch]) -> None:
    """A tree on stdout, each text on one line."""
    from rich.text import Text
    from rich.tree import Tree

    from kdtui.bundling.text import one_line

    def grow(tree: Tree, parts: Sequence[Branch]) -> Tree:
        for text, below in parts:
            grow(tree.add(Text(one_line(text))), below)
        return tree

    _console().print(grow(Tree(Text(title)), branches))


def progress_bar() -> Progress:
    """A progress bar on stderr that is gone when it is done; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
