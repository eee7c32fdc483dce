"""The shell command that does the same as a screen."""

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
    """Return a command for a shell, quoted where necessary.

    Options that are None are left out; options with several values are repeated.

    Args:
        database: the store, if it is not the default one.
    """
    chosen = {**(options or {}), "--db": None if database is None else str(database)}
    written_options = option_words(
        {name: [values] if isinstance(values, str) else values for name, values in chosen.items() if values is not None}
    )
    plain = [] if argument is None else [argument] if isinstance(argument, str) else list(argument)
    if any(each.startswith("-") for each in plain):
        arguments = ["kdtui", *words, *written_options, "--", *plain]
    else:
        arguments = ["kdtui", *words, *plain, *written_options]
    return shlex.join(arguments)
