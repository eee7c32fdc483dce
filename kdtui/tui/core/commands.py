"""The command that does what the screen does."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdtui.workflows.student.command_options import option_words


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
    given = option_words(
        {name: [values] if isinstance(values, str) else values for name, values in chosen.items() if values is not None}
    )
    plain = [] if argument is None else [argument] if isinstance(argument, str) else list(argument)
    if any(each.startswith("-") for each in plain):
        arguments = ["kdtui", *words, *given, "--", *plain]
    else:
        arguments = ["kdtui", *words, *plain, *given]
    return shlex.join(arguments)
