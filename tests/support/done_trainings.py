"""Trainings that are done, with answers that somebody has made up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from kdtui.bundling.truth import true_bundles
from kdtui.distill.training_set import bundles_to_name
from models.sft.job_files import ANSWERS, EXIT_CODE
from store.jobs import add_job
from store.records import Format, Session, TrainingSettings
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support import stand_in

Answer = dict[str, Any]
AnswerOf = Callable[[Session], Answer]


def right(session: Session) -> Answer:
    return {"bundles": [sorted(bundle) for bundle in true_bundles(session)]}


def wrong(_: Session) -> Answer:
    return {"bundles": []}


def named(session: Session) -> Answer:
    return {"written": [bundle.intent for bundle in bundles_to_name(session)]}


def unnamed(session: Session) -> Answer:
    return {"written": ["nothing of that" for _ in bundles_to_name(session)]}


def trained(
    db: Database,
    folder: Path,
    name: str,
    before: AnswerOf,
    after: AnswerOf,
    *,
    dataset: str = "outdoor",
    form: Literal["list", "pairs", "intents"] = "list",
    sessions: int | None = None,
    began_from: str | None = None,
) -> None:
    """Have a training be done whose answers to the training sessions are those.

    Args:
        folder: in which its directory is, among others.
    """
    job = folder / "jobs" / name
    stand_in.random_adapter(job / "adapter")
    (job / "job.json").write_text('{"base": "tiny.gguf"}')
    (job / EXIT_CODE).write_text("0")
    answered = [each for each in iter_sessions(db, dataset, split="train") if each.bundles][:sessions]
    lines = [
        {"session": each.id, "dataset": dataset, "before": before(each), "after": after(each)} for each in answered
    ]
    (job / "adapter" / ANSWERS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    # The shipped adapter was trained with patterns.
    knowledge: tuple[Format, ...] = ("pattern",) if began_from == "shipped" else ()
    add_job(db, name, job, TrainingSettings((dataset,), form, knowledge, began_from=began_from), name)
