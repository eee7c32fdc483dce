"""Errors that a user can fix, each explained in one sentence."""


class KdtuiError(Exception):
    """The program cannot do what was asked; the message is one sentence: what went wrong, where, and what to do."""


class BadFile(KdtuiError):
    """A file has invalid content; the message begins with the file and, if known, the line."""

    def __init__(self, path: object, problem: str, line: int | None = None) -> None:
        where = f"{path}" if line is None else f"{path}, line {line:,}"
        super().__init__(f"{where}: {problem}")


EXCESSIVE_TOML = "a number in it has thousands of digits, or lists are nested too deeply"
"""Why Python cannot read a TOML file that is valid; its own errors speak of its own limits."""
