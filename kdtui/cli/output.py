"""Output of commands: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from kdtui.bundling.tables import as_csv, csv_lines, markdown_lines, table_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Branch: TypeAlias = tuple[str, Sequence["Branch"]]
"""A text in a tree, and the branches below it."""

Output: TypeAlias = Literal["table", "json", "csv", "markdown"]
"""The output formats of tables."""
OUTPUTS: tuple[Output, ...] = get_args(Output)

_WIDTH_OF_FILES = 1_000_000
"""Width of a table that does not go to a terminal, in cells: no text is shortened."""


def say(message: str) -> None:
    """Print a message for the user on stderr."""
    from kdtui.text import one_line

    print(one_line(message), file=sys.stderr, flush=True)


def print_text(text: str) -> None:
    """Print text of several lines on stdout, without control characters."""
    from kdtui.text import one_line

    print("\n".join(one_line(line) for line in text.split("\n")), flush=True)


def print_json(value: object) -> None:
    """Print one JSON value on a line and flush. NaN and infinity become null, because JSON has neither."""
    from kdtui.text import escape_in_json

    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False)
    print(escape_in_json(text), flush=True)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    wide: Container[str] = (),
    right: Container[str] = (),
    output: Output = "table",
    records: Iterable[Mapping[str, object]] | None = None,
    empty: str | None = None,
) -> None:
    """Print a table on stdout, or the same rows in another format.

    A table in a terminal fits its width: the longest columns are shortened. Otherwise nothing is shortened.

    Args:
        columns: the headings; a heading can be broken at its line feeds.
        rows: the values. This function formats them: numbers are aligned right, and text is escaped.
        wide: columns that wrap their text instead of cutting it off.
        right: columns of text to align right, such as numbers with a unit.
        records: the rows with all fields, for JSON and CSV; by default they have the values of the rows.
        empty: a message to show instead of a table without rows.
    """
    rows = list(rows)
    if not rows and empty is not None:
        # A program that reads JSON needs no message.
        if output != "json":
            say(empty)
        return
    if output == "table":
        _print_text_table(columns, rows, wide, right)
        return
    headings = [" ".join(column.split()) for column in columns]
    if output == "markdown":
        sys.stdout.write(markdown_lines(headings, rows, right=right))
    elif output == "csv":
        sys.stdout.write(csv_lines(headings, rows) if records is None else as_csv(records))
    else:
        for record in records if records is not None else (dict(zip(headings, row, strict=True)) for row in rows):
            print_json(record)
    sys.stdout.flush()


def print_lines(columns: Sequence[str] | None, rows: Iterable[Sequence[object]], output: Output) -> None:
    """Print rows of CSV or Markdown and flush. The columns are the header; None if it has been printed before."""
    sys.stdout.write(csv_lines(columns, rows) if output == "csv" else markdown_lines(columns, rows))
    sys.stdout.flush()


def print_gap(output: Output) -> None:
    """Print an empty line between two tables in CSV or Markdown; other tables end with one."""
    if output in ("csv", "markdown"):
        print(flush=True)


@contextmanager
def live_table(
    columns: Sequence[str], *, wide: Container[str] = ()
) -> Iterator[Callable[[Iterable[Sequence[object]]], None]]:
    """Show a table on stdout that is updated in place. If stdout is not a terminal, print only its last state.

    Yields:
        a function that shows new rows in place of the old ones.
    """
    from rich.live import Live
    from rich.text import Text

    if not sys.stdout.isatty():
        latest: list[Sequence[object]] = []
        yield lambda rows: latest.__setitem__(slice(None), list(rows))
        _print_text_table(columns, latest, wide)
        return
    console = _console()
    with Live(console=console, auto_refresh=False) as live:

        def show(rows: Iterable[Sequence[object]]) -> None:
            head, body = table_lines(columns, rows, console.width, wide=wide)
            whole = Text("\n").join([Text("\n".join(head), style="bold"), Text("\n".join(body))])
            live.update(whole, refresh=True)

        yield show


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES, highlight=False)


def _print_text_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], wide: Container[str], right: Container[str] = ()
) -> None:
    width = _console().width
    head, body = table_lines(columns, rows, width, wide=wide, right=right)
    if sys.stdout.isatty():
        _console().print("\n".join(head), style="bold", markup=False, emoji=False, no_wrap=True, crop=False)
    else:
        sys.stdout.writelines(f"{line}\n" for line in head)
    sys.stdout.writelines(f"{line}\n" for line in body)
    sys.stdout.flush()


def print_tree(title: str, branches: Sequence[Branch]) -> None:
    """Print a tree on stdout, with each text on one line."""
    from rich.text import Text
    from rich.tree import Tree

    from kdtui.text import one_line

    def grow(tree: Tree, parts: Sequence[Branch]) -> Tree:
        for text, below in parts:
            grow(tree.add(Text(one_line(text))), below)
        return tree

    _console().print(grow(Tree(Text(title)), branches))


def progress_bar() -> Progress:
    """Make a progress bar on stderr that disappears at the end; disabled if stderr is not a terminal."""
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


@contextmanager
def waiting_line() -> Iterator[Callable[[str], None] | None]:
    """Show a status line on stderr while waiting; it disappears at the end.

    Yields:
        a function that sets the text of the line; None if stderr is not a terminal.
    """
    from rich.console import Console
    from rich.text import Text

    from kdtui.text import one_line

    if not sys.stderr.isatty():
        yield None
        return
    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(Text(one_line(text, 200)))
