"""Partial answers, shown in a terminal until they are complete."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from models.interrupts import delayed_interrupts

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text


class LiveLines:
    """Lines at the bottom of a terminal that are updated in place and removed before other output.

    Attributes:
        width: the cells of a line.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._live: Live | None = None
        self.width = self._console.width

    @classmethod
    def in_terminal(cls) -> LiveLines | None:
        """Return None if stdout is not a terminal, or one that cannot erase lines."""
        if not sys.stdout.isatty():
            return None
        lines = cls()
        return None if lines._console.is_dumb_terminal else lines

    def show(self, blocks: Iterable[tuple[list[str], list[str]]]) -> None:
        """Replace the lines by those of these blocks, each with a head and a body.

        Blocks beyond the height of the screen are not read.
        """
        from rich.live import Live
        from rich.text import Text

        lines: list[Text] = []
        for head, body in blocks:
            lines += [*(Text(line, style="bold") for line in head), *map(Text, body)]
            if len(lines) >= self._console.height:
                break
        whole = Text("\n", no_wrap=True, overflow="crop").join(lines)
        with delayed_interrupts():
            if self._live is None:
                # Other output is only printed after the display is cleared.
                self._live = Live(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                    vertical_overflow="ellipsis",
                )
                self._live.start()
            self._live.update(whole, refresh=True)

    def clear(self) -> None:
        """Remove the lines."""
        if self._live is None:
            return
        with delayed_interrupts():
            live, self._live = self._live, None
            # When a live display stops, it prints all of its lines, which may be more than the screen has.
            live.update("")
            live.stop()
