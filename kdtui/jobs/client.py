"""A client of a host: it asks what is there, brings what is missing, and fetches what has come of it."""

import fcntl
import io
import json
import os
import shutil
import tarfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from kdtui.errors import KdtuiError
from kdtui.jobs import package
from kdtui.jobs.ssh import SshTransport
from kdtui.jobs.transport import TIMEOUT, Completed, LocalTransport, Transport, run, stream
from models.files.whole_files import put_in_place, write_whole
from models.sft.host import ADVICE, NEW_WORKDIR, beginning_hash, sha256
from models.sft.job_files import CHECKPOINTS
from models.sft.processes import HasStopped, Stopping
from store.hosts import Host

_SMALL = 1 << 20
"""Bytes of a file below which it travels together with others."""

_TOGETHER = 1 << 25
"""Bytes of small files that travel at once."""

_HASHES = TIMEOUT * 10
"""Seconds that a host may say nothing where it reads what is there of a large file."""

_NO_CODE, _NO_PYTHON = 64, 65
"""The exit codes that say that the package `models` is not there yet, and that there is no such Python."""

_KILLED = 128
"""What a shell adds to the number of the signal that has ended a program."""


class WorkdirError(KdtuiError):
    """Nothing can be written into the folder that a host has for trainings; the message says why."""


class HostClient:
    """A host that is reached. Use `reach` to make one."""

    def __init__(self, host: Host, transport: Transport) -> None:
        self.host = host
        self._transport = transport
        self._workdir = PurePosixPath(host.workdir)

    @property
    def greeting(self) -> str:
        """What start-up files of its shell say before a command; empty where they are silent, or none was run yet."""
        return self._transport.greeting

    @property
    def code(self) -> str:
        """Where the package `models` is there."""
        return str(self._workdir / "code" / package.code().name)

    def job_folder(self, job: str) -> str:
        """Where the directory of a training is there."""
        return str(self._workdir / "jobs" / job)

    def blob(self, tree: package.Tree) -> str:
        """Where the files of a tree are there."""
        return str(self._workdir / "blobs" / tree.key)

    async def ask(
        self, do: str, data: AsyncIterable[bytes] | None = None, *, timeout: float = TIMEOUT, **fields: object
    ) -> Any:
        """Have the host do something, and return its answer; see `models.sft.host`.

        Raises:
            TransportError: the way was lost.
            KdtuiError: the host says why it cannot.
        """
        request = self._request(do, **fields)

        async def both() -> AsyncIterator[bytes]:
            yield request
            if data is not None:
                async for chunk in data:
                    yield chunk

        done = await self._run(self._python, both(), timeout=timeout)
        if done.code == _NO_CODE and data is None:
            await self.bring_code()
            done = await self._run(self._python, both(), timeout=timeout)
        with suppress(ValueError, IndexError):
            return self._told(done.out.splitlines()[-1])
        raise self._no_answer(done.code, done.err)

    async def cancel(self, job: str, key: str, grace: float) -> AsyncIterator[Stopping | HasStopped]:
        """Have the host stop a training, and tell how it is waited for; see `models.sft.processes.stop`.

        Raises:
            TransportError: the way was lost; the training stops by itself.
            KdtuiError: the host says why it cannot.
        """
        request = self._request("cancel", job=job, id=key, grace=grace)
        held = b""
        async for chunk in stream(self._transport, self._python, request):
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                if "stopping" in (said := json.loads(line)):
                    yield Stopping(**said["stopping"])
                else:
                    yield HasStopped(tuple(self._told(line)["left"]))
                    return
        raise KdtuiError(f"host {self.host.name}: it does not say what became of training {job!r}; try again")

    @property
    def _python(self) -> list[str]:
        """What answers requests there."""
        # Looked for first: the Python there may have a package `models` of its own, of another version. And without -P
        # a folder of the user's named like a module of Python would be taken for it.
        script = (
            f'[ -e "$1" ] || exit {_NO_CODE}; command -v "$2" >/dev/null || exit {_NO_PYTHON}; '
            'exec env PYTHONPATH="$1" "$2" -P -m models.sft.host'
        )
        return ["sh", "-c", script, "sh", self.code, self.host.settings.python]

    def _request(self, do: str, **fields: object) -> bytes:
        return json.dumps({"do": do, "workdir": str(self._workdir), **fields}).encode() + b"\n"

    def _told(self, line: bytes) -> Any:
        """What a line answers.

        Raises:
            KdtuiError: the host says why it cannot.
            ValueError: it is no answer.
        """
        answer = json.loads(line)
        if "error" in answer:
            raise KdtuiError(f"host {self.host.name}: {answer['error']}")
        return answer["ok"]

    def _not_whole(self, name: str) -> KdtuiError:
        return KdtuiError(f"host {self.host.name}: {name} did not come whole; try again")

    async def bring(self, tree: package.Tree, missing: dict[str, object]) -> None:
        """Bring the files of a tree that the host does not have whole, each from where it was left.

        Args:
            missing: what `have` says of each.

        Raises:
            TransportError: the way was lost; what came stays, and is gone on from.
            KdtuiError: the host has no room, or a file did not come whole.
        """
        small = [(name, path, size) for name, path, size, _ in tree.files if not missing[name] and size <= _SMALL]
        digests = {name: digest for name, *_, digest in tree.files}
        for part in _parts(small):
            # Together: for each alone Python would be started twice there.
            names = [name for name, *_ in part]
            with package.packed(part[0][1].parent, names, {}) as file:
                expected = {name: digests[name] for name in names}
                await self.ask("unpack", package.chunks(file), folder=self.blob(tree), files=expected)
        together = {name for name, *_ in small}
        for name, path, size, digest in tree.files:
            if missing[name] == "whole" or name in together:
                continue
            target = str(PurePosixPath(self.blob(tree)) / name)
            there = missing[name]
            offset = there if isinstance(there, int) and there <= size else 0
            with path.open("rb") as file:
                file.seek(offset)
                await self.ask(
                    "receive",
                    package.chunks(file),
                    part=f"{target}.part",
                    offset=offset,
                    target=target,
                    size=size,
                    sha256=digest,
                    timeout=_HASHES,
                )

    async def fetch(self, job: str, key: str, names: Sequence[str], target: Path) -> int:
        """Fetch files of a job directory, and those of its folders, each checked by its hash; return how many came.

        A folder has its place when it is whole: a checkpoint, or an adapter, that is half there would be taken for it.

        Args:
            key: of the training, so that it is no other of the same name.

        Raises:
            TransportError: the way was lost; what came stays, and is gone on from.
            KdtuiError: the directory is another training's, a file did not come whole, or another process fetches it.
        """
        with fetching(target) as coming:
            roots = (target, coming)
            had = {
                path.relative_to(root).as_posix()
                for root in roots
                for name in names
                for path in (root / name, *(root / name).rglob("*"))
                if path.is_file()
            }
            told = await self._files(job, key, names, sorted(had))
            wanted = [each for each in told if not _is(target / each[0], each[2])]
            units = {_unit(name) for name, *_ in wanted}
            for name, _, digest in told:
                if _unit(name) in units and not _is(coming / name, digest) and _is(target / name, digest):
                    (coming / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(target / name, coming / name)
            missing = [each for each in wanted if not _is(coming / each[0], each[2])]
            small = [(name, digest, size) for name, size, digest in missing if size <= _SMALL]
            for part in _parts(small):
                await self._fetch_small(job, [name for name, *_ in part], coming)
            for name, digest, _ in small:
                if not _is(coming / name, digest):
                    (coming / name).unlink(missing_ok=True)
                    raise self._not_whole(name)
            for name, size, _ in missing:
                if size > _SMALL:
                    await self._fetch_large(job, key, name, size, coming / name)
            for unit in sorted(units):
                _give_place(coming / unit, target / unit)
            shutil.rmtree(coming)
        return len(wanted)

    async def _files(
        self, job: str, key: str, names: Sequence[str], had: Sequence[str]
    ) -> list[tuple[str, int, str | None]]:
        answer = await self.ask("files", job=job, id=key, names=list(names), large=_SMALL, had=had, timeout=_HASHES)
        for name, *_ in answer["files"]:
            # A host may be anybody's: nothing it says leads out of the folder.
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise KdtuiError(f"host {self.host.name}: it names a file {name!r}, which is in no job directory")
        return [(name, size, digest) for name, size, digest in answer["files"]]

    async def follow(self, path: str, offset: int) -> AsyncIterator[bytes]:
        """A file from an offset on, and what is added to it, for ever.

        Raises:
            TransportError: the way was lost.
        """
        # Our end of its input closes with us, however we end, and so nothing of this is left there.
        script = 'tail -c "+$2" -F "$1" 2>/dev/null & tail=$!; cat >/dev/null; kill "$tail"'
        async for chunk in stream(self._transport, ["sh", "-c", script, "sh", path, str(offset + 1)], timeout=None):
            yield chunk

    async def pieces(self, path: str) -> AsyncIterator[bytes]:
        """A file, piece by piece; nothing of one that is not there.

        Raises:
            TransportError: the way was lost.
        """
        async for chunk in stream(self._transport, ["cat", path]):
            yield chunk

    async def read(self, path: str, offset: int) -> bytes:
        """A file from an offset on; empty where it is not there.

        Raises:
            TransportError: the way was lost.
            KdtuiError: it cannot be read.
        """
        script = '[ ! -e "$1" ] || tail -c "+$2" "$1"'
        done = await self._run(["sh", "-c", script, "sh", path, str(offset + 1)])
        if done.code:
            raise KdtuiError(f"host {self.host.name}: {last_line(done.err)}")
        return done.out

    async def read_part(self, path: str, offset: int, length: int) -> tuple[int, bytes]:
        """The size of a file, and so many bytes from an offset on; nothing of one that is not there.

        Raises:
            TransportError: the way was lost.
        """
        script = 'wc -c <"$1" && tail -c "+$2" "$1" | head -c "$3"'
        done = await self._run(["sh", "-c", script, "sh", path, str(offset + 1), str(length)])
        size, newline, part = done.out.partition(b"\n")
        return (int(size), part) if newline else (0, b"")

    async def bring_code(self) -> None:
        """Bring the package `models`, whole or not at all."""
        content = package.code().content
        # A name of its own: two clients may bring it at once.
        script = (
            # Why it fails is looked up in what it says.
            'export LC_ALL=C; mkdir -p "${1%/*}" && cat >"$1.$$.part" && '
            '[ "$(wc -c <"$1.$$.part")" -eq "$2" ] && mv -f "$1.$$.part" "$1" || { rm -f "$1.$$.part"; exit 1; }'
        )
        done = await self._run(["sh", "-c", script, "sh", self.code, str(len(content))], content)
        if done.code:
            raise self._not_writable(done.err)

    async def _fetch_small(self, job: str, part: Sequence[str], target: Path) -> None:
        names = b"\0".join(name.encode() for name in part)
        command = ["tar", "-C", self.job_folder(job), "--null", "--verbatim-files-from", "-T", "-", "-cf", "-"]
        done = await self._run(command, names)
        if done.code:
            raise KdtuiError(f"host {self.host.name}: {last_line(done.err)}")
        with tarfile.open(fileobj=io.BytesIO(done.out)) as archive:
            for name in part:
                member = archive.extractfile(name)
                if member is None:
                    continue
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, member.read())

    async def _fetch_large(self, job: str, key: str, name: str, size: int, path: Path) -> None:
        part = path.with_name(f"{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        for there in (part.stat().st_size if part.exists() else 0, 0):
            with part.open("r+b" if there else "wb") as file:
                offset = file.seek(min(there, size))
                file.truncate()
                digest = beginning_hash(part, offset)
                request = self._request("send", job=job, id=key, name=name, offset=offset, size=size)
                behind = bytearray()
                async for chunk in self._sent(stream(self._transport, self._python, request, timeout=_HASHES)):
                    content = chunk[: size - offset]
                    file.write(content)
                    digest.update(content)
                    offset += len(content)
                    behind += chunk[len(content) :]
            if offset == size and behind.decode("ascii", "replace").strip() == digest.hexdigest():
                put_in_place(part, path)
                return
        part.unlink()
        raise self._not_whole(path.name)

    async def _sent(self, answer: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What is behind the first line of an answer.

        Raises:
            KdtuiError: that line says why there is nothing.
        """
        line, newline = b"", b""
        async for chunk in answer:
            if not newline:
                line, newline, chunk = (line + chunk).partition(b"\n")
                if newline:
                    self._told(line)
            if newline:
                yield chunk

    async def _run(
        self, command: list[str], data: bytes | AsyncIterable[bytes] = b"", *, timeout: float = TIMEOUT
    ) -> Completed:
        return await run(self._transport, command, data, timeout=timeout)

    def _not_writable(self, err: str) -> WorkdirError:
        told = err.lower()
        advice = next((each for number, each in ADVICE.items() if os.strerror(number).lower() in told), NEW_WORKDIR)
        return WorkdirError(
            f"host {self.host.name}: its workdir {self._workdir} cannot be written ({last_line(err)}); {advice}"
        )

    def _no_answer(self, code: int, err: str) -> KdtuiError:
        python = self.host.settings.python
        another = f"name one of version 3.11 or newer with: kdtui host set {self.host.name} --python PATH"
        if code == _NO_PYTHON:
            return KdtuiError(f"host {self.host.name}: there is no Python at {python}; {another}")
        if "SyntaxError" in err or "unknown option -p" in err.lower():
            return KdtuiError(f"host {self.host.name}: {python} is too old; {another}")
        if code > _KILLED:
            return KdtuiError(
                f"host {self.host.name}: {python} was ended there by signal {code - _KILLED}, as it is where memory is "
                "short; try again"
            )
        if "Traceback" in err:
            return KdtuiError(f"host {self.host.name}: {last_line(err)}")
        return KdtuiError(
            f"host {self.host.name}: {python} does not run there, and ends with exit code {code} ({last_line(err)}); "
            f"{another}"
        )


@asynccontextmanager
async def connected(name: str, ssh: str | None) -> AsyncIterator[Transport]:
    """The way to a machine, and nothing left of it behind.

    Args:
        ssh: how OpenSSH knows it; None for this machine.

    Raises:
        TransportError: it cannot be reached.
    """
    transport: Transport = LocalTransport(name) if ssh is None else SshTransport(name, ssh)
    try:
        # A cancel while it opens leaves nothing behind either.
        await transport.open()
        yield transport
    finally:
        await transport.close()


@asynccontextmanager
async def reach(host: Host) -> AsyncIterator[HostClient]:
    """A client of a host, as long as the way to it is open.

    Raises:
        TransportError: it cannot be reached.
    """
    async with connected(host.name, host.ssh) as transport:
        yield HostClient(host, transport)


@contextmanager
def fetching(target: Path) -> Iterator[Path]:
    """The folder for what comes and is not whole yet, for one process at a time.

    Raises:
        KdtuiError: another one fetches this training.
    """
    target.mkdir(parents=True, exist_ok=True)
    with (target / "fetch.lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KdtuiError(
                f"{target}: another process is fetching this training; try again when it is here"
            ) from None
        coming = target / "coming"
        coming.mkdir(exist_ok=True)
        yield coming


def _unit(name: str) -> str:
    """What has its place as a whole: a checkpoint, the adapter, or a file."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[:2] if parts[0] == CHECKPOINTS else parts[:1])


def _is(path: Path, digest: str | None) -> bool:
    return path.is_file() and sha256(path) == digest


def _give_place(new: Path, place: Path) -> None:
    """Rename what has come whole, and drop what was there before it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        # What is left of it after a kill is no checkpoint to anybody, and goes with the next fetch.
        old = new.with_name(f"{new.name}.part")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    new.rename(place)


def _parts(files: Sequence[tuple[str, Any, int]]) -> Iterator[list[tuple[str, Any, int]]]:
    """Files, each with its size as the last of three, in as many parts as are to travel one after the other."""
    part: list[tuple[str, Any, int]] = []
    size = 0
    for each in files:
        if part and size + each[-1] > _TOGETHER:
            yield part
            part, size = [], 0
        part.append(each)
        size += each[-1]
    if part:
        yield part


def last_line(err: str) -> str:
    """What a program that failed has said last."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says no more"
