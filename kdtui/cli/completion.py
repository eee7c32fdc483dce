"""What a shell offers when somebody presses Tab: names of what is stored, and words that options take.

Nothing here changes anything, and nothing fails: where there is nothing to offer, nothing is offered.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import typer

if TYPE_CHECKING:
    from store.names import NameKind

VARIABLE = "_KDTUI_COMPLETE"
"""The environment variable by which a shell asks."""

# Told here, and not where they are from, which takes a tenth of a second to import; a test compares them.
STRATEGIES = ("list", "drafts", "pairs", "aicl")
STUDENTS = ("shipped", "smollm2", "patterns")
FORMATS = ("pattern", "rule", "thought")
QUANTIZATIONS = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16", "F16", "F32")

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

# What a shell takes as one word as it is. A name with blanks would have to be quoted, in each shell in its own way.
_WORD = re.compile(r"[\w@%+,./-]+")

Completer: TypeAlias = Callable[[typer.Context, str], list[str]]
"""Takes the context of the command, and the beginning of a word."""


def names(kind: "NameKind", *also: str) -> Completer:
    """Offers the names of what is stored.

    Args:
        also: words that can stand there, too.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        found = [word for word in also if word.startswith(incomplete)]
        # A file that is no database, or of another version, has no names to offer.
        with suppress(Exception):
            from store.names import names_with

            found += names_with(_database(ctx), kind, incomplete, dataset=_option(ctx, "dataset"))
        return [name for name in found if _WORD.fullmatch(name) and not name.startswith("-")]

    return complete


def words(*offered: str) -> Completer:
    """Offers words that an option takes."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001
        return [word for word in offered if word.startswith(incomplete)]

    return complete


def lists(*offered: str) -> Completer:
    """Offers words of which an option takes several, with commas between them."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001
        before, comma, last = incomplete.rpartition(",")
        named = before.split(",")
        return [f"{before}{comma}{word}" for word in offered if word.startswith(last) and word not in named]

    return complete


def prepare() -> bool:
    """Get ready to answer a shell, if it is one that asks."""
    if VARIABLE not in os.environ:
        return False
    from typer._completion_classes import completion_init

    completion_init()
    return True


def answer(app: Callable[[], object]) -> NoReturn:
    """Tell the shell what can follow, and end; where that fails, there is nothing, and no message in a half-typed line.

    Args:
        app: the commands, which answer by themselves.
    """
    with suppress(Exception):
        app()
    sys.exit(1)


def install(value: bool) -> None:
    """Write the completion script to where the shell finds it, and end."""
    if not value:
        return
    from typer._completion_shared import install as install_for

    shell = _shell()
    _, path = install_for(shell=shell, prog_name="kdtui")
    print(f"{shell} completes kdtui from now on, by {path}; start a new shell to use it", file=sys.stderr)
    raise typer.Exit


def show(value: bool) -> None:
    """Print the completion script, and end."""
    if not value:
        return
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="kdtui", complete_var=VARIABLE, shell=_shell()))
    raise typer.Exit


def _shell() -> str:
    """The shell that has started this.

    Raises:
        KdtuiError: it cannot be told, or cannot complete.
    """
    from typer._completion_shared import _get_shell_name

    from kdtui.errors import KdtuiError

    found = _get_shell_name() or Path(os.environ.get("SHELL", "")).name
    if found not in SHELLS:
        what = f"{found} cannot be taught" if found else "it cannot be told which shell this is"
        raise KdtuiError(f"{what}; completion is for {', '.join(SHELLS)}: run this in one of them")
    return found


def _database(ctx: typer.Context) -> Path:
    named = _option(ctx, "db")
    if named is not None:
        return Path(named)
    from store.location import default_path

    return default_path()


def _option(ctx: typer.Context, name: str) -> Any:
    """What an option was given, here or before the command; of several values the last."""
    context: Any = ctx
    while context is not None:
        value = context.params.get(name)
        if value and isinstance(value, Sequence) and not isinstance(value, str):
            return value[-1]
        if value:
            return value
        context = context.parent
    return None
