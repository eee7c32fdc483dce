"""What the app remembers between two runs: the place, the theme, filters and sort orders."""

import json
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.files.whole_files import PRIVATE, write_whole


class Memory:
    """A small JSON file. A damaged file counts as missing: it holds nothing of value.

    Args:
        path: the file; None to remember nothing.
        database: the store; each store has its own memory of places.
    """

    def __init__(self, path: Path | None, database: Path) -> None:
        self._path = path
        self._content = _read(path)
        self._places = _child(_child(self._content, "stores"), str(database.absolute()))

    @property
    def theme(self) -> str | None:
        """The last theme."""
        return _text(self._content.get("theme"))

    @theme.setter
    def theme(self, name: str) -> None:
        self._content["theme"] = name

    @property
    def place(self) -> str | None:
        """The last place."""
        return _text(self._places.get("place"))

    @place.setter
    def place(self, name: str) -> None:
        self._places["place"] = name

    def of(self, place: str) -> MutableMapping[str, Any]:
        """Return the memory of a place, which reads and writes it."""
        return _child(self._places, f"in {place}")

    def save(self) -> None:
        """Write the file; errors are ignored."""
        if self._path is None:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(self._content, indent=1), PRIVATE)


def memory_path() -> Path:
    """Return the path of the file."""
    from platformdirs import user_state_path

    return user_state_path("kdtui") / "tui.json"


def _read(path: Path | None) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        if path is not None and isinstance(content := json.loads(path.read_text(encoding="utf-8")), dict):
            return content
    return {}


def _child(content: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(content.get(name), dict):
        content[name] = {}
    return content[name]  # type: ignore[no-any-return]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
