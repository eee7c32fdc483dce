"""Write the job directory of a training."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from kdtui.errors import KdtuiError
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.training.new_job import is_taken, new_job
from models.sft.job import Job, Start, read_job
from models.sft.job_files import ID, JOB, TRAIN, VALID
from models.vocabulary import Vocabulary
from store.datasets import dataset_id
from store.errors import NotFound
from store.jobs import get_job, new_key
from store.models import named_model
from store.records import TrainingSettings
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job directory that is ready.

    Attributes:
        examples: training examples of an epoch.
        valid: validation examples.
    """

    folder: Path
    examples: int
    valid: int


def check_trainer() -> None:
    """Refuse a training if its packages are missing, before anything is written.

    Raises:
        KdtuiError: a package is missing; the message says how to install it.
    """
    missing = [package for package in ("torch", "transformers", "peft", "accelerate") if find_spec(package) is None]
    if missing:
        raise KdtuiError(f"{missing[0]} is needed to train on this machine; install it with: pip install 'kdtui[sft]'")


def prepare_job(
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
) -> PreparedJob:
    """Write a job directory and store it under a name, completely or not at all.

    Args:
        host: to run it on; None for this machine.
        after: the training that has to finish first.
        evaluate: whether to evaluate the adapter when it is on this machine.
        begin_from: copies the source adapter into the directory; gets the directory and the base.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: the name cannot be used, or there is nothing to train on.
        ModelError: the job is invalid, or the vocabulary of its base cannot be loaded.
        StoreError: the name is taken.
    """
    # Imported here: listing trainings does not need it.
    from kdtui.workflows.training.examples import training_examples, validation_examples
    from kdtui.workflows.training.tokens import count_tokens, open_vocabulary

    target = check_name(db, name, folder)
    for dataset in settings.datasets:
        dataset_id(db, dataset)
    key = new_key()
    with new_job(db, name, target, settings, key, host=host, after=after, evaluate=evaluate) as part:
        (part / ID).write_text(key, encoding="utf-8")
        if begin_from is not None:
            job = replace(job, start=begin_from(part, job.base))
        _write_job(part / JOB, asdict(job))
        # The trainer's own reader checks it.
        read_job(part / JOB)
        with open_vocabulary(job.base) as vocabulary:
            tokens = partial(count_tokens, vocabulary)
            count = _write(part / TRAIN, training_examples(db, settings, tokens))
            valid = _write(part / VALID, validation_examples(db, settings, tokens))
            if not valid:
                (part / VALID).unlink()
            # Last, when all else is right: it reads the weights of the base, which can take seconds.
            _write_job(part / JOB, asdict(job) | {"manifest": _manifest(job, settings, name, vocabulary)})
    return PreparedJob(target, count // settings.epochs, valid)


def check_name(db: Database, name: str, folder: Path) -> Path:
    """Return the directory for a training of this name.

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
    if is_taken(db, target):
        raise KdtuiError(f"{target}: there is a folder of this name already; choose another --name, or delete it")
    return target


def _write(path: Path, lines: Iterator[dict[str, Any]]) -> int:
    from kdtui.distill.training_set import encode_line

    count = 0
    with path.open("wb") as file:
        for line in lines:
            file.write(encode_line(line))
            count += 1
    return count


def _write_job(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _manifest(job: Job, settings: TrainingSettings, name: str, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what is stored with the adapter: how it is trained, and on which base."""
    # Imported here: llama.cpp takes a third of a second, and listing trainings does not need it.
    from models.adapters.provenance import about_base

    weights = Path(job.base) if Path(job.base).exists() else None
    return {"name": name, **msgspec.to_builtins(settings), **about_base(vocabulary, weights)}
