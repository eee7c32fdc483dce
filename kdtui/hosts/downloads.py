"""Files of a training come from its host: each checked by its hash, and a folder put in place only when complete."""

import fcntl
import io
import shutil
import tarfile
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kdtui.errors import KdtuiError
from kdtui.hosts.answers import host_error
from kdtui.hosts.batches import SMALL, file_batches
from kdtui.hosts.client import READ_TIMEOUT, HostClient
from kdtui.text import one_line
from models.files.hashing import file_sha256, prefix_digest
from models.files.whole_files import put_in_place, write_whole
from models.sft.job_files import ADAPTER, CHECKPOINTS, LOG, METRICS
from models.sft.protocol import FilesRequest, SendRequest

_GROWING = (LOG, METRICS)
"""Files that a trainer appends to. They are sent one by one, up to the listed size; a tar would hold more by then."""

_TAR_EXTRA = 1 << 14
"""Bytes for the headers of a file in a tar, and for its end."""

_MOST_FILES = 10_000
"""Files of a training on its host; a host that lists more of them lies."""

_RESERVE = 10**9
"""Bytes that a download leaves free on the disk, unless that is more than a hundredth of it."""

_LARGEST = 1 << 60
"""Bytes of a file; larger numbers are lies."""

_MOST_REST = 1 << 10
"""Bytes after a large file: its hash."""

_PART = ".part"
"""The end of the name of a large file until it is complete."""


class _RemoteFile(NamedTuple):
    """A file of a job directory; `sha256` is None where the host sends it after the file."""

    name: str
    size: int
    sha256: str | None


async def download(client: HostClient, job: str, key: str, names: Sequence[str], target: Path) -> int:
    """Download files of a job directory, and those of its folders, and return their number without log and metrics.

    A checkpoint or an adapter is moved into place when it is complete: a partial one would be taken for a complete one.
    The adapter is the last: a training whose adapter is on this machine counts as fetched.

    Args:
        key: of the training, because another one can have the same name.

    Raises:
        TransportError: the connection was lost; partial data is kept, and a retry resumes.
        KdtuiError: the directory is another training's, a file arrived damaged, another process downloads it, or
            there is no room for it.
    """
    with download_folder(target) as partial:
        roots = (target, partial)
        had = {
            path.relative_to(root).as_posix()
            for root in roots
            for name in names
            for path in (root / name, *(root / name).rglob("*"))
            if path.is_file()
        }
        remote = await _list_files(client, job, key, names, sorted(had))
        _delete_unlisted(partial, names, {each.name for each in remote})
        needed = [each for each in remote if not _has_hash(target / each.name, each.sha256)]
        units = {_unit(each.name) for each in needed}
        for name, _, digest in remote:
            if _unit(name) in units and not _has_hash(partial / name, digest) and _has_hash(target / name, digest):
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(target / name, partial / name)
        missing = [each for each in needed if not _has_hash(partial / each.name, each.sha256)]
        _check_room(client, sum(each.size - _size_of(_part(partial / each.name)) for each in missing), target)
        small = [each for each in missing if _travels_in_tar(each)]
        for batch in file_batches([(each, each.size) for each in small]):
            await _download_small(client, job, batch, partial)
        for each in small:
            if not _has_hash(partial / each.name, each.sha256):
                (partial / each.name).unlink(missing_ok=True)
                raise _damaged(client, each.name)
        for each in missing:
            if not _travels_in_tar(each):
                await _download_large(client, job, key, each, partial / each.name)
        for unit in sorted(units, key=lambda unit: (unit == ADAPTER, unit)):
            _move_into_place(partial / unit, target / unit)
        shutil.rmtree(partial)
    return len([each for each in needed if each.name not in _GROWING])


@contextmanager
def download_folder(target: Path) -> Iterator[Path]:
    """Lock a job directory for one download, and yield the folder for incomplete files.

    Raises:
        KdtuiError: another process downloads this training.
    """
    target.mkdir(parents=True, exist_ok=True)
    with (target / "fetch.lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KdtuiError(
                f"{target}: another process is fetching this training; try again when it has finished"
            ) from None
        partial = target / "coming"
        partial.mkdir(exist_ok=True)
        yield partial


async def _list_files(
    client: HostClient, job: str, key: str, names: Sequence[str], had: Sequence[str]
) -> list[_RemoteFile]:
    answer = await client.ask(FilesRequest(job, key, tuple(names), SMALL, tuple(had)), timeout=READ_TIMEOUT)
    if len(answer.files) > _MOST_FILES:
        raise host_error(client.host.name, f"it lists {len(answer.files):,} files, and no training has that many")
    for name, size, _ in answer.files:
        # Anybody can run a host: nothing that it sends may lead out of the folder, or replace other files in it.
        if not _is_below(name, names) or not 0 <= size <= _LARGEST:
            raise host_error(client.host.name, f"it names a file {one_line(name, 100)!r}, which was not asked for")
    return [_RemoteFile(*each) for each in answer.files]


def _delete_unlisted(partial: Path, names: Sequence[str], listed: Set[str]) -> None:
    """Delete what came of the files that are asked for and that the host lists no longer: it could name new ones each
    time. Other files can be the beginning of another download.
    """
    for path in partial.rglob("*"):
        name = path.relative_to(partial).as_posix()
        if path.is_file() and _is_below(name, names) and not {name, name.removesuffix(_PART)} & listed:
            path.unlink()


def _is_below(name: str, names: Sequence[str]) -> bool:
    """Return whether a path is one of these names, or in a folder of this name."""
    path = PurePosixPath(name)
    is_plain = name.isprintable() and str(path) == name and ".." not in path.parts
    return is_plain and any(path == each or each in path.parents for each in map(PurePosixPath, names))


def _part(path: Path) -> Path:
    """Return the name of a large file until it is complete."""
    return path.with_name(f"{path.name}{_PART}")


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _travels_in_tar(each: _RemoteFile) -> bool:
    return each.size <= SMALL and each.name not in _GROWING


def _check_room(client: HostClient, size: int, target: Path) -> None:
    disk = shutil.disk_usage(target)
    if size > 0 and size > disk.free - min(_RESERVE, disk.total // 100):
        raise KdtuiError(
            f"host {client.host.name}: its files take {size / 1e9:,.1f} GB, but only {disk.free / 1e9:,.1f} GB are "
            f"free at {target}; make room, and try again"
        )


async def _download_small(client: HostClient, job: str, files: Sequence[_RemoteFile], target: Path) -> None:
    command = ["tar", "-C", client.job_folder(job), "--null", "--verbatim-files-from", "-T", "-", "-cf", "-"]
    names = [each.name for each in files]
    most = sum(each.size for each in files) + _TAR_EXTRA * (len(files) + 1)
    content = await client.output(command, b"\0".join(name.encode() for name in names), most=most)
    # What is not a plain tar, or lacks a file, shows when the hashes are compared.
    with suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        members = {member.name: member for member in archive}
        for name, size, _ in files:
            member = members.get(name)
            # A sparse file of a few bytes can claim to be of any size.
            if member is None or not member.isreg() or member.issparse() or member.size != size:
                continue
            source = archive.extractfile(member)
            assert source is not None
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, source.read())


async def _download_large(client: HostClient, job: str, key: str, remote: _RemoteFile, path: Path) -> None:
    """Download a file; if the result is wrong, do it once more from the beginning."""
    part = _part(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = remote.size
    for received in (_size_of(part), 0):
        with part.open("r+b" if received else "wb") as file:
            offset = file.seek(min(received, size))
            file.truncate()
            digest = prefix_digest(part, offset)
            rest = bytearray()
            request = SendRequest(job, key, remote.name, offset, size)
            async for chunk in client.stream_answer(request, timeout=READ_TIMEOUT):
                content = chunk[: size - offset]
                file.write(content)
                digest.update(content)
                offset += len(content)
                rest += chunk[len(content) :]
                if len(rest) > _MOST_REST:
                    raise _damaged(client, path.name)
        if offset == size and rest.decode("ascii", "replace").strip() == digest.hexdigest():
            put_in_place(part, path)
            return
    part.unlink()
    raise _damaged(client, path.name)


def _damaged(client: HostClient, name: str) -> KdtuiError:
    return KdtuiError(f"host {client.host.name}: {name} arrived incomplete or damaged; try again")


def _unit(name: str) -> str:
    """Return what is moved into place as a whole: a checkpoint, the adapter, or a file."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[:2] if parts[0] == CHECKPOINTS else parts[:1])


def _has_hash(path: Path, digest: str | None) -> bool:
    return path.is_file() and file_sha256(path) == digest


def _move_into_place(new: Path, place: Path) -> None:
    """Rename a complete file or folder, and drop what was there before."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        # If this process is killed now, the old folder stays in `coming`, and the next download deletes it.
        old = new.with_name(f"{new.name}.part")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    new.rename(place)
