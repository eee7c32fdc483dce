"""JSON files that hold one object."""

import json
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.text_files import NotText, decoded


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        ModelError: the file is missing, or holds something else.
    """
    try:
        content = json.loads(decoded(path.read_bytes()))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    except NotText as error:
        raise ModelError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: this is no JSON") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: an object is expected")
    return content
