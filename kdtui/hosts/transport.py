"""Runs commands on a machine, with their input and output. The local machine has the same interface."""

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
from kdtui.hosts.shell import (
    STARTS,
    EndlessOutput,
    MarkedOutput,
    ShellCommand,
    TextEnds,
    never_ran,
    never_stops,
    start_up_words,
)
from kdtui.text import one_line

CHUNK = 1 << 18
"""Bytes that are read or written at a time."""

_PIPE = 1 << 20
"""Size of a pipe, if the system allows to choose it."""

_ENDS = 1.0
"""Seconds for a program to exit after the end of its output."""

_LOOK = 1.0
"""Seconds between two checks for a timeout."""

_KEPT_ERRORS = 1 << 16
"""Bytes of stderr that are kept."""

MAX_COMMANDS = 8
"""Commands through one connection at a time: sshd allows ten (MaxSessions), including the connection itself."""

MOST_OUTPUT = 1 << 26
"""Bytes that a command can print: more than any answer has, so that a hostile host cannot fill the memory."""

TIMEOUT = 120.0
"""Seconds without output after which a command is given up; otherwise a silent host would block it forever."""


class TransportError(KdtuiError):
    """A machine cannot be reached, or the connection was lost; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a command."""

    code: int
    out: bytes
    err: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A command that was cut off.

    Attributes:
        code: the exit code of the local program, such as ssh.
        out, err: its outputs, which show whether the command was started.
        errors: the end of its stderr.
    """

    code: int | None
    out: MarkedOutput
    err: MarkedOutput
    errors: str


class Transport(Protocol):
    """A connection to a machine.

    Attributes:
        name: its name for the user.
        places: limits the commands that run at a time.
        greeting: what start-up files of its shell printed before a command, as the end of a sentence; empty if nothing.
    """

    name: str
    places: asyncio.Semaphore
    greeting: str

    async def open(self) -> None:
        """Connect to the machine.

        Raises:
            TransportError: it cannot be reached.
        """

    async def close(self) -> None:
        """Disconnect; leave no process behind."""

    def command(self, line: str) -> list[str]:
        """Return the local command that runs a line of sh on the machine."""

    async def lost(self, command: Unfinished) -> TransportError:
        """Return why a command was cut off."""


async def run_command(
    transport: Transport,
    arguments: Sequence[str],
    data: bytes | AsyncIterable[bytes] = b"",
    *,
    timeout: float = TIMEOUT,
    most: int = MOST_OUTPUT,
) -> Completed:
    """Run a program on the machine, and wait for its end.

    Args:
        data: its input.
        timeout: seconds without anything sent or received.
        most: bytes that it can print.

    Raises:
        TransportError: the connection was lost before the program ended, and the program may still run; or the shell
            on the machine does not run it.
        KdtuiError: the program prints more.
    """
    command = ShellCommand(arguments)
    out, err = MarkedOutput(command.mark), MarkedOutput(command.mark)
    answer, errors = bytearray(), TextEnds(_KEPT_ERRORS)

    def keep(chunk: bytes) -> None:
        answer.extend(chunk)
        if len(answer) > most:
            raise KdtuiError(f"host {transport.name}: it sends more than it was asked for")

    async with transport.places:
        process = await _start(transport, command.line)
        beat = _Beat(timeout, out)
        feeding = asyncio.create_task(_feed(process, command.input, data, beat))
        try:
            # A background process of a start-up file keeps the output open. The end is the closing mark.
            await asyncio.gather(
                beat.watch(_read(process.stdout, out, keep, beat)),
                beat.watch(_read(process.stderr, err, errors.add, beat)),
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(_ENDS):
                    await process.wait()
        except (TimeoutError, EndlessOutput) as problem:
            raise _given_up(transport, out, err, problem, timeout) from None
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await _end(process)
    if out.code is None:
        # The exit code 255 of ssh can be its own or that of the command.
        raise await transport.lost(Unfinished(process.returncode, out, err, errors.end))
    _note_greeting(transport, out, err)
    return Completed(out.code, bytes(answer), errors.end)


async def stream_command(
    transport: Transport, arguments: Sequence[str], data: bytes = b"", *, timeout: float | None = TIMEOUT
) -> AsyncGenerator[bytes]:
    """Run a program on the machine, and yield its output as it arrives.

    Args:
        data: its input, which stays open after that.
        timeout: seconds without anything received; None for no limit.

    Raises:
        TransportError: the connection was lost; the output so far is correct. Or the shell on the machine does not run
            it.
    """
    command = ShellCommand(arguments)
    out, err = MarkedOutput(command.mark), MarkedOutput(command.mark)
    kept = TextEnds(_KEPT_ERRORS)
    async with transport.places:
        with _pipe() as (reading, writing):
            process = await _start(transport, command.line, stdout=writing.fileno())
            writing.close()
            errors = asyncio.create_task(_read_or_end(process, err, kept.add))
            limit = asyncio.get_running_loop().time() + STARTS
            try:
                assert process.stdin is not None
                process.stdin.write(command.input + data)
                while True:
                    left = timeout if out.has_begun else max(0.0, limit - asyncio.get_running_loop().time())
                    try:
                        async with asyncio.timeout(left):
                            await _readable(reading)
                        chunk = reading.read(_PIPE)
                        body = out.take(chunk)
                    except (TimeoutError, EndlessOutput) as problem:
                        raise _given_up(transport, out, err, problem, timeout) from None
                    if body:
                        yield body
                    if out.code is not None:
                        with suppress(TimeoutError):
                            # It ends by itself. If it is killed at that moment, asyncio prints a warning to the screen.
                            async with asyncio.timeout(_ENDS):
                                await process.wait()
                        return
                    if not chunk:
                        if rest := out.rest():
                            yield rest
                        await asyncio.wait([errors], timeout=_ENDS)
                        if errors.done() and isinstance(end := errors.exception(), EndlessOutput):
                            raise _given_up(transport, out, err, end, timeout)
                        with suppress(TimeoutError):
                            async with asyncio.timeout(_ENDS):
                                await process.wait()
                        raise await transport.lost(Unfinished(process.returncode, out, err, kept.end))
            finally:
                errors.cancel()
                try:
                    # How it ended does not matter here, but a cancellation of this task does.
                    await asyncio.gather(errors, return_exceptions=True)
                finally:
                    await _end(process)


def _given_up(
    transport: Transport,
    out: MarkedOutput,
    err: MarkedOutput,
    problem: TimeoutError | EndlessOutput,
    timeout: float | None,
) -> TransportError:
    """Return why a program was given up."""
    words = start_up_words(out.before, err.before)
    if isinstance(problem, EndlessOutput):
        return TransportError(never_stops(transport.name, words))
    if not out.has_begun:
        return TransportError(never_ran(transport.name, words))
    return TransportError(f"host {transport.name} does not answer (for {timeout:g} seconds); try again")


def _note_greeting(transport: Transport, out: MarkedOutput, err: MarkedOutput) -> None:
    if out.before.size or err.before.size:
        transport.greeting = start_up_words(out.before, err.before)


@contextmanager
def _pipe() -> Iterator[tuple[io.FileIO, io.FileIO]]:
    """Open a large pipe.

    Reading from it takes half of the processor time of a stream of asyncio, which copies the data several times.
    """
    reading, writing = os.pipe()
    with io.FileIO(reading, "rb") as source, io.FileIO(writing, "wb") as target:
        # Linux allows to change the size, up to a limit per user.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE)
        yield source, target


async def _readable(file: io.FileIO) -> None:
    """Wait until a file has data, or is at its end."""
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
            # An interrupt is only for this process: the program must not end before a cancel has waited for it.
            start_new_session=True,
        )
    except OSError as error:
        raise TransportError(f"{command[0]}: {error.strerror}") from error


class _Beat:
    """A timeout that restarts whenever data is sent or received.

    The output of start-up files does not restart it, because the program does not run yet.
    """

    def __init__(self, timeout: float, out: MarkedOutput) -> None:
        self._timeout, self._out = timeout, out
        self._last = asyncio.get_running_loop().time()

    def __call__(self) -> None:
        if self._out.has_begun:
            self._last = asyncio.get_running_loop().time()

    async def watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for some work until the timeout.

        Raises:
            TimeoutError: nothing was sent or received in time.
        """
        task = asyncio.create_task(work)
        try:
            while not task.done():
                timeout = self._timeout if self._out.has_begun else min(self._timeout, STARTS)
                left = self._last + timeout - asyncio.get_running_loop().time()
                if left <= 0:
                    raise TimeoutError
                # The limit changes when the program begins.
                await asyncio.wait([task], timeout=min(left, _LOOK))
            await task
        finally:
            task.cancel()


async def _feed(
    process: asyncio.subprocess.Process, head: bytes, data: bytes | AsyncIterable[bytes], beat: Callable[[], None]
) -> None:
    assert process.stdin is not None
    # It can have ended without reading; its output counts then.
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
    source: asyncio.StreamReader | None, output: MarkedOutput, keep: Callable[[bytes], object], beat: Callable[[], None]
) -> None:
    """Read an output of a program until its end, or until the connection is lost."""
    assert source is not None
    while output.code is None and (chunk := await source.read(CHUNK)):
        keep(output.take(chunk))
        beat()
    keep(output.rest())


async def _read_or_end(
    process: asyncio.subprocess.Process, output: MarkedOutput, keep: Callable[[bytes], object]
) -> None:
    """Read the stderr of a program; kill the program if start-up files print without end.

    Raises:
        EndlessOutput: they print without end.
    """
    try:
        await _read(process.stderr, output, keep, lambda: None)
    except EndlessOutput:
        process.kill()
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    # asyncio waits for a process until its pipes close. ssh has passed them to its master, which keeps them open as
    # long as the command runs on the machine. Unread output keeps them open too.
    process._transport.close()  # type: ignore[attr-defined]
    # Closing the transport has killed it. If the event loop ends before the process, asyncio prints a warning to the
    # screen.
    while process.returncode is None:
        await asyncio.sleep(0.01)


class LocalTransport:
    """This machine; for example the login node of a cluster."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places = asyncio.Semaphore(MAX_COMMANDS)
        self.greeting = ""

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def command(self, line: str) -> list[str]:
        """Return the command that runs the line in sh."""
        return ["/bin/sh", "-c", line]

    async def lost(self, command: Unfinished) -> TransportError:
        """Return the error: the shell was killed, because `/bin/sh -c` reads no start-up files."""
        words = command.errors.strip().splitlines()
        return TransportError(
            f"{self.name}: the command was ended ({words[-1] if words else 'without an error message'})"
        )


def environment_words(name: str) -> list[str]:
    """Return the words of the command in an environment variable."""
    try:
        return shlex.split(os.environ.get(name, ""))
    except ValueError as error:
        raise KdtuiError(f"{name} is not a command: {error}") from error


def error_line(err: str) -> str:
    """Return the last line that a failed program printed."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    return one_line(lines[-1], 300) if lines else "no error message"
