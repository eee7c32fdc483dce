"""What is known so far, shown in a terminal until it is whole."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kdtui.cli.signals import interrupted_afterwards

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text


class Growing:
    """Lines at the end of a terminal that change, and go away before anything else is printed.

    Attributes:
        width: cells of a line.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._live: Live | None = None
        self.width = self._console.width

    @classmethod
    def in_terminal(cls) -> Growing | None:
        """None where stdout is no terminal, or one that cannot take back what it shows."""
        if not sys.stdout.isatty():
            return None
        found = cls()
        return None if found._console.is_dumb_terminal else found

    def show(self, blocks: Iterable[tuple[list[str], list[str]]]) -> None:
        """Show these lines instead of those before: of each block its head, and its body.

        No more blocks are taken than the screen has room for.
        """
        from rich.live import Live
        from rich.text import Text

        lines: list[Text] = []
        for head, body in blocks:
            lines += [*(Text(line, style="bold") for line in head), *map(Text, body)]
            if len(lines) >= self._console.height:
                break
        whole = Text("\n", no_wrap=True, overflow="crop").join(lines)
        with interrupted_afterwards():
            if self._live is None:
                # What is printed meanwhile is printed after it is cleared.
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
        """Take the lines away."""
        if self._live is None:
            return
        with interrupted_afterwards():
            live, self._live = self._live, None
            # At its end a live display shows all of its lines, for which the screen may be too small.
            live.update("")
            live.stop()
