"""The shell command that does the same as a screen."""

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
    """Return a command for a shell, quoted where necessary.

    Options that are None are left out; options with several values are repeated.

    Args:
        database: the store, if it is not the default one.
    """
    chosen = {**(options or {}), "--db": None if database is None else str(database)}
    # A value that looks like an option follows "=".
    option_words = [
        part
        for name, values in chosen.items()
        if values is not None
        for value in ([values] if isinstance(values, str) else values)
        for part in ([f"{name}={value}"] if value.startswith("-") else [name, value])
    ]
    plain = [] if argument is None else [argument] if isinstance(argument, str) else list(argument)
    if any(each.startswith("-") for each in plain):
        arguments = ["kdtui", *words, *option_words, "--", *plain]
    else:
        arguments = ["kdtui", *words, *plain, *option_words]
    return shlex.join(arguments)
