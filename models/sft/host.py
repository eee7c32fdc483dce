"""What a client asks of the machine that trainings run on: `python -m models.sft.host`, one request in, one answer out.

The request is a line of JSON on stdin, `{"do": "status", …}`, behind which some have data. The answer is a line of JSON
on stdout, `{"ok": …}` or `{"error": "one sentence"}`; behind that of `send` come a file and its hash. Everything
is below one folder, the workdir:

    blobs/KEY/…        bases, each file under its name; KEY is a hash of their hashes
    code/…             the package `models`, as a zip for each version
    jobs/NAME/…        job directories
    venv/ setup/       what `kdtui host setup` makes, and its log

It needs Python alone, and changes nothing that it is not asked to.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import select
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, BinaryIO

from models.errors import ModelError
from models.files.json_files import read_object
from models.files.whole_files import put_in_place, write_whole
from models.sft import processes, slurm
from models.sft.job_files import EXIT_CODE, JOB, LOG
from models.sft.log_search import Search, look_further
from models.sft.state import ACTIVE, JobStatus, ended, job_status, launch_of

ID = "id"
"""A file of a job directory: what no other job has, whatever its name."""

PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors")
"""What a trainer cannot do without; for a base in GGUF `gguf` too."""

GONE = "its directory is gone from the host"
"""Why a training has failed whose directory somebody has deleted."""

NEW_WORKDIR = "add the host anew with another --workdir"

ADVICE = {
    errno.ENOSPC: "make room below the workdir, and try again",
    errno.EDQUOT: "your quota is used up; delete something of yours there, and try again",
    errno.EROFS: f"that file system can only be read; {NEW_WORKDIR}",
    errno.EACCES: f"you may not write there; {NEW_WORKDIR}",
    errno.EPERM: f"you may not write there; {NEW_WORKDIR}",
    errno.ENOTDIR: f"a file is in the place of a folder; move it away, or {NEW_WORKDIR}",
    errno.EEXIST: f"a file is in the place of a folder; move it away, or {NEW_WORKDIR}",
    errno.ENAMETOOLONG: f"that name is too long; {NEW_WORKDIR}",
}
"""What to do about a workdir that cannot be written, by the number of the error."""

_CHUNK = 1 << 20

_SILENCE = 60.0
"""Seconds without a byte from a client that has more to send: its network is frozen, and it must keep nobody out."""

_REQUIREMENTS = "requirements.txt"

Request = Mapping[str, Any]


def sha256(path: Path) -> str:
    """The hash of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beginning_hash(path: Path, size: int) -> "hashlib._Hash":
    """The hash of the first bytes of a file, to go on with."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (chunk := file.read(min(size, _CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    return digest


def have(request: Request) -> object:
    """Which files of a base are here whole, how much of the others, whether a job directory is, and what the Python
    that trains has of some packages.

    `{"workdir", "key", "files": [[name, size], …], "job"}`, and `{"python", "packages": [name, …]}` beside them or not
    """
    folder = Path(request["workdir"]) / "blobs" / request["key"]
    sizes = {}
    for name, _ in request["files"]:
        part = folder / f"{name}.part"
        sizes[name] = "whole" if (folder / name).is_file() else part.stat().st_size if part.is_file() else 0
    job = _job(request)
    prepared = _prepared(Path(request["workdir"]))
    wanted = request.get("packages")
    return {
        "files": sizes,
        "id": _id(job),
        "state": _status(job, slurm.Queue([job]))["state"] if job.is_dir() else None,
        "python": prepared,
        "packages": _packages(prepared or request["python"], wanted) if wanted else None,
    }


def receive(request: Request, data: io.BufferedReader) -> object:
    """Add what is behind the request to a part of a file, from an offset on; whole, it gets its name.

    `{"part", "offset", "target", "size", "sha256"}`
    """
    part, target = Path(request["part"]), Path(request["target"])
    if target.is_file() and not part.exists():
        # Another client was faster.
        return None
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as file, _alone(file, part):
        if not request["offset"]:
            file.truncate(0)
        elif os.fstat(file.fileno()).st_size != request["offset"]:
            raise ModelError(f"{part}: another client has brought some of this file; try again")
        digest = beginning_hash(part, request["offset"])
        buffer = memoryview(bytearray(_CHUNK))
        while count := data.readinto1(buffer):
            file.write(buffer[:count])
            digest.update(buffer[:count])
        file.flush()
        if os.fstat(file.fileno()).st_size < request["size"]:
            # What came stays, and is gone on from.
            raise ModelError(f"{target}: it did not come to its end; try again")
        if digest.hexdigest() != request["sha256"]:
            part.unlink()
            raise ModelError(f"{target}: it did not come whole, and has been dropped; try again")
        put_in_place(part, target)
    return None


def unpack(request: Request, data: io.BufferedReader) -> object:
    """Small files that have come together, in the tar behind the request: `{"folder", "files": {name: sha256, …}}`."""
    folder, digests = Path(request["folder"]), dict(request["files"])
    folder.mkdir(parents=True, exist_ok=True)
    # Each gets its name when it is whole, and two clients may bring the same.
    with TemporaryDirectory(prefix=".", suffix=".part", dir=folder.parent) as part, _as_tar(folder, data) as archive:
        for member in archive:
            source = archive.extractfile(member)
            digest = digests.pop(member.name, None)
            if source is None or digest is None:
                raise ModelError(f"{folder}: {member.name!r} was not to come; try again")
            content = source.read()
            if hashlib.sha256(content).hexdigest() != digest:
                raise ModelError(f"{folder}: {member.name!r} did not come whole, and has been dropped; try again")
            path = Path(part) / "file"
            path.write_bytes(content)
            put_in_place(path, folder / member.name)
    if digests:
        raise ModelError(f"{folder}: not all files have come; try again")
    return None


def launch(request: Request, data: io.BufferedReader) -> object:
    """Make a job directory of the tar behind the request, where there is none yet, and start it, if it is not.

    `{"workdir", "job", "id", "launcher", "python", "code", "processes", "after", "script", "has_data"}`
    """
    job = _job(request)
    if (left := _left(job)).get("id") == request["id"]:
        raise ModelError(f"{job}: this training goes on {left['to']}, and no more here; it is taken over from there")
    if request["has_data"]:
        _unpack(job, request["id"], data)
    if _id(job) != request["id"]:
        raise ModelError(f"{job}: another training of this name is there; choose another --name")
    after = None if not request["after"] else Path(request["workdir"]) / "jobs" / request["after"]
    if after is not None and not after.is_dir():
        raise ModelError(f"{after}: there is no such training to wait for")
    if request["launcher"] == "slurm":
        return {"slurm": slurm.submit(job, request["id"], request["script"], after)}
    pid = processes.start(
        job, python=request["python"], code=request["code"], processes=request["processes"], after=after
    )
    return {"pid": pid}


def status(request: Request) -> object:
    """How trainings are: `{"workdir", "jobs": [NAME, …]}`, `{NAME: status, …}`."""
    folders = {name: Path(request["workdir"]) / "jobs" / name for name in request["jobs"]}
    queue = slurm.Queue(folders.values())
    return {name: _status(folder, queue) for name, folder in folders.items()}


def cancel(request: Request) -> object:
    """Tell a training to stop, and wait until it has: `{"workdir", "job", "id", "grace"}`.

    Before its answer come lines about how it is waited for, `{"stopping": {"seconds", "grace", "said"}}`.
    """
    job = _existing(request)
    is_slurms = launch_of(job).get("launcher") == "slurm"
    events = slurm.cancel(job, request["grace"]) if is_slurms else processes.stop(job, grace=request["grace"])
    left: tuple[str, ...] = ()
    for event in events:
        if isinstance(event, processes.Stopping):
            print(json.dumps({"stopping": asdict(event)}), flush=True)
        else:
            left = event.left
    return {"left": left}


def files(request: Request) -> object:
    """Name, size and hash of files of a job directory, and of those below its folders.

    Those over `large` bytes have no hash, which is sent behind them, unless the client says that it may have them.

    `{"workdir", "job", "id", "names", "large", "had": [name, …]}`
    """
    job = _existing(request)
    named = [job / name for name in request["names"]]
    paths = [path for each in named for path in (each, *sorted(each.rglob("*"))) if path.is_file()]
    found = []
    for path in paths:
        name, size = path.relative_to(job), path.stat().st_size
        # What is being written belongs to nobody yet.
        if not any(part.endswith(".part") for part in name.parts):
            is_hashed = size <= request["large"] or name.as_posix() in request["had"]
            found.append([name.as_posix(), size, sha256(path) if is_hashed else None])
    return {"files": found}


def send(request: Request, out: BinaryIO) -> None:
    """A file of a job directory, from an offset to a size: an answer, the bytes, and the hash of all up to that size.

    `{"workdir", "job", "id", "name", "offset", "size"}`
    """
    path = _existing(request) / request["name"]
    offset, size = request["offset"], request["size"]
    digest = beginning_hash(path, offset)
    with path.open("rb") as file:
        file.seek(offset)
        out.write(b'{"ok": null}\n')
        buffer = memoryview(bytearray(_CHUNK))
        while count := file.readinto(buffer[: size - offset]):
            out.write(buffer[:count])
            digest.update(buffer[:count])
            offset += count
    if offset == size:
        out.write(f"{digest.hexdigest()}\n".encode())
    out.flush()


def find(request: Request) -> object:
    """Look further for a text in the log: `{"workdir", "job", "id", "search": …}`, `{"at"}` or `{"search"}` or `{}`.

    The searches are those of `models.sft.log_search`.
    """
    try:
        found = look_further(_existing(request) / LOG, Search(**request["search"]))
    except FileNotFoundError:
        # It waits, and has written nothing yet.
        return {}
    return {"search": asdict(found)} if isinstance(found, Search) else {} if found is None else {"at": found}


def describe(request: Request) -> object:
    """What is to be known of a job directory, to take it over: `{"workdir", "job"}`."""
    job = _existing(request)
    return {"job": read_object(job / JOB), "id": _id(job)}


def remove(request: Request) -> object:
    """Delete a job directory, unless it is another training's: `{"workdir", "job", "id"}`."""
    job = _job(request)
    part = _part(job, request["id"])
    if (path := part.with_suffix(".lock")).exists():
        with path.open("ab") as lock, _alone(lock, job):
            # What a client that was killed has left.
            shutil.rmtree(part, ignore_errors=True)
            path.unlink()
    if _id(job) not in (None, request["id"]):
        return None
    if _left(job).get("id") == request["id"]:
        _word(job).unlink()
    if job.is_dir() and _status(job, slurm.Queue([job]))["state"] in ACTIVE:
        raise ModelError(f"{job}: it is running; cancel it first")
    shutil.rmtree(job, ignore_errors=True)
    if job.exists():
        raise ModelError(f"{job}: it cannot be deleted")
    return None


def leave(request: Request) -> object:
    """Delete a job directory whose training goes on elsewhere, and leave word of that, so that nobody starts it here.

    `{"workdir", "job", "id", "to"}`
    """
    job = _job(request)
    if _id(job) == request["id"]:
        remove(request)
        write_whole(_word(job), json.dumps({"id": request["id"], "to": request["to"]}))
    return None


def trainings(request: Request) -> object:
    """The names of the job directories that are here, and their ids: `{"workdir"}`."""
    folders = sorted((Path(request["workdir"]) / "jobs").glob("[!.]*/"))
    return {folder.name: _id(folder) for folder in folders if (folder / JOB).is_file()}


def check(request: Request) -> object:
    """What this machine has for trainings: `{"workdir", "python", "key", "files": [name, …], "packages"}`.

    `key` and `files` are those of a base; without files nothing is asked about one.
    """
    workdir = Path(request["workdir"])
    there = next(each for each in (workdir, *workdir.parents) if each.exists())
    usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    disk = shutil.disk_usage(there)
    blob = workdir / "blobs" / request["key"]
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "writable": usable,
        "free_bytes": disk.free,
        "gpus": _gpus(),
        "packages": _packages(_prepared(workdir) or request["python"], request["packages"], cuda=True),
        "base": all((blob / name).is_file() for name in request["files"]),
        "clock": time.time(),
        "slurm": shutil.which("sbatch") is not None,
        "processors": os.cpu_count(),
    }


def setup(request: Request) -> object:
    """Make the virtual environment, or go on with it, in a process of its own.

    `{"workdir", "requirements", "wheels": key of their folder or null}`
    """
    workdir = Path(request["workdir"])
    folder = workdir / "setup"
    folder.mkdir(parents=True, exist_ok=True)
    # First: what is there of other requirements does not count for these.
    (folder / EXIT_CODE).unlink(missing_ok=True)
    write_whole(folder / _REQUIREMENTS, request["requirements"])
    install = [str(workdir / "venv" / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    if request["wheels"]:
        install += ["--no-index", "--find-links", str(workdir / "blobs" / request["wheels"])]
    commands = [
        [sys.executable, "-m", "venv", str(workdir / "venv")],
        [*install, "-r", str(folder / _REQUIREMENTS)],
    ]
    log = folder / LOG
    size = log.stat().st_size if log.is_file() else 0
    return {"pid": processes.start_commands(folder, commands), "log": str(log), "from": size}


def setup_status(request: Request) -> object:
    """How that is, and whether it has been made of these requirements already: `{"workdir", "requirements"}`."""
    workdir = Path(request["workdir"])
    made_of = workdir / "setup" / _REQUIREMENTS
    same = made_of.is_file() and made_of.read_text(encoding="utf-8") == request["requirements"]
    return {**asdict(job_status(workdir / "setup")), "is_ready": same and _prepared(workdir) is not None}


def _prepared(workdir: Path) -> str | None:
    """The Python of the virtual environment, where it has been made whole."""
    python = workdir / "venv" / "bin" / "python"
    return str(python) if python.exists() and ended(workdir / "setup") == 0 else None


def _status(folder: Path, queue: "slurm.Queue") -> dict[str, Any]:
    if not folder.is_dir():
        left = _left(folder)
        gone = JobStatus("failed", reason=f"it goes on {left['to']}" if left else GONE)
        return {**asdict(gone), "id": None, "log_bytes": 0, "exists": False}
    state, reason = None, None
    if launch_of(folder).get("launcher") == "slurm":
        state, reason = queue.state(folder)
    log = folder / LOG
    return {
        **asdict(job_status(folder, state, reason)),
        "id": _id(folder),
        "log_bytes": log.stat().st_size if log.is_file() else 0,
        "exists": True,
    }


def _unpack(job: Path, job_id: str, data: io.BufferedReader) -> None:
    """A job directory from a tar, whole or not at all."""
    job.parent.mkdir(parents=True, exist_ok=True)
    part = _part(job, job_id)
    with part.with_suffix(".lock").open("ab") as lock, _alone(lock, job):
        if _id(job) != job_id:
            # Otherwise it came before, and the answer was lost. What a trainer has written since stays.
            _unpack_alone(job, part, job_id, data)


def _part(job: Path, job_id: str) -> Path:
    """Where a job directory is that has not come whole."""
    return job.with_name(f".{job.name}.{job_id}.part")


def _unpack_alone(job: Path, part: Path, job_id: str, data: io.BufferedReader) -> None:
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        with _as_tar(job, data) as archive:
            # Python 3.11 has the filter from its fourth release on; what comes here was made by the same program.
            archive.extractall(part, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # type: ignore[arg-type]
        if _id(part) != job_id:
            raise ModelError(f"{job}: it did not come whole; try again")
        if job.exists():
            if (job / JOB).exists() and _id(job) is None:
                raise ModelError(f"{job / ID} is gone; if this is that training, write {job_id} into it, and try again")
            raise ModelError(f"{job}: another training of this name is there; choose another --name")
        put_in_place(part, job)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _as_tar(what: Path, data: io.BufferedReader) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=data, mode="r|") as archive:
            yield archive
    except tarfile.TarError as error:
        raise ModelError(f"{what}: it did not come whole ({error}); try again") from error


@contextmanager
def _alone(file: IO[bytes], what: Path) -> Iterator[None]:
    """One client at a time.

    Raises:
        ModelError: another one is at it.
    """
    busy = f"{what}: another client is bringing this; try again in a minute"
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ModelError(busy) from error
    path = Path(file.name)
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        # It has been renamed or deleted between its opening and the lock, which is one on nothing now.
        raise ModelError(busy)
    yield


def _job(request: Request) -> Path:
    name: str = request["job"]
    if not name or "/" in name or name.startswith("."):
        raise ModelError(f"{name!r} cannot be the name of a training")
    return Path(str(request["workdir"])) / "jobs" / name


def _word(job: Path) -> Path:
    """The file that says where a training goes on that was here."""
    return job.with_name(f".{job.name}.moved")


def _left(job: Path) -> dict[str, Any]:
    """What it says; empty where there is none."""
    try:
        found = read_object(_word(job))
    except ModelError:
        return {}
    return found if {"id", "to"} <= found.keys() else {}


def _existing(request: Request) -> Path:
    job = _job(request)
    if not job.is_dir():
        raise ModelError(f"{job}: there is no such training on this host")
    if "id" in request and _id(job) not in (None, request["id"]):
        raise ModelError(f"{job}: this directory is another training's")
    return job


def _id(job: Path) -> str | None:
    try:
        return (job / ID).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def _gpus() -> list[str]:
    """Names and memory of the GPUs, as the driver tells them."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in told.splitlines() if line.strip()]


_TELL = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[2:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = None
cuda = None
if sys.argv[1] == "cuda" and found.get("torch"):
    import torch
    cuda = torch.version.cuda if torch.cuda.is_available() else None
print(json.dumps({"python": ".".join(map(str, sys.version_info[:3])), "found": found, "cuda": cuda}))
"""


def _packages(python: str, names: list[str], *, cuda: bool = False) -> object:
    """Versions of packages in the Python that trains, or what is wrong with it.

    Args:
        cuda: say which CUDA torch finds, too; that takes seconds.
    """
    command = [python, "-P", "-c", _TELL, "cuda" if cuda else "", *names]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return json.loads(told.stdout.splitlines()[-1])
    except OSError as error:
        return {"problem": f"{python}: {error.strerror}"}
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        told_error = str(getattr(error, "stderr", "") or error).strip().splitlines()
        return {"problem": f"{python}: {told_error[-1] if told_error else 'it does not run'}"}


_OPERATIONS: dict[str, Callable[[Request], object]] = {
    each.__name__: each
    for each in (
        *(have, status, cancel, files, find, describe, remove, leave, trainings),
        *(check, setup, setup_status),
    )
}


_WITH_DATA: dict[str, Callable[[Request, io.BufferedReader], object]] = {
    each.__name__: each for each in (launch, receive, unpack)
}


class _Input(io.RawIOBase):
    """What a client sends, on stdin; one that falls silent is given up.

    Attributes:
        silence: seconds that it may say nothing; a request may say another number.
    """

    silence = _SILENCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not select.select([0], [], [], self.silence)[0]:
            raise ModelError(f"the client has sent nothing for {self.silence:g} seconds; try again")
        return os.readv(0, [buffer])


def main() -> None:
    """Answer the request on stdin."""
    source = _Input()
    data: io.BufferedReader = io.BufferedReader(source)
    try:
        request = json.loads(data.readline())
        source.silence = request.get("silence", _SILENCE)
        if request["do"] == send.__name__:
            send(request, sys.stdout.buffer)
            return
        if request["do"] in _WITH_DATA:
            answer: dict[str, object] = {"ok": _WITH_DATA[request["do"]](request, data)}
        else:
            answer = {"ok": _OPERATIONS[request["do"]](request)}
    except ModelError as error:
        answer = {"error": str(error)}
    except OSError as error:
        path = str(error.filename or request["workdir"])
        advice = ADVICE.get(error.errno or 0) if path.startswith(str(request["workdir"])) else None
        answer = {"error": f"{path}: {error.strerror}{f'; {advice}' if advice else ''}"}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
