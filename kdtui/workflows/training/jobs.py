"""Fine-tuning: a training set becomes a job directory, a job becomes an adapter, and the adapter gets its name."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any

import msgspec

from kdtui.errors import KdtuiError
from kdtui.workflows.adapters.manifest import training_of
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.student.model_names import is_file
from models.embedded import NAME, SHIPPED, embedded_student, shipped_adapter
from models.errors import ModelError
from models.files.whole_files import put_in_place
from models.sft.host import ID
from models.sft.job import Job, Start, read_job
from models.sft.job_files import ADAPTER, JOB, LOG, TRAIN, VALID
from models.sft.processes import HasStopped, Stopping, start, stop
from models.sft.state import ACTIVE, JobStatus, job_status
from store.datasets import dataset_id
from store.errors import NotFound
from store.jobs import StoredJob, add_job, forget_job, get_job, list_jobs, new_key
from store.models import NamedModel, add_model, named_model, named_models
from store.records import TrainingSettings
from store.similar import meant
from store.sqlite import Database

_LOOK = 0.5
"""Seconds between two looks at a training that is followed."""


_CONVERTS = 30.0
"""Seconds that the conversion of an adapter by another process is waited for."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A training and how it is."""

    job: StoredJob
    status: JobStatus


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job directory that is ready: examples per epoch, and validation examples."""

    folder: Path
    examples: int
    valid: int


def trainer_is_here() -> None:
    """Refuse a training where its packages are missing, before anything is written.

    Raises:
        KdtuiError: it says how to get them.
    """
    missing = [package for package in ("torch", "transformers", "peft", "accelerate") if find_spec(package) is None]
    if missing:
        raise KdtuiError(f"to train here, {missing[0]} is needed; install it with: pip install 'kdtui[sft]'")


def prepare(
    db: Database,
    name: str,
    folder: Path,
    settings: TrainingSettings,
    job: Job,
    *,
    host: str | None = None,
    after: str | None = None,
    evaluate: bool = False,
    begin_from: Callable[[Path, str], Start] | None = None,
) -> Prepared:
    """Write a job directory, and remember it under a name; whole, or not at all.

    Args:
        host: where it is to run; None for here.
        after: the training that has to be done first.
        evaluate: whether the adapter is to be evaluated when it is here.
        begin_from: copies the adapter that it begins from into the directory; takes that and the base.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: the name cannot be used, or there is nothing to train on.
        ModelError: the job cannot be one.
        StoreError: the name is taken.
    """
    # Imported here: a list of trainings needs none of it.
    from kdtui.workflows.training.dataset import training_examples, validation_examples

    target = check_name(db, name, folder)
    for dataset in settings.datasets:
        dataset_id(db, dataset)
    part = target.with_name(f"{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    key = new_key()
    try:
        (part / ID).write_text(key, encoding="utf-8")
        if begin_from is not None:
            job = replace(job, start=begin_from(part, job.base))
        _write_job(part / JOB, asdict(job))
        # What it says is checked by the one who will read it.
        read_job(part / JOB)
        count = _write(part / TRAIN, training_examples(db, settings))
        valid = _write(part / VALID, validation_examples(db, settings))
        if not valid:
            (part / VALID).unlink()
        # Last, when all else is right: the base is read for it, which takes seconds.
        _write_job(part / JOB, asdict(job) | {"manifest": _manifest(job, settings, name)})
        put_in_place(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    add_job(db, name, target, settings, key, host=host, after=after, evaluate=evaluate)
    return Prepared(target, count // settings.epochs, valid)


def check_name(db: Database, name: str, folder: Path) -> Path:
    """Where a training of this name would be, if there can be one.

    Raises:
        KdtuiError: the name cannot be used.
    """
    checked_name(name)
    for taken in (get_job, named_model):
        try:
            taken(db, name)
        except NotFound:
            continue
        raise KdtuiError(f"there is a training or a model {name!r} already; choose another --name")
    target = folder / name
    if target.exists():
        raise KdtuiError(f"{target}: there is a folder of this name already; choose another --name, or delete it")
    return target


def _write(path: Path, lines: Iterator[dict[str, Any]]) -> int:
    from kdtui.distill.training_set import encode

    count = 0
    with path.open("wb") as file:
        for line in lines:
            file.write(encode(line))
            count += 1
    return count


def _write_job(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _manifest(job: Job, settings: TrainingSettings, name: str) -> dict[str, Any]:
    """What goes along with the adapter: how it is trained, and on which base."""
    # Imported here: llama.cpp takes a third of a second, and a list of trainings needs none.
    from kdtui.workflows.training.dataset import open_vocabulary
    from models.files.provenance import about_base

    weights = Path(job.base) if Path(job.base).exists() else None
    with open_vocabulary(job.base) as vocabulary:
        return {"name": name, **msgspec.to_builtins(settings), **about_base(vocabulary, weights)}


def all_jobs(db: Database) -> list[JobRow]:
    """All trainings, the newest first; the adapters of those that are done get their names."""
    return [_row(db, job) for job in list_jobs(db)]


def known_jobs(db: Database) -> list[JobRow]:
    """All trainings as they are known, the newest first; what is done is not made ready for use by that."""
    return [JobRow(job, known_status(job)) for job in list_jobs(db)]


def one_job(db: Database, name: str) -> JobRow:
    """One training; its adapter gets its name if it is done.

    Raises:
        NotFound: there is none of that name.
    """
    return _row(db, get_job(db, name))


def _row(db: Database, job: StoredJob) -> JobRow:
    row = JobRow(job, known_status(job))
    try:
        settle(db, row)
    except PermissionError:
        # Who may only look at it sees it all the same.
        return row
    except ModelError as error:
        # The others are to be seen all the same.
        return JobRow(job, replace(row.status, state="failed", reason=f"its adapter cannot be converted: {error}"))
    return row


def known_status(job: StoredJob) -> JobStatus:
    """How a training is; of one on a host, how it was when it was seen last."""
    if job.host is None:
        return job_status(job.folder)
    if job.status is None:
        return JobStatus("created")
    try:
        return msgspec.json.decode(job.status, type=JobStatus)
    except msgspec.MsgspecError:
        # Another version has seen it.
        return JobStatus("stalled", reason="how it was seen last cannot be read")


def is_to_fetch(row: JobRow) -> bool:
    """Whether a training is done on a host, and its adapter is not here yet."""
    return row.job.host is not None and row.status.state == "done" and not (row.job.folder / ADAPTER).exists()


def settle(db: Database, row: JobRow) -> None:
    """Convert the adapter of a training that is done, once, and register it under the name of the training.

    Raises:
        ModelError: the adapter cannot be converted.
    """
    if row.status.state != "done" or not (row.job.folder / ADAPTER).is_dir() or _is_named(db, row.job.name):
        return
    from models.files.adapters import convert

    # Whoever sees that it is done does this: several threads of the app, and other programs.
    with (row.job.folder / "settle.lock").open("a", encoding="utf-8") as lock:
        # One that is stuck there is not waited for by everybody who asks how trainings are.
        if not _comes(lock) or _is_named(db, row.job.name):
            return
        settings = read_job(row.job.folder / JOB)
        target = row.job.folder / f"{row.job.name}.gguf"
        convert(row.job.folder / ADAPTER, row.job.folder / ADAPTER, target)
        # The file goes with the folder of the training, not with the name.
        add_model(
            db, NamedModel(row.job.name, target, f"training on {Path(settings.base).name}", made=False, kind="adapter")
        )


def _comes(lock: IO[str]) -> bool:
    """Whether a lock is had within the time that a conversion may take."""
    limit = monotonic() + _CONVERTS
    while monotonic() < limit:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        sleep(0.05)
    return False


def _is_named(db: Database, name: str) -> bool:
    try:
        named_model(db, name)
    except NotFound:
        return False
    return True


def adapter_file(db: Database | None, adapter: str) -> Path:
    """The GGUF file of an adapter: the file itself, that of a training of this name that is done, or the shipped one.

    Raises:
        KdtuiError: there is no such adapter, or the training has none.
    """
    if adapter == SHIPPED:
        return shipped_adapter()
    if is_file(adapter):
        return Path(adapter)
    if db is not None:
        for job in list_jobs(db):
            if job.name == adapter and (status := one_job(db, adapter).status).state != "done":
                why = f" ({status.reason})" if status.reason else ""
                raise KdtuiError(f"training {adapter!r} has no adapter yet; it is {status.state}{why}")
        known = {model.name: model.path for model in named_models(db) if model.kind == "adapter"}
        if adapter in known:
            return known[adapter]
        names = [SHIPPED, *known]
        there_are = f"there are: {', '.join(names)}, and files ending in .gguf"
        raise KdtuiError(f"there is no adapter {adapter!r}; {meant(adapter, names, there_are)}")
    raise KdtuiError(f"there is no adapter {adapter!r}")


def trained_with(db: Database | None, adapter: str) -> TrainingSettings | None:
    """What the manifest of an adapter says of its training; None where it was made elsewhere, or cannot be read: why
    is said where it is loaded.

    Raises:
        KdtuiError: there is no such adapter.
    """
    from models.files.provenance import adapter_manifest

    path = adapter_file(db, adapter)
    try:
        return training_of(adapter_manifest(path))
    except ModelError:
        return None


def launch(db: Database, job: StoredJob) -> int:
    """Start a training here, or go on with it, and return its process id.

    Raises:
        KdtuiError: it is running, or done.
        ModelError: the trainer does not start.
    """
    status = job_status(job.folder)
    if status.state == "done":
        raise KdtuiError(f"training {job.name!r} is done; its adapter is used with: --adapter {job.name}")
    if status.state in ACTIVE:
        raise KdtuiError(f"training {job.name!r} is at work already; kdtui sft logs {job.name} --follow shows it")
    # It has waited once; whoever goes on with it by hand means that.
    after = get_job(db, job.after).folder if job.after is not None and status.state == "created" else None
    return start(job.folder, after=after)


def cancel(job: StoredJob, *, grace: float) -> Iterator[Stopping | HasStopped]:
    """Stop a training here; see `models.sft.processes.stop`.

    Raises:
        KdtuiError: it is not running.
    """
    check_active(job.name, job_status(job.folder))
    yield from stop(job.folder, grace=grace)


def check_active(name: str, status: JobStatus) -> None:
    """Refuse to stop what is not running.

    Raises:
        KdtuiError: it is not.
    """
    if status.state not in ACTIVE:
        raise KdtuiError(f"training {name!r} is not running; it is {status.state}")


def check_removable(job: StoredJob) -> None:
    """Refuse to delete what runs here.

    Raises:
        KdtuiError: it does.
    """
    if job.host is None and job_status(job.folder).state in ACTIVE:
        raise KdtuiError(f"training {job.name!r} is running; stop it first with: kdtui sft cancel {job.name}")


def remove(db: Database, job: StoredJob) -> None:
    """Forget a training, and delete its directory here and its adapter; see `check_removable`."""
    shutil.rmtree(job.folder, ignore_errors=True)
    forget_job(db, job.name)
    with db.atomic():
        db.execute("DELETE FROM models WHERE name = ? AND kind = 'adapter'", [job.name])


def log_of(job: StoredJob) -> Iterator[bytes]:
    """The log of a training here, piece by piece."""
    if (job.folder / LOG).exists():
        with (job.folder / LOG).open("rb") as file:
            while chunk := file.read(1 << 16):
                yield chunk


def base_of(job: StoredJob) -> str | None:
    """The base of a training, as a student is named: the embedded one by its name, others by their file.

    None for a folder or an id of transformers: that no student can be.

    Raises:
        ModelError: its job file cannot be read.
    """
    base = Path(read_job(job.folder / JOB).base)
    if base.suffix != ".gguf":
        return None
    return NAME if base.name == embedded_student().name else str(base)


@dataclass(frozen=True, slots=True)
class LogGrew:
    """The log of a training has more."""

    text: bytes


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """How a training is at the moment."""

    status: JobStatus


def follow(folder: Path) -> Iterator[LogGrew | StatusSeen]:
    """The log of a training here from its beginning, and how it is, until it ends."""
    offset = 0
    while True:
        # Looked at first: what was written before the end is not missed.
        status = job_status(folder)
        if (folder / LOG).exists():
            with (folder / LOG).open("rb") as file:
                file.seek(offset)
                while chunk := file.read(1 << 16):
                    offset += len(chunk)
                    yield LogGrew(chunk)
        yield StatusSeen(status)
        if status.state not in ACTIVE:
            return
        sleep(_LOOK)
