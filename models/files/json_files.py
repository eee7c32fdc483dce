"""JSON files that hold one object."""

import json
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.files.text_files import NotText, decode_text

_DEEPEST = 32


def is_deep(content: Any) -> bool:
    """Tell whether JSON is nested more deeply than any real file: walking through it could exhaust the stack."""
    level = [content]
    for _ in range(_DEEPEST):
        level = [
            each
            for part in level
            if isinstance(part, dict | list)
            for each in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return False
    return True


def read_object(path: Path) -> dict[str, Any]:
    """Read the object in a file.

    Raises:
        ModelError: the file is missing, or holds something else.
    """
    try:
        content = json.loads(decode_text(path.read_bytes()))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    except NotText as error:
        raise ModelError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: this is not JSON") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: an object is expected")
    return content
