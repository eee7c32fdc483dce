"""Deletion in commands: say what is deleted along with a thing, ask, and refuse if nobody can answer."""

import sys
from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from kdtui.text import counted, one_line

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]


def confirm_removal(things: Mapping[str, Iterable[str]], *, yes: bool) -> None:
    """Ask the user to confirm a deletion.

    Args:
        things: by name, each with notes on what is deleted with it and what stays.
        yes: whether --yes was given; then nothing is asked.

    Raises:
        KdtuiError: the answer is no, or stdin is not a terminal.
    """
    from kdtui.errors import KdtuiError

    if yes:
        return
    lines = [one_line(", ".join([thing, *with_it])) for thing, with_it in things.items()]
    if not sys.stdin.isatty():
        raise KdtuiError(f"--yes is needed to delete without a terminal: {' / '.join(lines)}")
    for line in lines:
        print(line, file=sys.stderr)
    it = "it" if len(lines) == 1 else f"all {len(lines):,}"
    print(f"Delete {it}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise KdtuiError("nothing was deleted")


def counts(numbers: Mapping[str, int], word: str = "with") -> list[str]:
    """Count in words what is deleted with a thing, such as `with 1 run and 12 pieces of knowledge`.

    Args:
        numbers: by singular; `singular|plural` gives an irregular plural.
        word: the first word of the text.

    Returns:
        one text, or none if all numbers are 0.
    """
    parts = [counted(number, *name.split("|")) for name, number in numbers.items() if number]
    return [f"{word} {' and '.join([', '.join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)}"] if parts else []
