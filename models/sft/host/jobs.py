"""Job directories on a host: receive, start, inspect, stop and delete trainings."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from models.errors import ModelError
from models.files.json_files import read_object
from models.files.whole_files import put_in_place, write_whole
from models.sft import processes, slurm
from models.sft.host.files import open_tar
from models.sft.host.machine import package_versions
from models.sft.host.workdir import (
    BLOBS,
    JOBS,
    existing_job,
    job_folder,
    locked,
    moved_note,
    partial_job,
    prepared_python,
    read_moved_note,
    training_key,
)
from models.sft.job_files import ID, JOB, LOG
from models.sft.log_pieces import LogPiece, LogPosition, new_pieces
from models.sft.log_search import Search, look_further
from models.sft.processes import HasStopped, Stopping
from models.sft.protocol import (
    CancelRequest,
    DescribeAnswer,
    DescribeRequest,
    FindAnswer,
    FindRequest,
    FollowRequest,
    InventoryAnswer,
    InventoryRequest,
    LaunchAnswer,
    LaunchRequest,
    LeaveRequest,
    RemoveRequest,
    StatusAnswer,
    StatusRequest,
    TrainingAnswer,
    TrainingsAnswer,
    TrainingsRequest,
)
from models.sft.state import ACTIVE, JobStatus, job_status, launch_of

DIRECTORY_GONE = "its directory is gone from the host"
"""Why a training failed whose directory somebody deleted."""


def take_inventory(workdir: Path, request: InventoryRequest) -> InventoryAnswer:
    """Return which files of a base are complete and how much of the others is there, and what there is of a job."""
    folder = workdir / BLOBS / request.key
    files: dict[str, int | str] = {}
    for name, _ in request.files:
        part = folder / f"{name}.part"
        files[name] = "whole" if (folder / name).is_file() else part.stat().st_size if part.is_file() else 0
    job = job_folder(workdir, request.job)
    prepared = prepared_python(workdir)
    return InventoryAnswer(
        files,
        training_key(job),
        _state(job) if job.is_dir() else None,
        prepared,
        package_versions(prepared or request.python, request.packages) if request.packages else None,
    )


def launch_training(workdir: Path, request: LaunchRequest, data: io.BufferedReader) -> LaunchAnswer:
    """Make a job directory from a tar unless it exists, and start its training unless it runs."""
    job = job_folder(workdir, request.job)
    note = read_moved_note(job)
    if note.get("id") == request.id:
        raise ModelError(f"{job}: this training continues {note['to']} and cannot be started here; adopt it from there")
    if request.has_data:
        _receive_job(job, request.id, data)
    if training_key(job) != request.id:
        raise ModelError(f"{job}: another training has this name; choose another --name")
    after = None if not request.after else workdir / JOBS / request.after
    if after is not None and not after.is_dir():
        raise ModelError(f"{after}: there is no such training to wait for")
    if request.launcher == "slurm":
        return LaunchAnswer(slurm.submit(job, request.id, request.script or "", after))
    return LaunchAnswer(
        processes.start_trainer(job, python=request.python, code=request.code, processes=request.processes, after=after)
    )


def training_statuses(workdir: Path, request: StatusRequest) -> StatusAnswer:
    """Return the states of trainings."""
    folders = {name: workdir / JOBS / name for name in request.jobs}
    queue = slurm.SlurmQueue(folders.values())
    return StatusAnswer({name: _status(folder, queue) for name, folder in folders.items()})


def cancel_training(workdir: Path, request: CancelRequest, report: Callable[[Stopping], None]) -> HasStopped:
    """Stop a training and wait for it.

    Args:
        report: takes the progress of the wait.
    """
    job = existing_job(workdir, request.job, request.id)
    is_slurm = launch_of(job).get("launcher") == "slurm"
    events = slurm.cancel_job(job, request.grace) if is_slurm else processes.stop_trainer(job, grace=request.grace)
    stopped = HasStopped(())
    for event in events:
        if isinstance(event, Stopping):
            report(event)
        else:
            stopped = event
    return stopped


def follow_log(workdir: Path, request: FollowRequest, is_left: Callable[[], bool]) -> Iterator[LogPiece]:
    """Check whose log it is now, and return an iterator over it after a position, with what is appended to it.

    Args:
        is_left: waits a moment, and tells whether the client has hung up.

    Raises:
        ModelError: the directory is another training's.
    """
    job = job_folder(workdir, request.job)
    if training_key(job) not in (None, request.id):
        raise ModelError(f"{job}: this directory is another training's")
    return _growing_log(job / LOG, LogPosition(request.offset, request.end.encode("latin-1")), is_left)


def _growing_log(log: Path, position: LogPosition, is_left: Callable[[], bool]) -> Iterator[LogPiece]:
    while True:
        for piece in new_pieces(log, position):
            yield piece
            position = position.after(piece)
        if is_left():
            return


def search_log(workdir: Path, request: FindRequest) -> FindAnswer:
    """Search a part of a log."""
    try:
        match = look_further(existing_job(workdir, request.job, request.id) / LOG, request.search)
    except FileNotFoundError:
        # The training still waits and has not written anything.
        return FindAnswer()
    return FindAnswer(search=match) if isinstance(match, Search) else FindAnswer(at=match)


def describe_training(workdir: Path, request: DescribeRequest) -> DescribeAnswer:
    """Return what a client needs in order to adopt a training."""
    job = existing_job(workdir, request.job)
    return DescribeAnswer(read_object(job / JOB), training_key(job))


def remove_training(workdir: Path, request: RemoveRequest) -> None:
    """Delete a job directory unless it belongs to another training."""
    _remove(job_folder(workdir, request.job), request.id)


def leave_training(workdir: Path, request: LeaveRequest) -> None:
    """Delete the job directory of a training that moved, and note where it moved."""
    job = job_folder(workdir, request.job)
    if training_key(job) == request.id:
        _remove(job, request.id)
        write_whole(moved_note(job), json.dumps({"id": request.id, "to": request.to}))


def list_trainings(workdir: Path, _request: TrainingsRequest) -> TrainingsAnswer:
    """Return the names of job directories with their keys."""
    folders = sorted((workdir / JOBS).glob("[!.]*/"))
    return TrainingsAnswer({folder.name: training_key(folder) for folder in folders if (folder / JOB).is_file()})


def _remove(job: Path, key: str) -> None:
    part = partial_job(job, key)
    if (path := part.with_suffix(".lock")).exists():
        with path.open("ab") as lock, locked(lock, job):
            # Delete what a killed client left.
            shutil.rmtree(part, ignore_errors=True)
            path.unlink()
    if training_key(job) not in (None, key):
        return
    if read_moved_note(job).get("id") == key:
        moved_note(job).unlink()
    if job.is_dir() and _state(job) in ACTIVE:
        raise ModelError(f"{job}: it is running; cancel it first")
    shutil.rmtree(job, ignore_errors=True)
    if job.exists():
        raise ModelError(f"{job}: it cannot be deleted")


def _state(job: Path) -> str:
    state: str = _status(job, slurm.SlurmQueue([job])).status["state"]
    return state


def _status(folder: Path, queue: slurm.SlurmQueue) -> TrainingAnswer:
    if not folder.is_dir():
        note = read_moved_note(folder)
        gone = JobStatus("failed", reason=f"it continues {note['to']}" if note else DIRECTORY_GONE)
        return TrainingAnswer(asdict(gone), None, 0, False)
    state, reason = None, None
    if launch_of(folder).get("launcher") == "slurm":
        state, reason = queue.state(folder)
    log = folder / LOG
    return TrainingAnswer(
        asdict(job_status(folder, state, reason)),
        training_key(folder),
        log.stat().st_size if log.is_file() else 0,
        True,
    )


def _receive_job(job: Path, key: str, data: io.BufferedReader) -> None:
    """Make a job directory from a tar, completely or not at all."""
    job.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = partial_job(job, key)
    with part.with_suffix(".lock").open("ab") as lock, locked(lock, job):
        if training_key(job) != key:
            # Otherwise it arrived earlier and only the answer was lost. Keep what a trainer has written since then.
            _unpack_job(job, part, key, data)


def _unpack_job(job: Path, part: Path, key: str, data: io.BufferedReader) -> None:
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(mode=0o700)
        with open_tar(job, data) as archive:
            # Python has the filter since 3.11.4. Without it the content is trusted: the same program made it.
            archive.extractall(part, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # type: ignore[arg-type]
        for path in part.rglob("*"):
            # A tar has permissions of its own.
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)
        if training_key(part) != key:
            raise ModelError(f"{job}: only a part of the training arrived; try again")
        if job.exists():
            if (job / JOB).exists() and training_key(job) is None:
                raise ModelError(f"{job / ID} is gone; if this is that training, write {key} into it, and try again")
            raise ModelError(f"{job}: another training has this name; choose another --name")
        put_in_place(part, job)
    finally:
        shutil.rmtree(part, ignore_errors=True)
