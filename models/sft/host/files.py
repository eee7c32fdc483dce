"""Files to and from a client: complete or not at all, and resumed where an earlier attempt stopped."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from models.errors import ModelError
from models.files.hashing import file_sha256, prefix_digest
from models.files.whole_files import put_in_place
from models.sft.host.workdir import existing_job, locked
from models.sft.protocol import FilesAnswer, FilesRequest, ReceiveRequest, SendRequest, UnpackRequest

_CHUNK = 1 << 20


def receive_file(_workdir: Path, request: ReceiveRequest, data: io.BufferedReader) -> None:
    """Append data to a partial file; rename it to its target when it is complete."""
    part, target = Path(request.part), Path(request.target)
    if target.is_file() and not part.exists():
        # Another client was faster.
        return
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with part.open("ab") as file, locked(file, part):
        if not request.offset:
            file.truncate(0)
        elif os.fstat(file.fileno()).st_size != request.offset:
            raise ModelError(f"{part}: another client has brought some of this file; try again")
        digest = prefix_digest(part, request.offset)
        buffer = memoryview(bytearray(_CHUNK))
        while count := data.readinto1(buffer):
            file.write(buffer[:count])
            digest.update(buffer[:count])
        file.flush()
        if os.fstat(file.fileno()).st_size < request.size:
            # The partial file is kept; a retry resumes.
            raise ModelError(f"{target}: only a part of this file arrived; try again")
        if digest.hexdigest() != request.sha256:
            part.unlink()
            raise ModelError(f"{target}: this file arrived damaged and was deleted; try again")
        put_in_place(part, target)


def unpack_files(_workdir: Path, request: UnpackRequest, data: io.BufferedReader) -> None:
    """Unpack a tar of small files into a folder."""
    folder, digests = Path(request.folder), dict(request.files)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Each file is renamed when it is complete; two clients can bring the same one.
    with TemporaryDirectory(prefix=".", suffix=".part", dir=folder.parent) as part, open_tar(folder, data) as archive:
        for member in archive:
            source = archive.extractfile(member)
            digest = digests.pop(member.name, None)
            if source is None or digest is None:
                raise ModelError(f"{folder}: the client sent {member.name!r} without announcing it; try again")
            content = source.read()
            if hashlib.sha256(content).hexdigest() != digest:
                raise ModelError(f"{folder}: {member.name!r} arrived damaged and was deleted; try again")
            path = Path(part) / "file"
            path.write_bytes(content)
            put_in_place(path, folder / member.name)
    if digests:
        raise ModelError(f"{folder}: some files did not arrive; try again")


def list_files(workdir: Path, request: FilesRequest) -> FilesAnswer:
    """List files of a job directory with their hashes."""
    job = existing_job(workdir, request.job, request.id)
    named = [job / name for name in request.names]
    paths = [path for each in named for path in (each, *sorted(each.rglob("*"))) if path.is_file()]
    listed = []
    for path in paths:
        name, size = path.relative_to(job), path.stat().st_size
        # Skip what is still being written.
        if not any(part.endswith(".part") for part in name.parts):
            is_hashed = size <= request.large or name.as_posix() in request.had
            listed.append((name.as_posix(), size, file_sha256(path) if is_hashed else None))
    return FilesAnswer(tuple(listed))


def send_file(workdir: Path, request: SendRequest, out: BinaryIO, answer: bytes) -> None:
    """Write the answer, the requested bytes of a file, and the hash of its first `size` bytes.

    Args:
        answer: the line of the answer.
    """
    path = existing_job(workdir, request.job, request.id) / request.name
    offset, size = request.offset, request.size
    digest = prefix_digest(path, offset)
    with path.open("rb") as file:
        file.seek(offset)
        out.write(answer)
        buffer = memoryview(bytearray(_CHUNK))
        while count := file.readinto(buffer[: size - offset]):
            out.write(buffer[:count])
            digest.update(buffer[:count])
            offset += count
    if offset == size:
        out.write(f"{digest.hexdigest()}\n".encode())
    out.flush()


@contextmanager
def open_tar(what: Path, data: io.BufferedReader) -> Iterator[tarfile.TarFile]:
    """Open the tar that a client sends.

    Args:
        what: the path to name in the error.

    Raises:
        ModelError: it is incomplete or damaged.
    """
    try:
        with tarfile.open(fileobj=data, mode="r|") as archive:
            yield archive
    except tarfile.TarError as error:
        raise ModelError(f"{what}: the data arrived damaged or incomplete ({error}); try again") from error
