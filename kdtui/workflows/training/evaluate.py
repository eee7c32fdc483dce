"""Ask the adapter of a training as it was trained, and score it when the training is done."""

import asyncio
from collections.abc import Iterator

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.workflows.async_events import run_async
from kdtui.workflows.finish_jobs import finish_job
from kdtui.workflows.job_state import Training, base_of, is_to_fetch
from kdtui.workflows.runs.evaluate import EvaluateEvent, RunBegun, ScoreRow, evaluate_split, score_run, split_to_score
from kdtui.workflows.student.describe_model import settings_for_model
from kdtui.workflows.training.backend import backend_of
from kdtui.workflows.training.base_files import check_base_is_here, find_base
from kdtui.workflows.training.service import fetch_training
from models.sft.state import ACTIVE
from store.jobs import get_job, remember_evaluation
from store.records import RunSettings
from store.sqlite import Database


def settings_of_training(db: Database, training: Training) -> RunSettings:
    """Return the settings of a student that is asked as a training trained it.

    Raises:
        KdtuiError: its base is not on this machine, or no base on this machine fits its adapter.
        ModelError: its job file cannot be read.
        NotFound: it has no adapter yet.
    """
    find_base(db, training.job)
    # A transformers folder can be replaced by any file that the adapter fits.
    if base_of(training.job) is not None:
        check_base_is_here(training.job)
    form = training.job.settings.form
    # An intent writer names the bundles that the strategy `pairs` finds from the evidence for pairs.
    return replace(settings_for_model(db, training.job.name), strategy="pairs" if form == "intents" else form)


def wait_for_training(db: Database, name: str) -> Iterator[Training]:
    """Yield a training repeatedly until it ends. Its adapter is on this machine then.

    Raises:
        KdtuiError: it did not end well, or its adapter could not be fetched.
    """
    while True:
        backend = backend_of(db, get_job(db, name))
        problem = backend.check()
        training = finish_job(db, name)
        yield training
        if problem is None and training.status.state not in ACTIVE:
            break
        run_async(asyncio.sleep(backend.pause))
    if training.status.state != "done":
        raise KdtuiError(f"training {name!r} is {training.status.state}")
    if is_to_fetch(training):
        fetch_training(db, name)


def evaluate_when_done(db: Database, name: str) -> Iterator[Training | EvaluateEvent | ScoreRow]:
    """Wait for a training, then score its adapter on the validation splits of its datasets.

    Raises:
        KdtuiError: it did not end well, its adapter could not be fetched, or there is nothing to validate on.
        ModelError: the student cannot be loaded, or fails.
    """
    yield from wait_for_training(db, name)
    training = finish_job(db, name)
    for dataset in training.job.settings.datasets:
        sessions = split_to_score(db, dataset, "valid")
        run = None
        for event in evaluate_split(db, dataset, "valid", settings_of_training(db, training), sessions):
            run = event.run if isinstance(event, RunBegun) else run
            yield event
        if run is not None:
            yield score_run(db, run, sessions)
    remember_evaluation(db, name)
