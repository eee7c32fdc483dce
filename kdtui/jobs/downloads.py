"""Files of a training come from its host: each checked by its hash, and a folder put in place only when complete."""

import fcntl
import io
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kdtui.errors import KdtuiError
from kdtui.jobs.batches import SMALL, file_batches
from kdtui.jobs.client import READ_TIMEOUT, HostClient
from models.files.hashing import file_sha256, prefix_digest
from models.files.whole_files import put_in_place, write_whole
from models.sft.job_files import CHECKPOINTS
from models.sft.protocol import FilesRequest, SendRequest


class _RemoteFile(NamedTuple):
    """A file of a job directory; `sha256` is None where the host sends it after the file."""

    name: str
    size: int
    sha256: str | None


async def download(client: HostClient, job: str, key: str, names: Sequence[str], target: Path) -> int:
    """Download files of a job directory, and those of its folders, and return their number.

    A checkpoint or an adapter is moved into place when it is complete: a partial one would be taken for a complete one.

    Args:
        key: of the training, because another one can have the same name.

    Raises:
        TransportError: the connection was lost; partial data is kept, and a retry resumes.
        KdtuiError: the directory is another training's, a file arrived damaged, or another process downloads it.
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
        needed = [each for each in remote if not _has_hash(target / each.name, each.sha256)]
        units = {_unit(each.name) for each in needed}
        for name, _, digest in remote:
            if _unit(name) in units and not _has_hash(partial / name, digest) and _has_hash(target / name, digest):
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(target / name, partial / name)
        missing = [each for each in needed if not _has_hash(partial / each.name, each.sha256)]
        small = [each for each in missing if each.size <= SMALL]
        for batch in file_batches([(each, each.size) for each in small]):
            await _download_small(client, job, [each.name for each in batch], partial)
        for each in small:
            if not _has_hash(partial / each.name, each.sha256):
                (partial / each.name).unlink(missing_ok=True)
                raise _damaged(client, each.name)
        for each in missing:
            if each.size > SMALL:
                await _download_large(client, job, key, each, partial / each.name)
        for unit in sorted(units):
            _move_into_place(partial / unit, target / unit)
        shutil.rmtree(partial)
    return len(needed)


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
    for name, *_ in answer.files:
        # Anybody can run a host: no name that it sends may lead out of the folder.
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise KdtuiError(f"host {client.host.name}: it names a file {name!r}, which is in no job directory")
    return [_RemoteFile(*each) for each in answer.files]


async def _download_small(client: HostClient, job: str, names: Sequence[str], target: Path) -> None:
    command = ["tar", "-C", client.job_folder(job), "--null", "--verbatim-files-from", "-T", "-", "-cf", "-"]
    content = await client.output(command, b"\0".join(name.encode() for name in names))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in names:
            member = archive.extractfile(name)
            if member is None:
                continue
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, member.read())


async def _download_large(client: HostClient, job: str, key: str, remote: _RemoteFile, path: Path) -> None:
    """Download a file; if the result is wrong, do it once more from the beginning."""
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    size = remote.size
    for received in (part.stat().st_size if part.exists() else 0, 0):
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
