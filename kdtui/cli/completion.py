"""Shell completion: names in the store, and words that options take.

Completion changes nothing and never fails: on any error it offers nothing.
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
"""The environment variable with which a shell asks for completions."""

# Repeated here because importing their modules takes a tenth of a second; a test compares them.
STRATEGIES = ("list", "drafts", "pairs", "aicl")
STUDENTS = ("shipped", "smollm2", "patterns")
FORMATS = ("pattern", "rule", "thought")
QUANTIZATIONS = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16", "F16", "F32")

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

# A word that no shell needs to quote. Names with blanks are not offered: each shell quotes differently.
_WORD = re.compile(r"[\w@%+,./-]+")

Completer: TypeAlias = Callable[[typer.Context, str], list[str]]
"""Completes the beginning of a word, given the context of the command."""


def names(kind: "NameKind", *also: str) -> Completer:
    """Complete names from the store.

    Args:
        also: other words that are valid there.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        matches = [word for word in also if word.startswith(incomplete)]
        # The file may be no database, or one of another version.
        with suppress(Exception):
            from store.names import names_with

            matches += names_with(_database(ctx), kind, incomplete, dataset=_option(ctx, "dataset"))
        return [name for name in matches if _WORD.fullmatch(name) and not name.startswith("-")]

    return complete


def one_of(*offered: str) -> Completer:
    """Complete words that an option takes."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001
        return [word for word in offered if word.startswith(incomplete)]

    return complete


def several_of(*offered: str) -> Completer:
    """Complete comma-separated words of which an option takes several."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001
        before, comma, last = incomplete.rpartition(",")
        named = before.split(",")
        return [f"{before}{comma}{word}" for word in offered if word.startswith(last) and word not in named]

    return complete


def prepare_answer() -> bool:
    """Prepare the answer if a shell asks for completions, and return whether it does."""
    if VARIABLE not in os.environ:
        return False
    from typer._completion_classes import completion_init

    completion_init()
    return True


def answer_shell(app: Callable[[], object]) -> NoReturn:
    """Print the completions for the shell and exit. An error prints nothing, to keep the half-typed line clean.

    Args:
        app: the commands, which print the completions.
    """
    with suppress(Exception):
        app()
    sys.exit(1)


def install_script(value: bool) -> None:
    """Install the completion script for the current shell and exit."""
    if not value:
        return
    from typer._completion_shared import install as install_for

    shell = _shell()
    _, path = install_for(shell=shell, prog_name="kdtui")
    print(f"installed completion for {shell} in {path}; start a new shell to use it", file=sys.stderr)
    raise typer.Exit


def show_script(value: bool) -> None:
    """Print the completion script and exit."""
    if not value:
        return
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="kdtui", complete_var=VARIABLE, shell=_shell()))
    raise typer.Exit


def _shell() -> str:
    """Return the name of the shell that runs this process.

    Raises:
        KdtuiError: the shell is unknown or not supported.
    """
    from typer._completion_shared import _get_shell_name

    from kdtui.errors import KdtuiError

    shell = _get_shell_name() or Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        what = f"{shell} is not supported" if shell else "the shell is not known"
        raise KdtuiError(f"{what}; run this in one of: {', '.join(SHELLS)}")
    return shell


def _database(ctx: typer.Context) -> Path:
    named = _option(ctx, "database")
    if named is not None:
        return Path(named)
    from store.location import default_path

    return default_path()


def _option(ctx: typer.Context, name: str) -> Any:
    """Return the value of an option, after or before the command; the last of several."""
    context: Any = ctx
    while context is not None:
        value = context.params.get(name)
        if value and isinstance(value, Sequence) and not isinstance(value, str):
            return value[-1]
        if value:
            return value
        context = context.parent
    return None
