"""Follow the log and the status of a training on a host."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.transport import TransportError
from kdtui.workflows.async_events import iterate
from kdtui.workflows.training.host_status import ask_status, remember_status_of
from kdtui.workflows.training.on_this_machine import LogGrew, StatusSeen
from models.sft.job_files import LOG
from models.sft.log_pieces import LogPiece, LogPosition
from models.sft.state import ACTIVE
from store.hosts import Host, get_host
from store.jobs import StoredJob
from store.sqlite import Database

PAUSES = (1, 2, 5, 10, 30)
"""Seconds before each attempt to reconnect; the last value repeats."""


_LOOK = 5.0
"""Seconds between two checks of a training that is followed."""


_WAITING = 16
"""Pieces of a log that can wait for the consumer."""

_QUIET = 10.0
"""Seconds that the rest of a log may take to arrive after its training has ended."""


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The connection to a host was lost while a training was followed; it is tried again."""

    problem: str


def log_on_host(db: Database, job: StoredJob) -> Iterator[bytes]:
    """Yield the log of a training on its host in chunks.

    Raises:
        TransportError: the host cannot be reached.
    """
    assert job.host is not None
    host = get_host(db, job.host)

    async def read() -> AsyncGenerator[bytes]:
        async with reach(host) as client:
            async for chunk in client.pieces(f"{client.job_folder(job.name)}/{LOG}"):
                yield chunk

    return iterate(read())


def follow_on_host(db: Database, job: StoredJob) -> Iterator[LogGrew | StatusSeen | ConnectionLost]:
    """Yield the log of a training on its host from its beginning, and its status, until it ends.

    A lost connection is restored. A log that is shortened or replaced meanwhile is yielded from its beginning.

    Raises:
        TransportError: the host cannot be reached at all.
        KdtuiError: the host refuses; the message says why.
    """
    assert job.host is not None
    return iterate(_follow(db, job, get_host(db, job.host)))


async def _follow(db: Database, job: StoredJob, host: Host) -> AsyncGenerator[LogGrew | StatusSeen | ConnectionLost]:
    lost = 0
    position = LogPosition()
    was_there = False
    while True:
        try:
            async with reach(host) as client, aclosing(_watch(db, client, job, position)) as events:
                async for event in events:
                    lost, was_there = 0, True
                    if isinstance(event, LogPiece):
                        yield LogGrew(event.text, event.offset < position.offset)
                        position = position.after(event)
                    else:
                        yield event
                return
        except TransportError as problem:
            if not was_there:
                raise
            if not lost:
                yield ConnectionLost(str(problem))
            # The training continues on the host meanwhile.
            await asyncio.sleep(PAUSES[min(lost, len(PAUSES) - 1)])
            lost += 1


async def _watch(
    db: Database, client: HostClient, job: StoredJob, position: LogPosition
) -> AsyncGenerator[LogPiece | StatusSeen]:
    """Yield the log after a position, and the status, through one connection, until the training ends."""
    # The consumer can be slower than the host, and the log of any length.
    grown: asyncio.Queue[LogPiece] = asyncio.Queue(_WAITING)

    async def read() -> None:
        async for piece in client.follow(job.name, job.key, position):
            await grown.put(piece)

    # First, because this sends the host the code that it follows the log with, if it lacks that.
    reported = await ask_status(client, job)
    reading = asyncio.create_task(read())
    getting = asyncio.create_task(grown.get())
    shown = position.offset
    try:
        while True:
            status = remember_status_of(db, job, reported)
            yield StatusSeen(status)
            is_over = status.state not in ACTIVE
            limit = asyncio.get_running_loop().time() + (_QUIET if is_over else _LOOK)
            while (left := limit - asyncio.get_running_loop().time()) > 0 and not (
                is_over and shown >= reported.log_bytes
            ):
                await asyncio.wait({getting, reading}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    piece = getting.result()
                    getting = asyncio.create_task(grown.get())
                    shown = piece.offset + len(piece.text)
                    yield piece
                    if is_over:
                        # The consumer takes time to show a chunk, and the rest may arrive meanwhile.
                        limit = asyncio.get_running_loop().time() + _QUIET
                elif reading.done():
                    await reading
                    raise TransportError(f"host {client.host.name}: the log ends")
            if is_over:
                return
            reported = await ask_status(client, job)
    finally:
        for task in (reading, getting):
            task.cancel()
        await asyncio.gather(reading, getting, return_exceptions=True)
