"""The command that does what the screen does."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path


def command_line(
    words: Sequence[str],
    argument: str | Sequence[str] | None = None,
    options: Mapping[str, str | Sequence[str] | None] | None = None,
    *,
    database: Path | None = None,
) -> str:
    """A command for a shell. Everything is quoted that needs it; options that are None are left out, and those with
    several values repeated.

    Args:
        database: the store, where it is not the one that a command opens by itself.
    """
    chosen = {**(options or {}), "--db": None if database is None else str(database)}
    # An option's value goes after "=" where it could be taken for an option.
    given = [
        part
        for name, values in chosen.items()
        if values is not None
        for value in ([values] if isinstance(values, str) else values)
        for part in ([f"{name}={value}"] if value.startswith("-") else [name, value])
    ]
    plain = [] if argument is None else [argument] if isinstance(argument, str) else list(argument)
    if any(each.startswith("-") for each in plain):
        arguments = ["kdtui", *words, *given, "--", *plain]
    else:
        arguments = ["kdtui", *words, *plain, *given]
    return shlex.join(arguments)
