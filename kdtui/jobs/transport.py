"""How a machine is reached: commands with their input and output, and nothing else. The local one is reached too."""

import asyncio
import fcntl
import io
import os
import shlex
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from kdtui.errors import KdtuiError
from kdtui.jobs.shell import STARTS, Between, Command, Kept, TooMuch, never_ran, never_stops, said

CHUNK = 1 << 18
"""Bytes that are read or written at a time."""

_PIPE = 1 << 20
"""Bytes that a pipe holds at most, where its size can be chosen."""

_ENDS = 1.0
"""Seconds in which a program that has said its last is gone."""

_LOOK = 1.0
"""Seconds between two looks at how long nothing has moved."""

_SAID = 1 << 16
"""Bytes that are kept of what a program says of its errors."""

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


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What there is of a command whose end did not come.

    Attributes:
        code: of the program that goes the way.
        out, err: its outputs, which tell whether the command was started.
        told: what it has said of its errors.
    """

    code: int | None
    out: Between
    err: Between
    told: str


class Transport(Protocol):
    """A way to a machine.

    Attributes:
        name: what its user calls it.
        places: for commands that run at once.
        greeting: what start-up files of its shell have said before a command, as the end of a sentence; empty where
            they are silent.
    """

    name: str
    places: asyncio.Semaphore
    greeting: str

    async def open(self) -> None:
        """Reach the machine.

        Raises:
            TransportError: it cannot be reached.
        """

    async def close(self) -> None:
        """Leave nothing behind."""

    def command(self, line: str) -> list[str]:
        """What to run here in order to run a line of sh there."""

    async def lost(self, command: Unfinished) -> TransportError:
        """Why a command did not come to its end."""


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
        TransportError: the way was lost before the program had ended; what became of it is not known. Or the shell
            there does not come to run it.
    """
    command = Command(arguments)
    out, err = Between(command.mark), Between(command.mark)
    answer, told = bytearray(), Kept(_SAID)
    async with transport.places:
        process = await _start(transport, command.line)
        beat = _Beat(timeout, out)
        feeding = asyncio.create_task(_feed(process, command.input, data, beat))
        try:
            # What a start-up file has left in the background keeps the output open: the marks are the end.
            await asyncio.gather(
                beat.watch(_read(process.stdout, out, answer.extend, beat)),
                beat.watch(_read(process.stderr, err, told.add, beat)),
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _ENDS)
        except (TimeoutError, TooMuch) as problem:
            raise _given_up(transport, out, err, problem, timeout) from None
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await _end(process)
    if out.code is None:
        # The program that goes the way ends with 255 both by itself and where the command did.
        raise await transport.lost(Unfinished(process.returncode, out, err, told.end))
    _note_greeting(transport, out, err)
    return Completed(out.code, bytes(answer), told.end)


async def stream(
    transport: Transport, arguments: Sequence[str], data: bytes = b"", *, timeout: float | None = TIMEOUT
) -> AsyncGenerator[bytes]:
    """The output of a program there, as it comes, until its end.

    Args:
        data: its input, which stays open behind that.
        timeout: seconds without anything received; None for any.

    Raises:
        TransportError: the way was lost; what came is whole all the same. Or the shell there does not come to run it.
    """
    command = Command(arguments)
    out, err = Between(command.mark), Between(command.mark)
    told = Kept(_SAID)
    async with transport.places:
        with _pipe() as (reading, writing):
            process = await _start(transport, command.line, stdout=writing.fileno())
            writing.close()
            errors = asyncio.create_task(_read_or_end(process, err, told.add))
            limit = asyncio.get_running_loop().time() + STARTS
            try:
                assert process.stdin is not None
                process.stdin.write(command.input + data)
                while True:
                    left = timeout if out.has_begun else max(0.0, limit - asyncio.get_running_loop().time())
                    try:
                        await asyncio.wait_for(_readable(reading), left)
                        chunk = reading.read(_PIPE)
                        body = out.take(chunk)
                    except (TimeoutError, TooMuch) as problem:
                        raise _given_up(transport, out, err, problem, timeout) from None
                    if body:
                        yield body
                    if out.code is not None:
                        with suppress(TimeoutError):
                            # It ends by itself. Of one that is killed as it ends asyncio says on the screen that it
                            # does not know it.
                            await asyncio.wait_for(process.wait(), _ENDS)
                        return
                    if not chunk:
                        if rest := out.rest():
                            yield rest
                        await asyncio.wait([errors], timeout=_ENDS)
                        if errors.done() and isinstance(end := errors.exception(), TooMuch):
                            raise _given_up(transport, out, err, end, timeout)
                        with suppress(TimeoutError):
                            await asyncio.wait_for(process.wait(), _ENDS)
                        raise await transport.lost(Unfinished(process.returncode, out, err, told.end))
            finally:
                errors.cancel()
                with suppress(asyncio.CancelledError, TooMuch):
                    await errors
                await _end(process)


def _given_up(
    transport: Transport, out: Between, err: Between, problem: TimeoutError | TooMuch, timeout: float | None
) -> TransportError:
    """Why a program is waited for no longer."""
    words = said(out.before, err.before)
    if isinstance(problem, TooMuch):
        return TransportError(never_stops(transport.name, words))
    if not out.has_begun:
        return TransportError(never_ran(transport.name, words))
    return TransportError(f"host {transport.name} does not answer (for {timeout:g} seconds); try again")


def _note_greeting(transport: Transport, out: Between, err: Between) -> None:
    if out.before.size or err.before.size:
        transport.greeting = said(out.before, err.before)


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
    """Gives up where nothing is sent or received for too long, however long the whole takes.

    What start-up files print is no sign that a program comes to run.
    """

    def __init__(self, timeout: float, out: Between) -> None:
        self._timeout, self._out = timeout, out
        self._last = asyncio.get_running_loop().time()

    def __call__(self) -> None:
        if self._out.has_begun:
            self._last = asyncio.get_running_loop().time()

    async def watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for some work as long as anything moves.

        Raises:
            TimeoutError: nothing does.
        """
        task = asyncio.create_task(work)
        try:
            while not task.done():
                timeout = self._timeout if self._out.has_begun else min(self._timeout, STARTS)
                left = self._last + timeout - asyncio.get_running_loop().time()
                if left <= 0:
                    raise TimeoutError
                # The time that it has is another one once it has begun.
                await asyncio.wait([task], timeout=min(left, _LOOK))
            await task
        finally:
            task.cancel()


async def _feed(
    process: asyncio.subprocess.Process, head: bytes, data: bytes | AsyncIterable[bytes], beat: Callable[[], None]
) -> None:
    assert process.stdin is not None
    # It may have ended without reading; what it says then counts.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(head)
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


async def _read(
    source: asyncio.StreamReader | None, output: Between, keep: Callable[[bytes], object], beat: Callable[[], None]
) -> None:
    """Read an output of a program until its end, or that of the way."""
    assert source is not None
    while output.code is None and (chunk := await source.read(CHUNK)):
        keep(output.take(chunk))
        beat()
    keep(output.rest())


async def _read_or_end(process: asyncio.subprocess.Process, output: Between, keep: Callable[[bytes], object]) -> None:
    """Read what a program says of its errors; where start-up files say it without end, the program is ended.

    Raises:
        TooMuch: they do.
    """
    try:
        await _read(process.stderr, output, keep, lambda: None)
    except TooMuch:
        process.kill()
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    # The process would be waited for until its pipes close, and ssh has given those to its master, which keeps them for
    # as long as the command runs there. And what it has said and nobody reads would keep them too.
    process._transport.close()  # type: ignore[attr-defined]
    # It has been killed by that, and is gone in a moment; a loop that ends before would complain on the screen.
    while process.returncode is None:
        await asyncio.sleep(0.01)


class LocalTransport:
    """This machine: the login node of a cluster that one is logged in to, for one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places = asyncio.Semaphore(AT_ONCE)
        self.greeting = ""

    async def open(self) -> None:
        """Nothing is to be done."""

    async def close(self) -> None:
        """Nothing is to be done."""

    def command(self, line: str) -> list[str]:
        """The line, in sh."""
        return ["/bin/sh", "-c", line]

    async def lost(self, command: Unfinished) -> TransportError:
        """The shell was killed: this one reads no start-up files."""
        words = command.told.strip().splitlines()
        return TransportError(f"{self.name}: the command was ended ({words[-1] if words else 'it says no more'})")


def environment_words(name: str) -> list[str]:
    """The words of a command that a variable of the environment holds."""
    try:
        return shlex.split(os.environ.get(name, ""))
    except ValueError as error:
        raise KdtuiError(f"{name} is no command: {error}") from error


def error_line(err: str) -> str:
    """Return the last line that a failed program printed."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says no more"
