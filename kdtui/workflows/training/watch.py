"""Watch a training: its status, and the visible part of its log.

The log can have gigabytes, on this machine or on a host. Only requested parts and new text are read.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from threading import Lock
from typing import Protocol, TypeAlias

from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.transport import TransportError
from kdtui.workflows.async_events import iterate
from kdtui.workflows.finish_jobs import finish_job
from kdtui.workflows.job_state import is_to_fetch, known_training
from kdtui.workflows.training.follow_on_host import PAUSES, ConnectionLost
from kdtui.workflows.training.host_status import look_up_status
from kdtui.workflows.training.on_this_machine import StatusSeen
from models.sft.job_files import LOG, LOG_PART
from models.sft.log_search import Search, look_further
from models.sft.protocol import FindRequest
from models.sft.state import ACTIVE
from store.hosts import get_host
from store.jobs import StoredJob, get_job
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class LogRead:
    """A part of the log.

    Attributes:
        offset: of the data.
        size: of the whole log at the moment, in bytes.
    """

    offset: int
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class TextFound:
    """The result of a search in the log.

    Attributes:
        offset: of the match; None if there is none.
    """

    search: Search
    offset: int | None


Seen: TypeAlias = StatusSeen | LogRead | TextFound | ConnectionLost


class _Source(Protocol):
    """Where a training and its log are read from.

    Attributes:
        pause: seconds between two checks of the status.
        growth: seconds between two checks of the size of the log.
    """

    pause: float
    growth: float

    async def look(self) -> None:
        """Update the status in the store."""

    async def read(self, offset: int, length: int) -> tuple[int, bytes]:
        """Return the size of the log, and `length` bytes of it from an offset on."""

    async def look_further(self, search: Search) -> int | Search | None:
        """Search a slice of the log; see `models.sft.log_search`."""


class _LocalSource:
    pause, growth = 1.0, 0.5

    def __init__(self, job: StoredJob) -> None:
        self._log = job.folder / LOG

    async def look(self) -> None:
        """Do nothing: its files hold the status."""

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


class _HostSource:
    pause, growth = 5.0, 1.5

    def __init__(self, db: Database, job: StoredJob, client: HostClient) -> None:
        self._db, self._job, self._client = db, job, client

    async def look(self) -> None:
        await look_up_status(self._db, self._client, self._job)

    async def read(self, offset: int, length: int) -> tuple[int, bytes]:
        return await self._client.read_part(f"{self._client.job_folder(self._job.name)}/{LOG}", offset, length)

    async def look_further(self, search: Search) -> int | Search | None:
        answer = await self._client.ask(FindRequest(self._job.name, self._job.key, search))
        return answer.at if answer.search is None else answer.search


class Watch:
    """Watches a training by its name. All methods except `events` can be called from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = Lock()
        self._wanted: dict[int, None] = {}
        self._sought: tuple[Search, Search] | None = None
        self._looks = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None

    def events(self, db: Database) -> Iterator[Seen]:
        """Yield the status, repeatedly while it can change, and the parts of the log that are read.

        Raises:
            NotFound: there is no such training, or it has been deleted.
        """
        return iterate(self._events(db))

    def want(self, parts: Iterable[int]) -> None:
        """Request these parts of the log, in this order, in place of earlier requests."""
        with self._lock:
            self._wanted = dict.fromkeys(parts)
        self._wake()

    def find(self, search: Search) -> None:
        """Search the log for a text, in place of an earlier search."""
        with self._lock:
            self._sought = search, search
        self._wake()

    def look(self) -> None:
        """Check the status now, and keep checking it if the training runs."""
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
        training = known_training(db, self.name)
        if training.job.host is None or (training.status.state == "done" and not is_to_fetch(training)):
            async for event in self._watch(db, _LocalSource(training.job)):
                yield event
            return
        # Report the stored status at once.
        yield StatusSeen(training.status)
        lost = 0
        while True:
            job = get_job(db, self.name)
            try:
                async with (
                    reach(get_host(db, job.host or "")) as client,
                    aclosing(self._watch(db, _HostSource(db, job, client))) as events,
                ):
                    async for event in events:
                        lost = 0
                        yield event
                    return
            except TransportError as problem:
                if not lost:
                    yield ConnectionLost(str(problem))
                # The training continues on the host meanwhile.
                await self._rest(PAUSES[min(lost, len(PAUSES) - 1)])
                lost += 1

    async def _watch(self, db: Database, source: _Source) -> AsyncGenerator[Seen]:
        now = asyncio.get_running_loop().time
        size = next_look = next_growth = -1.0
        is_active = True
        while True:
            with self._lock:
                is_due, self._looks = self._looks, False
            if is_due or (is_active and now() >= next_look):
                # Checked before the log is read, so that nothing written before the end is missed.
                await source.look()
                status = finish_job(db, self.name).status
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
                match = await source.look_further(search)
                further = (asked_for, match) if isinstance(match, Search) else None
                with self._lock:
                    is_still = self._sought is sought
                    if is_still:
                        self._sought = further
                if is_still and not isinstance(match, Search):
                    yield TextFound(asked_for, match)
            if self._sought is not None:
                # Other requests have their turn between two slices.
                continue
            await self._rest(max(0.0, min(next_look, next_growth) - now()) if is_active else None)

    def _next_part(self) -> int | None:
        with self._lock:
            part = next(iter(self._wanted), None)
            if part is not None:
                del self._wanted[part]
        return part

    async def _rest(self, seconds: float | None) -> None:
        """Wait for a time, or until something is requested."""
        assert self._woken is not None
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()
