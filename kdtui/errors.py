"""What a user can put right, said in one sentence."""


class KdtuiError(Exception):
    """The program cannot do what was asked; the message is one sentence that says what, where and what to do."""


class BadFile(KdtuiError):
    """A file does not hold what it should; the message begins with the file and, where there is one, the line."""

    def __init__(self, path: object, problem: str, line: int | None = None) -> None:
        place = f"{path}" if line is None else f"{path}, line {line:,}"
        super().__init__(f"{place}: {problem}")
