"""A client of a host: it sends requests of `models.sft.protocol`, and reads files there."""

import os
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import Any

from kdtui.errors import KdtuiError
from kdtui.hosts import package
from kdtui.hosts.answers import MOST_ANSWER, AnswerLines, Malformed, host_error, read_count, read_host_answer
from kdtui.hosts.ssh import SshTransport
from kdtui.hosts.transport import (
    MOST_OUTPUT,
    TIMEOUT,
    Completed,
    LocalTransport,
    Transport,
    error_line,
    run_command,
    stream_command,
)
from models.errors import ModelError
from models.sft.host.workdir import NEW_WORKDIR, WORKDIR_ADVICE
from models.sft.log_pieces import MOST_PIECE, LogPiece, LogPosition
from models.sft.messages_as_json import AnswerT, Request, check_version, read_message, request_line
from models.sft.processes import HasStopped, Stopping
from models.sft.protocol import CancelRequest, FollowRequest, PieceHead
from store.hosts import Host

_MOST_SIZE = 1 << 6
"""Bytes of the line with the size of a file."""

READ_TIMEOUT = TIMEOUT * 10
"""Seconds that a host can be silent while it reads a large file in order to hash it."""

_NO_CODE, _NO_PYTHON = 64, 65
"""The exit codes for a missing package `models` and for a missing Python."""

_KILLED = 128
"""What a shell adds to the number of the signal that ended a program."""


class WorkdirError(KdtuiError):
    """The workdir of a host cannot be written; the message says why."""


class HostClient:
    """A host that is connected. Use `reach` to make one."""

    def __init__(self, host: Host, transport: Transport) -> None:
        self.host = host
        self._transport = transport
        self._workdir = PurePosixPath(host.workdir)

    @property
    def greeting(self) -> str:
        """What start-up files of its shell print before a command; empty before the first command, or if nothing."""
        return self._transport.greeting

    @property
    def code(self) -> str:
        """The path of the package `models` on the host.

        Its name has a hash of the content, so an older copy is never used.
        """
        return str(self._workdir / "code" / package.code().name)

    def job_folder(self, job: str) -> str:
        """Return the path of a job directory on the host."""
        return str(self._workdir / "jobs" / job)

    def blob(self, tree: package.Tree) -> str:
        """Return the path of the files of a tree on the host."""
        return str(self._workdir / "blobs" / tree.key)

    async def ask(
        self,
        request: Request[AnswerT],
        data: AsyncIterable[bytes] | None = None,
        *,
        timeout: float = TIMEOUT,
        silence: float | None = None,
    ) -> AnswerT:
        """Send a request, and return its answer.

        Args:
            data: follows the request.
            timeout: seconds without anything sent or received.
            silence: seconds without data after which the host gives up; None for its own limit.

        Raises:
            TransportError: the connection was lost.
            KdtuiError: the host refuses, or its answer is malformed; the message says why.
        """
        line = request_line(request, str(self._workdir), silence=silence)

        async def line_and_data() -> AsyncIterator[bytes]:
            yield line
            if data is not None:
                async for chunk in data:
                    yield chunk

        done = await self._run(self._python, line_and_data(), timeout=timeout, most=MOST_ANSWER)
        if done.code == _NO_CODE and data is None:
            await self.send_code()
            done = await self._run(self._python, line_and_data(), timeout=timeout, most=MOST_ANSWER)
        try:
            content = read_host_answer(done.out.rstrip(b"\n").rpartition(b"\n")[2])
        except Malformed as problem:
            if done.code or not done.out:
                raise self._no_answer(done.code, done.err) from problem
            raise self._error(str(problem)) from problem
        return self._read(request, content)

    async def cancel(self, job: str, key: str, grace: float) -> AsyncIterator[Stopping | HasStopped]:
        """Stop a training, and report the progress of the wait; see `models.sft.processes.stop_trainer`.

        Raises:
            TransportError: the connection was lost; the training stops nevertheless.
            KdtuiError: the host refuses; the message says why.
        """
        request = CancelRequest(job, key, grace)
        lines = AnswerLines()
        async for chunk in stream_command(self._transport, self._python, request_line(request, str(self._workdir))):
            line = self._next_line(lines, chunk)
            while line is not None:
                content = self._content(line)
                if "stopping" in content:
                    yield self._checked(Stopping, content["stopping"])
                else:
                    yield self._read(request, content)
                    return
                line = self._next_line(lines, b"")
        raise self._error(f"it did not say whether training {job!r} has stopped; try again")

    async def stream_answer(self, request: Request[None], *, timeout: float | None = TIMEOUT) -> AsyncIterator[bytes]:
        """Send a request, and yield the bytes that follow its answer.

        Args:
            timeout: seconds without anything received; None for no limit.

        Raises:
            TransportError: the connection was lost.
            KdtuiError: the host refuses, or its answer is malformed; the message says why.
        """
        lines = AnswerLines()
        has_answered = False
        sent = request_line(request, str(self._workdir))
        async for chunk in stream_command(self._transport, self._python, sent, timeout=timeout):
            if has_answered:
                yield chunk
            elif (line := self._next_line(lines, chunk)) is not None:
                self._read(request, self._content(line))
                has_answered = True
                yield bytes(lines.incomplete)

    async def output(self, command: list[str], data: bytes = b"", *, most: int = MOST_OUTPUT) -> bytes:
        """Run a program on the host, and return what it prints.

        Args:
            most: bytes that it can print.

        Raises:
            TransportError: the connection was lost.
            KdtuiError: the program failed, and the message is the last line of its errors; or it prints more.
        """
        done = await self._run(command, data, most=most)
        if done.code:
            raise self._error(error_line(done.err))
        return done.out

    async def follow(self, job: str, key: str, position: LogPosition) -> AsyncIterator[LogPiece]:
        """Yield the log of a training after a position, and what is appended to it, without end.

        A log that was shortened or replaced comes from its beginning, with offset 0.

        Raises:
            TransportError: the connection was lost.
            KdtuiError: the host refuses, or what it sends is malformed; the message says why.
        """
        # The host ends when its input closes, because this process has ended for whatever reason.
        request = FollowRequest(job, key, position.offset, position.end.decode("latin-1"))
        lines = AnswerLines()
        head: PieceHead | None = None
        async for chunk in self.stream_answer(request, timeout=None):
            lines.incomplete += chunk
            while True:
                if head is None:
                    if (line := self._next_line(lines, b"")) is None:
                        break
                    content = self._content(line)
                    if "error" in content:
                        raise self._error(str(content["error"]))
                    head = self._checked(PieceHead, content.get("piece"))
                    if head.offset < 0 or not 0 <= head.size <= MOST_PIECE:
                        raise self._error("it sends an impossible part of a log")
                if len(lines.incomplete) < head.size:
                    break
                yield LogPiece(head.offset, bytes(lines.incomplete[: head.size]))
                del lines.incomplete[: head.size]
                head = None

    async def pieces(self, path: str) -> AsyncIterator[bytes]:
        """Yield the content of a file; nothing if it does not exist.

        Raises:
            TransportError: the connection was lost.
        """
        async for chunk in stream_command(self._transport, ["cat", path]):
            yield chunk

    async def read(self, path: str, offset: int) -> bytes:
        """Return the content of a file from an offset on; empty if it does not exist.

        Raises:
            TransportError: the connection was lost.
            KdtuiError: it cannot be read.
        """
        script = '[ ! -e "$1" ] || tail -c "+$2" "$1"'
        return await self.output(["sh", "-c", script, "sh", path, str(offset + 1)])

    async def read_part(self, path: str, offset: int, length: int) -> tuple[int, bytes]:
        """Return the size of a file and `length` bytes from an offset on; (0, b"") if it does not exist.

        Raises:
            TransportError: the connection was lost.
            KdtuiError: the host sends something else.
        """
        script = 'wc -c <"$1" && tail -c "+$2" "$1" | head -c "$3"'
        command = ["sh", "-c", script, "sh", path, str(offset + 1), str(length)]
        done = await self._run(command, most=length + _MOST_SIZE)
        size, newline, part = done.out.partition(b"\n")
        if not newline:
            return 0, b""
        try:
            return read_count(size), part
        except Malformed as problem:
            raise self._error(str(problem)) from problem

    async def send_code(self) -> None:
        """Upload the package `models`, completely or not at all.

        Raises:
            TransportError: the connection was lost.
            WorkdirError: the host cannot write it.
        """
        content = package.code().content
        # The part is named by process: two clients can upload at the same time.
        script = (
            # The reason of a failure is looked up in the English error message.
            "export LC_ALL=C; "
            # Whoever can write there runs code as this user. An earlier version may have left the folder open.
            'umask 077; mkdir -p "${1%/*}" && chmod go-rwx "${1%/*}" && cat >"$1.$$.part" && '
            '[ "$(wc -c <"$1.$$.part")" -eq "$2" ] && mv -f "$1.$$.part" "$1" || { rm -f "$1.$$.part"; exit 1; }'
        )
        done = await self._run(["sh", "-c", script, "sh", self.code, str(len(content))], content)
        if done.code:
            raise self._not_writable(done.err)

    @property
    def _python(self) -> list[str]:
        """The command that answers requests."""
        # The code is looked for first: the Python there can have a package `models` of its own, of another version.
        # Without -P, a folder of the user's with the name of a standard module would be imported in its place.
        script = (
            f'[ -e "$1" ] || exit {_NO_CODE}; command -v "$2" >/dev/null || exit {_NO_PYTHON}; '
            'exec env PYTHONPATH="$1" "$2" -P -m models.sft.host'
        )
        return ["sh", "-c", script, "sh", self.code, self.host.settings.python]

    def _next_line(self, lines: AnswerLines, chunk: bytes) -> bytes | None:
        try:
            return lines.take(chunk)
        except Malformed as problem:
            raise self._error(str(problem)) from problem

    def _content(self, line: bytes) -> dict[str, Any]:
        try:
            return read_host_answer(line)
        except Malformed as problem:
            raise self._error(str(problem)) from problem

    def _read(self, request: Request[AnswerT], content: dict[str, Any]) -> AnswerT:
        """Read an answer.

        Raises:
            KdtuiError: the host refuses, speaks another version of the protocol, or its answer is malformed.
        """
        try:
            check_version(content, "it", f"delete {self.code} there, and try again")
        except ModelError as problem:
            raise self._error(str(problem)) from problem
        if "error" in content:
            raise self._error(str(content["error"]))
        if "ok" not in content:
            raise self._error("its answer tells nothing")
        answer: AnswerT = self._checked(request.answer, content["ok"])
        if (lack := request.lack(answer)) is not None:
            raise self._error(f"its answer does not tell {lack}")
        return answer

    def _checked(self, kind: Any, content: object) -> Any:
        try:
            return read_message(kind, content)
        except ModelError as problem:
            raise self._error(str(problem)) from problem

    def _error(self, words: str) -> KdtuiError:
        return host_error(self.host.name, words)

    async def _run(
        self,
        command: list[str],
        data: bytes | AsyncIterable[bytes] = b"",
        *,
        timeout: float = TIMEOUT,
        most: int = MOST_OUTPUT,
    ) -> Completed:
        return await run_command(self._transport, command, data, timeout=timeout, most=most)

    def _not_writable(self, err: str) -> WorkdirError:
        lower = err.lower()
        advice = next(
            (each for number, each in WORKDIR_ADVICE.items() if os.strerror(number).lower() in lower), NEW_WORKDIR
        )
        return WorkdirError(
            f"host {self.host.name}: its workdir {self._workdir} cannot be written ({error_line(err)}); {advice}"
        )

    def _no_answer(self, code: int, err: str) -> KdtuiError:
        python = self.host.settings.python
        another = f"name one of version 3.11 or newer with: kdtui host set {self.host.name} --python PATH"
        if code == _NO_PYTHON:
            return self._error(f"there is no Python at {python}; {another}")
        if "SyntaxError" in err or "unknown option -p" in err.lower():
            return self._error(f"{python} is too old; {another}")
        if code > _KILLED:
            return self._error(
                f"{python} was killed there by signal {code - _KILLED}, perhaps because memory ran out; try again"
            )
        if "Traceback" in err:
            return self._error(error_line(err))
        return self._error(
            f"{python} does not run there, and ends with exit code {code} ({error_line(err)}); {another}"
        )


@asynccontextmanager
async def connected(name: str, ssh: str | None) -> AsyncIterator[Transport]:
    """Connect to a machine, and disconnect at the end.

    Args:
        ssh: its alias for OpenSSH; None for this machine.

    Raises:
        TransportError: it cannot be reached.
    """
    transport: Transport = LocalTransport(name) if ssh is None else SshTransport(name, ssh)
    try:
        # A cancel while it opens closes it too.
        await transport.open()
        yield transport
    finally:
        await transport.close()


@asynccontextmanager
async def reach(host: Host) -> AsyncIterator[HostClient]:
    """Connect to a host, and yield a client of it.

    Raises:
        TransportError: it cannot be reached.
    """
    async with connected(host.name, host.ssh) as transport:
        yield HostClient(host, transport)
