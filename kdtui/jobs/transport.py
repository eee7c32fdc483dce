"""How a machine is reached: commands with their input and output, and nothing else. The local one is reached too."""

import asyncio
import fcntl
import io
import os
import re
import secrets
import shlex
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from kdtui.errors import KdtuiError

CHUNK = 1 << 18
"""Bytes that are read or written at a time."""

_PIPE = 1 << 20
"""Bytes that a pipe holds at most, where its size can be chosen."""

_ENDS = 1.0
"""Seconds in which a program that has said its last is gone."""

AT_ONCE = 8
"""Commands through one connection at once: sshd lets ten through (MaxSessions), of which the connection is one."""

TIMEOUT = 120.0
"""Seconds after which a command that says nothing is given up; a host that does not answer would hang it for ever."""


class TransportError(KdtuiError):
    """A machine cannot be reached, or the way to it was lost; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command did."""

    code: int
    out: bytes
    err: str


class Transport(Protocol):
    """A way to a machine.

    Attributes:
        name: what its user calls it.
        places: for commands that run at once.
    """

    name: str
    places: asyncio.Semaphore

    async def open(self) -> None:
        """Reach the machine.

        Raises:
            TransportError: it cannot be reached.
        """

    async def close(self) -> None:
        """Leave nothing behind."""

    def command(self, line: str) -> list[str]:
        """What to run here in order to run a line of sh there."""

    async def lost(self, err: str) -> TransportError:
        """Why the way was lost, from what the program that goes it has said."""


async def run(
    transport: Transport,
    arguments: Sequence[str],
    data: bytes | AsyncIterable[bytes] = b"",
    *,
    timeout: float = TIMEOUT,
) -> Completed:
    """Run a program there, and wait for its end.

    Args:
        data: its input.
        timeout: seconds without anything sent or received.

    Raises:
        TransportError: the way was lost before the program had ended; what became of it is not known.
    """
    mark = secrets.token_hex(8)
    async with transport.places:
        process = await _start(transport, _marked(arguments, mark))
        out = bytearray()
        err = bytearray()
        try:
            beat = _Beat(timeout)
            await asyncio.gather(
                beat.watch(_feed(process, data, beat)),
                beat.watch(_read(process.stdout, out, beat)),
                beat.watch(_read(process.stderr, err, beat)),
            )
            await asyncio.wait_for(process.wait(), timeout)
        except TimeoutError:
            raise TransportError(
                f"host {transport.name} does not answer (for {timeout:g} seconds); try again"
            ) from None
        finally:
            await _end(process)
    told = err.decode("utf-8", "replace")
    body, end, code = bytes(out).rpartition(f"{mark}:".encode())
    _, begin, body = body.partition(f"{mark}\n".encode())
    status = re.match(rb"\d+", code)
    if not end or not begin or status is None:
        # The program that goes the way ends with 255 both by itself and where the command did.
        raise await transport.lost(told)
    return Completed(int(status[0]), body, told)


async def stream(
    transport: Transport, arguments: Sequence[str], data: bytes = b"", *, timeout: float | None = TIMEOUT
) -> AsyncGenerator[bytes]:
    """The output of a program there, as it comes, until its end.

    Args:
        data: its input, which stays open behind that.
        timeout: seconds without anything received; None for any.

    Raises:
        TransportError: the way was lost; what came is whole all the same.
    """
    # No text ends with its first letter, or that end would be held back until more comes.
    mark = f"\x1e{secrets.token_hex(8)}"
    opening, closing = f"{mark}\n".encode(), f"{mark}:".encode()
    held = b""
    begun = False
    async with transport.places:
        with _pipe() as (reading, writing):
            process = await _start(transport, _marked(arguments, mark), stdout=writing.fileno())
            writing.close()
            err = bytearray()
            errors = asyncio.create_task(_read(process.stderr, err, _Beat(None)))
            try:
                assert process.stdin is not None
                process.stdin.write(data)
                while True:
                    try:
                        await asyncio.wait_for(_readable(reading), timeout)
                    except TimeoutError:
                        raise TransportError(f"host {transport.name} does not answer; try again") from None
                    chunk = reading.read(_PIPE)
                    held += chunk
                    if not begun:
                        _, found, rest = held.partition(opening)
                        if found:
                            begun, held = True, rest
                    if begun:
                        body, found, _ = held.rpartition(closing)
                        if found:
                            if body:
                                yield body
                            with suppress(TimeoutError):
                                # It ends by itself. Of one that is killed as it ends asyncio says on the screen that it
                                # does not know it.
                                await asyncio.wait_for(process.wait(), _ENDS)
                            return
                        # The end may come in two parts.
                        may_be = max((n for n in range(1, len(closing)) if held.endswith(closing[:n])), default=0)
                        ready = len(held) - may_be if chunk else len(held)
                        if ready:
                            yield held[:ready]
                            held = held[ready:]
                    if not chunk:
                        await errors
                        raise await transport.lost(err.decode("utf-8", "replace"))
            finally:
                errors.cancel()
                with suppress(asyncio.CancelledError):
                    await errors
                await _end(process)


@contextmanager
def _pipe() -> Iterator[tuple[io.FileIO, io.FileIO]]:
    """The two ends of a large pipe.

    Reading much from it takes half of the computing that a stream of asyncio takes, which copies again and again.
    """
    reading, writing = os.pipe()
    with io.FileIO(reading, "rb") as source, io.FileIO(writing, "wb") as target:
        # Linux has pipes of other sizes than its own, up to a limit that its user may have reached.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE)
        yield source, target


async def _readable(file: io.FileIO) -> None:
    """Wait until there is something to read, or the end."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(file, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(file)


def _marked(arguments: Sequence[str], mark: str) -> str:
    """A line of sh that runs a program, and says where its output begins and how it ended: shells that greet, and
    programs that go the way, print too."""
    program = shlex.join(arguments)
    script = f"printf '%s\\n' {mark}; {program}; printf '%s:%d\\n' {mark} $?"
    return shlex.join(["exec", "sh", "-c", script])


async def _start(
    transport: Transport, line: str, *, stdout: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    command = transport.command(line)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            # An interrupt is ours: it must not end what a cancel is to wait for.
            start_new_session=True,
        )
    except OSError as error:
        raise TransportError(f"{command[0]}: {error.strerror}") from error


class _Beat:
    """Gives up where nothing is sent or received for too long, however long the whole takes."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._last = asyncio.get_running_loop().time()

    def __call__(self) -> None:
        self._last = asyncio.get_running_loop().time()

    async def watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for some work as long as anything moves.

        Raises:
            TimeoutError: nothing does.
        """
        task = asyncio.create_task(work)
        try:
            while not task.done():
                left = None
                if self._timeout is not None:
                    left = self._last + self._timeout - asyncio.get_running_loop().time()
                    if left <= 0:
                        raise TimeoutError
                await asyncio.wait([task], timeout=left)
            await task
        finally:
            task.cancel()


async def _feed(process: asyncio.subprocess.Process, data: bytes | AsyncIterable[bytes], beat: _Beat) -> None:
    assert process.stdin is not None
    # It may have ended without reading; what it says then counts.
    with suppress(BrokenPipeError, ConnectionResetError):
        if isinstance(data, bytes):
            process.stdin.write(data)
            await process.stdin.drain()
        else:
            async for chunk in data:
                process.stdin.write(chunk)
                await process.stdin.drain()
                beat()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _read(source: asyncio.StreamReader | None, into: bytearray, beat: _Beat) -> None:
    assert source is not None
    while chunk := await source.read(CHUNK):
        into += chunk
        beat()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        # The process would be waited for until its pipes close, and ssh has given those to its master, which keeps them
        # for as long as the command runs there.
        process._transport.close()  # type: ignore[attr-defined]
        # It has been killed by that, and is gone in a moment; a loop that ends before would complain on the screen.
        while process.returncode is None:
            await asyncio.sleep(0.01)


class LocalTransport:
    """This machine: the login node of a cluster that one is logged in to, for one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places = asyncio.Semaphore(AT_ONCE)

    async def open(self) -> None:
        """Nothing is to be done."""

    async def close(self) -> None:
        """Nothing is to be done."""

    def command(self, line: str) -> list[str]:
        """The line, in sh."""
        return ["/bin/sh", "-c", line]

    async def lost(self, err: str) -> TransportError:
        """The shell was killed."""
        said = err.strip().splitlines()
        return TransportError(f"{self.name}: the command was ended ({said[-1] if said else 'it says no more'})")


def environment_words(name: str) -> list[str]:
    """The words of a command that a variable of the environment holds."""
    try:
        return shlex.split(os.environ.get(name, ""))
    except ValueError as error:
        raise KdtuiError(f"{name} is no command: {error}") from error
