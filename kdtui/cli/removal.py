"""How commands delete: they say what goes with it, ask, and do nothing where nobody can answer."""

import sys
from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from kdtui.text import counted, one_line

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]


def confirm_removal(things: Mapping[str, Iterable[str]], *, yes: bool) -> None:
    """Ask whether things are to be deleted.

    Args:
        things: each with what goes with it, or stays.
        yes: nothing is asked.

    Raises:
        KdtuiError: the answer is no, or nobody can be asked.
    """
    from kdtui.errors import KdtuiError

    if yes:
        return
    lines = [one_line(", ".join([thing, *with_it])) for thing, with_it in things.items()]
    if not sys.stdin.isatty():
        raise KdtuiError(f"--yes is needed to delete where nobody can be asked: {' / '.join(lines)}")
    for line in lines:
        print(line, file=sys.stderr)
    it = "it" if len(lines) == 1 else f"all {len(lines):,}"
    print(f"Delete {it}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise KdtuiError("nothing is deleted")


def counts(numbers: Mapping[str, int], word: str = "with") -> list[str]:
    """What goes with a thing, as one text, or none where there is nothing: `with 1 run and 12 pieces of knowledge`.

    Args:
        numbers: by the name of one; a name with a bar in it has the plural behind that.
        word: what comes first.
    """
    told = [counted(number, *name.split("|")) for name, number in numbers.items() if number]
    return [f"{word} {' and '.join([', '.join(told[:-1]), told[-1]] if len(told) > 1 else told)}"] if told else []
