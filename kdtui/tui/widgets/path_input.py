"""A line for the path of a file or folder, which is completed as in a shell."""

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
"""Seconds that a key waits for a folder that is slow to be read."""


def completions(text: str) -> list[str]:
    """The paths that a text can be the beginning of, in order; folders end with a slash.

    Hidden files are among them where the name begins with a dot, and none whose name a terminal cannot show.
    """
    if text == "~":
        return ["~/"]
    before, slash, begun = text.rpartition("/")
    folder = typed_path(before + slash) if slash else Path()
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(begun) and (begun or not name.startswith(".")) and name.isprintable():
                found.append(f"{before}{slash}{name}{'/' if _is_folder(entry) else ''}")
    return sorted(found)


def _shared_beginning(texts: list[str]) -> str:
    """With what all of some sorted texts begin."""
    if not texts:
        return ""
    # What the first and the last share, all between them have.
    pairs = zip(texts[0], texts[-1], strict=False)
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


class _Completions(Suggester):
    """Suggests the first path that what is typed can become, and tells the line of all of them."""

    def __init__(self, line: "PathInput") -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._line = line

    async def get_suggestion(self, value: str) -> str | None:
        found = await asyncio.to_thread(completions, value)
        self._line.post_message(PathInput.Completed(self._line, value, found))
        return found[0] if found else None


class PathInput(Input):
    """A path. `tab` completes it as far as there is only one way, and else goes to the next part of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("path")

    class Completed(Message):
        """It is known what a path can become."""

        def __init__(self, line: "PathInput", value: str, found: list[str]) -> None:
            super().__init__()
            self.line, self.value, self.found = line, value, found

        @property
        def control(self) -> "PathInput":
            """The line."""
            return self.line

    def __init__(self, value: str, *, id: str) -> None:
        super().__init__(value, id=id, compact=True, suggester=_Completions(self))

    async def action_complete(self) -> None:
        """Complete the path, or go on."""
        found: list[str] = []
        with suppress(TimeoutError):
            found = await asyncio.wait_for(asyncio.to_thread(completions, self.value), _PATIENCE)
        certain = _shared_beginning(found)
        if len(certain) > len(self.value):
            self.value = certain
            self.cursor_position = len(certain)
        else:
            self.screen.focus_next()


def typed_path(text: str) -> Path:
    """The path that a user typed, with the home folder for `~`; an unknown user's `~name` stays as it is."""
    path = Path(text.strip())
    with suppress(RuntimeError):
        return path.expanduser()
    return path
