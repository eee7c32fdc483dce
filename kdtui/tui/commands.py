"""The command that does what the screen does."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path


def command_line(
    words: Sequence[str],
    argument: str | None = None,
    options: Mapping[str, str | None] | None = None,
    *,
    database: Path | None = None,
) -> str:
    """A command for a shell. Everything is quoted that needs it; options that are None are left out.

    Args:
        database: the store, where it is not the one that a command opens by itself.
    """
    chosen = {**(options or {}), "--db": None if database is None else str(database)}
    # An option's value goes after "=" where it could be taken for an option.
    given = [
        part
        for name, value in chosen.items()
        if value is not None
        for part in ([f"{name}={value}"] if value.startswith("-") else [name, value])
    ]
    if argument is None:
        arguments = ["kdtui", *words, *given]
    elif argument.startswith("-"):
        arguments = ["kdtui", *words, *given, "--", argument]
    else:
        arguments = ["kdtui", *words, argument, *given]
    return shlex.join(arguments)
