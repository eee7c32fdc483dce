"""The commands of the program by the path that a user types, and a parser of example command lines."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from kdtui.cli import app


def _below(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, TyperGroup):
            yield from _below(command, f"{path} {name}")


_ROOT: Any = typer.main.get_command(app)

PAGES: dict[str, Any] = {"kdtui": _ROOT, **dict(_below(_ROOT, "kdtui"))}
"""Each command and each group by its path, such as `kdtui data show`."""


def parse(words: list[str]) -> None:
    """Parse a command line, `kdtui` included, without running it.

    Raises:
        click.UsageError: there is no such command, argument or option.
    """
    name, *rest = words
    assert name == "kdtui", words
    with _ROOT.make_context("kdtui", rest, resilient_parsing=False) as context:
        while context._protected_args:
            name, command, rest = context.command.resolve_command(context, context._protected_args + context.args)
            context = command.make_context(name, rest, parent=context)
            if not isinstance(command, TyperGroup):
                break
