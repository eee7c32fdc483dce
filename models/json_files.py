"""JSON files that hold one object."""

import json
from pathlib import Path
from typing import Any

from models.errors import ModelError


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        ModelError: the file is missing, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path}: this is no JSON") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: an object is expected")
    return content
