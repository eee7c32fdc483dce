"""What commands print: data on stdout, everything else on stderr."""

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
"""A text in a tree, and what is below it."""

Output: TypeAlias = Literal["table", "json", "csv", "markdown"]
"""The formats that a table can be printed in."""
OUTPUTS: tuple[Output, ...] = get_args(Output)

_WIDTH_OF_FILES = 1_000_000
"""Cells of a line that does not go to a terminal: nothing is shortened."""


def say(message: str) -> None:
    """A message for the user, on stderr."""
    from kdtui.text import one_line

    print(one_line(message), file=sys.stderr, flush=True)


def print_text(text: str) -> None:
    """Text of several lines on stdout, each of them fit for a terminal."""
    from kdtui.text import one_line

    print("\n".join(one_line(line) for line in text.split("\n")), flush=True)


def print_json(value: object) -> None:
    """One object on a line of its own, at once; null where a number is none, which JSON has no word for."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False)
    print(text, flush=True)


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
    """A table on stdout, or the same rows in another format.

    In a terminal a table is as wide as that, and the longest columns give way; elsewhere nothing is shortened.

    Args:
        columns: their headings; a line feed in one is where it may be divided.
        rows: values, which are formatted here: numbers stand on the right, text from outside is shown as it is.
        wide: the columns whose text goes on in the next line, instead of being cut off.
        right: the columns whose texts are numbers with something beside them.
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
    """A tree on stdout, each text on one line."""
    from rich.text import Text
    from rich.tree import Tree

    from kdtui.text import one_line

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


@contextmanager
def waiting_line() -> Iterator[Callable[[str], None] | None]:
    """A line on stderr that says what is waited for, and is gone when it is over.

    Yields:
        what takes the text of the line; None where stderr is no terminal.
    """
    from rich.console import Console
    from rich.text import Text

    from kdtui.text import one_line

    if not sys.stderr.isatty():
        yield None
        return
    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(Text(one_line(text, 200)))
