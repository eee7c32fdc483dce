"""Fine-tuning: a training set becomes a job directory, a job becomes an adapter, and the adapter gets its name."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import Any

import msgspec
from sqlite_utils import Database

from kdtui.distill.training_set import encode
from kdtui.errors import KdtuiError
from kdtui.jobs import local
from kdtui.jobs.state import JobStatus, job_status, metrics
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.model_names import is_file
from kdtui.workflows.training_set import open_vocabulary, training_examples, validation_examples
from models.embedded import SHIPPED, shipped_adapter
from models.errors import ModelError
from models.sft.job import Job, read_job
from models.sft.job_files import ADAPTER, JOB, TRAIN, VALID
from store.errors import NotFound
from store.jobs import StoredJob, add_job, forget_job, get_job, list_jobs
from store.models import NamedModel, add_model, named_model, named_models
from store.records import TrainingSettings

_LOOK = 0.5
"""Seconds between two looks at a training that is followed."""


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


def prepare(db: Database, name: str, folder: Path, settings: TrainingSettings, job: Job) -> Prepared:
    """Write a job directory, and remember it under a name; whole, or not at all.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: the name cannot be used, or there is nothing to train on.
        ModelError: the job cannot be one.
        StoreError: the name is taken.
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
    part = target.with_name(f"{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        (part / JOB).write_text(json.dumps(_content(job, settings, name), indent=2) + "\n", encoding="utf-8")
        # What it says is checked by the one who will read it.
        read_job(part / JOB)
        count = _write(part / TRAIN, training_examples(db, settings))
        valid = _write(part / VALID, validation_examples(db, settings))
        if not valid:
            (part / VALID).unlink()
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    add_job(db, name, target, settings)
    return Prepared(target, count // settings.epochs, valid)


def _write(path: Path, lines: Iterator[dict[str, Any]]) -> int:
    count = 0
    with path.open("wb") as file:
        for line in lines:
            file.write(encode(line))
            count += 1
    return count


def _content(job: Job, settings: TrainingSettings, name: str) -> dict[str, Any]:
    """What stands in the job file: the job, and in its manifest what it is trained on."""
    # Imported here: llama.cpp takes a third of a second, and a list of trainings needs none.
    from models.provenance import about_base

    gguf = Path(job.base) if job.base.endswith(".gguf") else None
    with open_vocabulary(job.base) as vocabulary:
        manifest = {"name": name, **msgspec.to_builtins(settings), **about_base(vocabulary, gguf)}
    return {**asdict(job), "manifest": manifest}


def all_jobs(db: Database) -> list[JobRow]:
    """All trainings, the newest first; the adapters of those that are done get their names."""
    return [_row(db, job) for job in list_jobs(db)]


def one_job(db: Database, name: str) -> JobRow:
    """One training; its adapter gets its name if it is done.

    Raises:
        NotFound: there is none of that name.
    """
    return _row(db, get_job(db, name))


def _row(db: Database, job: StoredJob) -> JobRow:
    row = JobRow(job, job_status(job.folder))
    try:
        settle(db, row)
    except ModelError as error:
        # The others are to be seen all the same.
        return JobRow(job, replace(row.status, state="failed", reason=f"its adapter cannot be converted: {error}"))
    return row


def settle(db: Database, row: JobRow) -> None:
    """Convert the adapter of a training that is done, once, and register it under the name of the training.

    Raises:
        ModelError: the adapter cannot be converted.
    """
    if row.status.state != "done":
        return
    try:
        named_model(db, row.job.name)
        return
    except NotFound:
        pass
    from models.adapters import convert

    settings = read_job(row.job.folder / JOB)
    target = row.job.folder / f"{row.job.name}.gguf"
    convert(row.job.folder / ADAPTER, row.job.folder / ADAPTER, target)
    # The file goes with the folder of the training, not with the name.
    add_model(
        db, NamedModel(row.job.name, target, f"training on {Path(settings.base).name}", made=False, kind="adapter")
    )


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
        names = ", ".join([SHIPPED, *known])
        raise KdtuiError(f"there is no adapter {adapter!r}; there are: {names}, and files ending in .gguf")
    raise KdtuiError(f"there is no adapter {adapter!r}")


def launch(job: StoredJob) -> int:
    """Start a training here, or go on with it, and return its process id.

    Raises:
        KdtuiError: it is running, or done.
    """
    status = job_status(job.folder)
    if status.state == "done":
        raise KdtuiError(f"training {job.name!r} is done; its adapter is used with: --adapter {job.name}")
    return local.start(job.folder)


def cancel(job: StoredJob) -> bool:
    """Stop a training; whether it left a checkpoint.

    Raises:
        KdtuiError: it is not running.
    """
    state = job_status(job.folder).state
    if state not in ("running", "stalled"):
        raise KdtuiError(f"training {job.name!r} is not running; it is {state}")
    return local.stop(job.folder)


def remove(db: Database, job: StoredJob) -> None:
    """Delete a training with its directory and its adapter.

    Raises:
        KdtuiError: it is running.
    """
    if job_status(job.folder).state in ("running", "stalled"):
        raise KdtuiError(f"training {job.name!r} is running; stop it first with: kdtui sft cancel {job.name}")
    shutil.rmtree(job.folder, ignore_errors=True)
    forget_job(db, job.name)
    with db.atomic():
        db.execute("DELETE FROM models WHERE name = ? AND kind = 'adapter'", [job.name])


def follow(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics of a training, those to come too, until it ends."""
    seen = 0
    while True:
        # Looked at first: what was written before the end is not missed.
        state = job_status(folder).state
        found = list(metrics(folder))
        yield from found[seen:]
        seen = len(found)
        if state not in ("running", "stalled"):
            return
        sleep(_LOOK)
