"""Which ports a process and its children listen on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psutil

_LOOK = 0.02
"""Seconds between two looks."""


class Watched:
    """What was seen of a process and its children.

    Attributes:
        listening: their ports on which they listened at any time.
        programs: their names.
        looks: how many times they were looked at.
    """

    def __init__(self) -> None:
        self.listening: set[int] = set()
        self.programs: set[str] = set()
        self.looks = 0

    def look(self, process: psutil.Process) -> None:
        """Look at a process and its children once."""
        self.looks += 1
        with suppress(psutil.Error):
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    self.programs.add(each.name())
                    self.listening |= {
                        found.laddr.port for found in each.net_connections("inet") if found.status == psutil.CONN_LISTEN
                    }


@contextmanager
def watching(pid: int) -> Iterator[Watched]:
    """Look at a process and its children all the time during the context."""
    watched, is_over = Watched(), Event()
    process = psutil.Process(pid)

    def look() -> None:
        while not is_over.wait(_LOOK):
            watched.look(process)

    looking = Thread(target=look)
    looking.start()
    try:
        yield watched
    finally:
        is_over.set()
        looking.join()
