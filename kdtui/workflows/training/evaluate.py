"""The adapter of a training is asked as it was trained, and scored when the training is done."""

import asyncio
from collections.abc import Iterator

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.workflows.async_events import finish
from kdtui.workflows.job_state import JobRow, base_of, is_to_fetch, one_job
from kdtui.workflows.runs.evaluate import EvaluateEvent, RunBegun, ScoreRow, evaluate_split, score_run, split_to_score
from kdtui.workflows.student.describe_model import student_with
from kdtui.workflows.training.base_files import check_base_is_here, find_base
from kdtui.workflows.training.on_host import refresh
from kdtui.workflows.training.service import fetch
from models.sft.state import ACTIVE
from store.jobs import get_job, remember_evaluation
from store.records import RunSettings
from store.sqlite import Database

_LOOK_HERE, _LOOK_THERE = 1.0, 10.0
"""Seconds between two looks at a training whose end is waited for."""


def asked_as_trained(db: Database, row: JobRow) -> RunSettings:
    """How a student with the adapter of a training is asked as it was trained.

    Raises:
        KdtuiError: its base is not here, or no base is here that it fits.
        ModelError: its job file cannot be read.
        NotFound: it has no adapter yet.
    """
    find_base(db, row.job)
    # In place of a folder of transformers, any file will do that the adapter fits.
    if base_of(row.job) is not None:
        check_base_is_here(row.job)
    form = row.job.settings.form
    # Intents are written for bundles that the strategy pairs takes from what is known of the pairs.
    return replace(student_with(db, row.job.name), strategy="pairs" if form == "intents" else form)


def wait_for_training(db: Database, name: str) -> Iterator[JobRow]:
    """A training as it is seen, again and again, until it has ended; its adapter is here then.

    Raises:
        KdtuiError: it has not ended well, or its adapter did not come home.
    """
    while True:
        job = get_job(db, name)
        problem = next((seen.problem for seen in refresh(db, {name})), None) if job.host is not None else None
        row = one_job(db, name)
        yield row
        if problem is None and row.status.state not in ACTIVE:
            break
        finish(asyncio.sleep(_LOOK_HERE if job.host is None else _LOOK_THERE))
    if row.status.state != "done":
        raise KdtuiError(f"training {name!r} is {row.status.state}")
    if is_to_fetch(row):
        fetch(db, name)


def evaluate_when_done(db: Database, name: str) -> Iterator[JobRow | EvaluateEvent | ScoreRow]:
    """Wait for a training, and score its adapter on the validation splits of what it was trained on.

    Raises:
        KdtuiError: it has not ended well, its adapter did not come home, or there is nothing to validate on.
        ModelError: the student cannot be loaded, or fails.
    """
    yield from wait_for_training(db, name)
    row = one_job(db, name)
    for dataset in row.job.settings.datasets:
        sessions = split_to_score(db, dataset, "valid")
        run = None
        for event in evaluate_split(db, dataset, "valid", asked_as_trained(db, row), sessions):
            run = event.run if isinstance(event, RunBegun) else run
            yield event
        if run is not None:
            yield score_run(db, run, sessions)
    remember_evaluation(db, name)
