"""The layout of the workdir: paths of job directories, their keys, and locks against a second client."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from models.errors import ModelError
from models.files.json_files import read_object
from models.sft.job_files import ID
from models.sft.state import exit_code

NEW_WORKDIR = "add the host again with another --workdir"

WORKDIR_ADVICE = {
    errno.ENOSPC: "make room below the workdir, and try again",
    errno.EDQUOT: "your quota is used up; delete something of yours there, and try again",
    errno.EROFS: f"that file system can only be read; {NEW_WORKDIR}",
    errno.EACCES: f"you may not write there; {NEW_WORKDIR}",
    errno.EPERM: f"you may not write there; {NEW_WORKDIR}",
    errno.ENOTDIR: f"a file is in the place of a folder; move it away, or {NEW_WORKDIR}",
    errno.EEXIST: f"a file is in the place of a folder; move it away, or {NEW_WORKDIR}",
    errno.ENAMETOOLONG: f"that name is too long; {NEW_WORKDIR}",
}
"""What to do about a workdir that cannot be written, by error number."""

BLOBS, JOBS, SETUP, VENV = "blobs", "jobs", "setup", "venv"


def job_folder(workdir: Path, name: str) -> Path:
    """Return the path of a job directory.

    Raises:
        ModelError: the name would lead out of the folder of jobs.
    """
    if not name or "/" in name or name.startswith("."):
        raise ModelError(f"{name!r} cannot be the name of a training")
    return workdir / JOBS / name


def existing_job(workdir: Path, name: str, key: str | None = None) -> Path:
    """Return the path of a job directory that exists.

    Args:
        key: of the training; None for any.

    Raises:
        ModelError: there is none, or it belongs to another training.
    """
    job = job_folder(workdir, name)
    if not job.is_dir():
        raise ModelError(f"{job}: there is no such training on this host")
    if key is not None and training_key(job) not in (None, key):
        raise ModelError(f"{job}: this directory is another training's")
    return job


def training_key(job: Path) -> str | None:
    """Return the key in a job directory; None without one."""
    try:
        return (job / ID).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def partial_job(job: Path, key: str) -> Path:
    """Return the path of a job directory that is still being received."""
    return job.with_name(f".{job.name}.{key}.part")


def moved_note(job: Path) -> Path:
    """Return the path of the file that says where a training moved to."""
    return job.with_name(f".{job.name}.moved")


def read_moved_note(job: Path) -> dict[str, Any]:
    """Return the content of that file: `{"id": key, "to": place}`; empty without one."""
    try:
        note = read_object(moved_note(job))
    except ModelError:
        return {}
    return note if {"id", "to"} <= note.keys() else {}


def prepared_python(workdir: Path) -> str | None:
    """Return the Python of the virtual environment; None until that is complete."""
    python = workdir / VENV / "bin" / "python"
    return str(python) if python.exists() and exit_code(workdir / SETUP) == 0 else None


@contextmanager
def locked(file: IO[bytes], what: Path) -> Iterator[None]:
    """Lock an open file against other clients.

    Args:
        what: the path to name in the error.

    Raises:
        ModelError: another client has locked it.
    """
    busy = f"{what}: another client is uploading this; try again in a minute"
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ModelError(busy) from error
    path = Path(file.name)
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        # It was renamed or deleted after it was opened, so this lock is on a file that nobody else sees.
        raise ModelError(busy)
    yield
