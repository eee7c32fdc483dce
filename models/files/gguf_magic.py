"""Whether a file is a GGUF file, before anything reads it that says so less clearly."""

from pathlib import Path

from models.errors import ModelError


def check_magic(path: Path, what: str) -> None:
    """Refuse what is no GGUF file.

    Args:
        what: what it is to be, with its article.

    Raises:
        ModelError: the file is missing, or something else.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; {what} is a GGUF file") from error
    if magic != b"GGUF":
        raise ModelError(f"{path}: this is not a GGUF file")
