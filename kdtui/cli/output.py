"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress
    from rich.table import Table

Branch: TypeAlias = tuple[str, Sequence["Branch"]]
"""A text in a tree, and what is below it."""

_WIDTH_OF_FILES = 160
"""Columns of a table that does not go to a terminal."""


def say(message: str) -> None:
    """A message for the user, on stderr."""
    from kdtui.bundling.text import one_line

    print(one_line(message), file=sys.stderr, flush=True)


def print_text(text: str) -> None:
    """Text of several lines on stdout, each of them fit for a terminal."""
    from kdtui.bundling.text import one_line

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
) -> None:
    """A table on stdout; numbers stand right, text from outside is shown as it is.

    Args:
        wide: the columns that give way when the terminal is narrow.
        right: the columns whose texts are numbers with something beside them.
    """
    console = _console()
    console.print(_table(console, columns, rows, wide, right))


@contextmanager
def live_table(
    columns: Sequence[str], *, wide: Container[str] = ()
) -> Iterator[Callable[[Iterable[Sequence[object]]], None]]:
    """A table on stdout that is there at once, and changes until the end; where stdout is no terminal, only the last.

    Yields:
        what takes the rows as they are now.
    """
    from rich.live import Live

    console = _console()
    if not sys.stdout.isatty():
        latest: list[Sequence[object]] = []
        yield lambda rows: latest.__setitem__(slice(None), list(rows))
        console.print(_table(console, columns, latest, wide))
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda rows: live.update(_table(console, columns, rows, wide), refresh=True)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES, highlight=False)


def _table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    wide: Container[str],
    right: Container[str] = (),
) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows = list(rows)
    # With many columns a narrow terminal has no room between them but the one cell of the box.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if console.width >= 100 else (0, 0))
    for index, column in enumerate(columns):
        numeric = column in right or any(isinstance(row[index], int | float) for row in rows)
        table.add_column(
            column,
            justify="right" if numeric else "left",
            no_wrap=column not in wide,
            overflow="fold" if column in wide else "ellipsis",
        )
    for row in rows:
        table.add_row(*map(_cell, row))
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


def _cell(value: object) -> RenderableType:
    from rich.text import Text

    from kdtui.bundling.text import decimals, one_line

    if value is None or (isinstance(value, float) and not isfinite(value)):
        return Text("-")
    if isinstance(value, float):
        return Text(decimals(value))
    if isinstance(value, int):
        return Text(f"{value:,}")
    return Text(one_line(str(value)))


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

    from kdtui.bundling.text import one_line

    if not sys.stderr.isatty():
        yield None
        return
    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(Text(one_line(text, 200)))
