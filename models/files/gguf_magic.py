"""The check that a file is a GGUF file, before a library reports that less clearly."""

from pathlib import Path

from models.errors import ModelError


def check_magic(path: Path, what: str) -> None:
    """Refuse a file that is not GGUF.

    Args:
        what: what the user wants to use it as, with an article.

    Raises:
        ModelError: the file is missing, or is something else.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; {what} is a GGUF file") from error
    if magic != b"GGUF":
        raise ModelError(f"{path}: this is not a GGUF file")
