"""A training that is watched: how it is, and what is in sight of its log.

The log may have gigabytes, here or on a host; only the parts that are asked for are read, and what is added to it.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from threading import Lock
from typing import Protocol, TypeAlias

from kdtui.jobs.client import HostClient, reach
from kdtui.jobs.transport import TransportError
from kdtui.workflows.async_events import iterate
from kdtui.workflows.job_state import is_to_fetch, one_job
from kdtui.workflows.training.jobs import StatusSeen
from kdtui.workflows.training.on_host import PAUSES, ConnectionLost, look
from models.sft.job_files import LOG, LOG_PART
from models.sft.log_search import Search, look_further
from models.sft.protocol import FindRequest
from models.sft.state import ACTIVE
from store.hosts import get_host
from store.jobs import StoredJob, get_job
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class LogRead:
    """The log has `size` bytes at the moment, and these from an offset on."""

    offset: int
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class TextFound:
    """Where a text that was looked for is in the log; None for nowhere."""

    search: Search
    offset: int | None


Seen: TypeAlias = StatusSeen | LogRead | TextFound | ConnectionLost


class _Source(Protocol):
    """Where a training is.

    Attributes:
        pause: seconds between two looks at how it is.
        growth: seconds between two looks at whether its log has grown.
    """

    pause: float
    growth: float

    async def look(self) -> None:
        """Have the store know how it is."""

    async def read(self, offset: int, length: int) -> tuple[int, bytes]:
        """The size of its log, and so many bytes from an offset on."""

    async def look_further(self, search: Search) -> int | Search | None:
        """See `models.sft.log_search`."""


class _Here:
    pause, growth = 1.0, 0.5

    def __init__(self, job: StoredJob) -> None:
        self._log = job.folder / LOG

    async def look(self) -> None:
        """Its files say it."""

    async def read(self, offset: int, length: int) -> tuple[int, bytes]:
        try:
            with self._log.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(offset)
                return size, file.read(length)
        except OSError:
            return 0, b""

    async def look_further(self, search: Search) -> int | Search | None:
        try:
            return await asyncio.to_thread(look_further, self._log, search)
        except OSError:
            return None


class _There:
    pause, growth = 5.0, 1.5

    def __init__(self, db: Database, job: StoredJob, client: HostClient) -> None:
        self._db, self._job, self._client = db, job, client

    async def look(self) -> None:
        await look(self._db, self._client, self._job)

    async def read(self, offset: int, length: int) -> tuple[int, bytes]:
        return await self._client.read_part(f"{self._client.job_folder(self._job.name)}/{LOG}", offset, length)

    async def look_further(self, search: Search) -> int | Search | None:
        answer = await self._client.ask(FindRequest(self._job.name, self._job.key, search))
        return answer.at if answer.search is None else answer.search


class Watch:
    """A training that is watched, by its name. Its methods, other than `events`, may be called from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = Lock()
        self._wanted: dict[int, None] = {}
        self._sought: tuple[Search, Search] | None = None
        self._looks = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None

    def events(self, db: Database) -> Iterator[Seen]:
        """How it is, again and again as long as that may change, and what is read of its log.

        Raises:
            NotFound: there is no such training, or not any more.
        """
        return iterate(self._events(db))

    def want(self, parts: Iterable[int]) -> None:
        """Have these parts of the log read, in this order, and no others that were asked for before."""
        with self._lock:
            self._wanted = dict.fromkeys(parts)
        self._wake()

    def find(self, search: Search) -> None:
        """Have a text looked for in the log, in place of any that is being looked for."""
        with self._lock:
            self._sought = search, search
        self._wake()

    def look(self) -> None:
        """Look at once how it is, and go on looking if it runs."""
        with self._lock:
            self._looks = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._loop is not None and self._woken is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _events(self, db: Database) -> AsyncGenerator[Seen]:
        with self._lock:
            self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        try:
            async for event in self._anywhere(db):
                yield event
        finally:
            with self._lock:
                self._loop = self._woken = None

    async def _anywhere(self, db: Database) -> AsyncGenerator[Seen]:
        row = one_job(db, self.name)
        if row.job.host is None or (row.status.state == "done" and not is_to_fetch(row)):
            async for event in self._watch(db, _Here(row.job)):
                yield event
            return
        # What is known is there at once.
        yield StatusSeen(row.status)
        lost = 0
        while True:
            job = get_job(db, self.name)
            try:
                async with (
                    reach(get_host(db, job.host or "")) as client,
                    aclosing(self._watch(db, _There(db, job, client))) as events,
                ):
                    async for event in events:
                        lost = 0
                        yield event
                    return
            except TransportError as problem:
                if not lost:
                    yield ConnectionLost(str(problem))
                # It comes back: what happens there goes on meanwhile.
                await self._rest(PAUSES[min(lost, len(PAUSES) - 1)])
                lost += 1

    async def _watch(self, db: Database, source: _Source) -> AsyncGenerator[Seen]:
        now = asyncio.get_running_loop().time
        size = next_look = next_growth = -1.0
        is_active = True
        while True:
            with self._lock:
                asked, self._looks = self._looks, False
            if asked or (is_active and now() >= next_look):
                # Looked at before the log: what was written before the end is not missed.
                await source.look()
                status = one_job(db, self.name).status
                is_active = status.state in ACTIVE
                next_look, next_growth = now() + source.pause, -1.0
                yield StatusSeen(status)
            if now() >= next_growth:
                offset = max(0, int(size))
                length = LOG_PART if size >= 0 else 0
                seen, data = await source.read(offset, length)
                if seen != size:
                    size = seen
                    yield LogRead(offset, data, seen)
                next_growth = now() + source.growth if is_active else float("inf")
            while (part := self._next_part()) is not None:
                seen, data = await source.read(part * LOG_PART, LOG_PART)
                yield LogRead(part * LOG_PART, data, seen)
            if (sought := self._sought) is not None:
                asked_for, search = sought
                found = await source.look_further(search)
                further = (asked_for, found) if isinstance(found, Search) else None
                with self._lock:
                    is_still = self._sought is sought
                    if is_still:
                        self._sought = further
                if is_still and not isinstance(found, Search):
                    yield TextFound(asked_for, found)
            if self._sought is not None:
                # What else is asked for has its turn between two slices.
                continue
            await self._rest(max(0.0, min(next_look, next_growth) - now()) if is_active else None)

    def _next_part(self) -> int | None:
        with self._lock:
            part = next(iter(self._wanted), None)
            if part is not None:
                del self._wanted[part]
        return part

    async def _rest(self, seconds: float | None) -> None:
        """Wait, or until something is wanted."""
        assert self._woken is not None
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self._woken.clear()
