"""An input for the path of a file or folder, with completion as in a shell."""

import asyncio
import os
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

from kdtui.tui.actions import bindings

_PATIENCE = 0.5
"""Seconds that a key waits for a slow folder."""


def completions(text: str) -> list[str]:
    """Return the sorted paths that begin with a text; folders end with a slash.

    Hidden files are included if the name begins with a dot. Names that a terminal cannot show are left out.
    """
    if text == "~":
        return ["~/"]
    before, slash, prefix = text.rpartition("/")
    folder = typed_path(before + slash) if slash else Path()
    paths = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(prefix) and (prefix or not name.startswith(".")) and name.isprintable():
                paths.append(f"{before}{slash}{name}{'/' if _is_folder(entry) else ''}")
    return sorted(paths)


def _common_prefix(texts: list[str]) -> str:
    """Return the longest common prefix of sorted texts."""
    if not texts:
        return ""
    # Texts between the first and the last share their common prefix.
    pairs = zip(texts[0], texts[-1], strict=False)
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


class _Completions(Suggester):
    """Suggests the first completion of a path, and posts all of them."""

    def __init__(self, line: "PathInput") -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._line = line

    async def get_suggestion(self, value: str) -> str | None:
        paths = await asyncio.to_thread(completions, value)
        self._line.post_message(PathInput.Completed(self._line, value, paths))
        return paths[0] if paths else None


class PathInput(Input):
    """A path. `tab` completes it as far as it is unambiguous, or else moves on to the next field."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("path")

    class Completed(Message):
        """The completions of a path are known."""

        def __init__(self, line: "PathInput", value: str, paths: list[str]) -> None:
            super().__init__()
            self.line, self.value, self.paths = line, value, paths

        @property
        def control(self) -> "PathInput":
            """The input, for `on` with a selector."""
            return self.line

    def __init__(self, value: str, *, id: str) -> None:
        super().__init__(value, id=id, compact=True, suggester=_Completions(self))

    async def action_complete(self) -> None:
        """Complete the path, or move on to the next field."""
        paths: list[str] = []
        with suppress(TimeoutError):
            paths = await asyncio.wait_for(asyncio.to_thread(completions, self.value), _PATIENCE)
        completed = _common_prefix(paths)
        if len(completed) > len(self.value):
            self.value = completed
            self.cursor_position = len(completed)
        else:
            self.screen.focus_next()


def typed_path(text: str) -> Path:
    """Return the path that a user typed, with `~` expanded; the `~name` of an unknown user stays."""
    path = Path(text.strip())
    with suppress(RuntimeError):
        return path.expanduser()
    return path
