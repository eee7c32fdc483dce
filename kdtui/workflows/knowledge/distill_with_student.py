"""Distil with one's own model as the teacher: its answers to the training sessions, compared with what people bundled.

A small model cannot say why. So only its bundles and intents are used, and the rest is composed as for the annotations:
a thought goes from the products to its own bundles and is kept if these are right; rules are about the products that it
wrongly put together or kept apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from kdtui.distill import annotations
from kdtui.distill.rules import Rule, consolidate
from kdtui.distill.thoughts import rejection_reason
from kdtui.workflows.knowledge.distill import is_sample, rule_pieces, training_sessions
from kdtui.workflows.knowledge.findings import Distilled, Findings, store_findings
from kdtui.workflows.runs.evaluate import answer_split, claimed_run
from kdtui.workflows.student.generate import GenerateEvent
from kdtui.workflows.student.open import open_student
from kdtui.workflows.student.settings import settings_for, student_name
from kdtui.workflows.student.strategy import with_strategy
from store.knowledge import NewKnowledge
from store.predictions import Prediction, count_answers, predictions
from store.records import Bundle, Format, RunSettings, Session
from store.runs import Run, plain_runs, start_run
from store.sqlite import Database
from store.subsets import draw_subset


@dataclass(frozen=True, slots=True)
class Begun:
    """The number of sessions that were answered before."""

    answered: int
    of: int


DistillEvent: TypeAlias = Begun | GenerateEvent | Distilled


def student_as_teacher(db: Database, dataset: str, student: str) -> str:
    """Return the teacher name of a student."""
    return student_name(_settings(db, dataset, student, None, 0))


def distill_with_student(
    db: Database,
    dataset: str,
    formats: Sequence[Format],
    student: str,
    limit: int | None,
    seed: int = 0,
    *,
    replace: bool = False,
) -> Iterator[DistillEvent]:
    """Have the student answer the training sessions, storing each answer, and compose rules and thoughts.

    The answers are a run over the train split; an interrupted run is resumed. New pieces are stored next to earlier
    ones.

    Args:
        limit, seed: as in `training_sessions`.
        replace: delete earlier pieces that are not found again, if the student has answered all sessions.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: it has no training sessions with bundles, or there is no such student.
        ModelError: the model cannot be loaded.
    """
    sessions = training_sessions(db, dataset, limit, seed)
    settings = _settings(db, dataset, student, limit, seed)
    run = _earlier_run(db, dataset, settings)
    answered = 0 if run is None else count_answers(db, run)
    yield Begun(answered, len(sessions))
    if run is None or answered < len(sessions):
        with open_student(db, dataset, settings) as ready:
            # A run begins when the student is ready. Another process can have begun it meanwhile.
            with db.atomic():
                run = _earlier_run(db, dataset, settings) or start_run(db, dataset, "train", ready.name, settings)
            # In random order, so that an interrupted run has answered a fair sample.
            shuffled = draw_subset(sessions, len(sessions), seed, lambda each: each.id)
            with claimed_run(db, run):
                yield from answer_split(db, run, shuffled, ready)
    answers = predictions(db, run)
    pieces: dict[Format, list[NewKnowledge]] = {}
    if "rule" in formats:
        rules = [(rule, session.id) for session in sessions for rule in _rules(session, answers.get(session.id))]
        pieces["rule"] = list(rule_pieces(consolidate(rules), sessions))
    if "thought" in formats:
        pieces["thought"] = list(_thoughts(sessions, answers))
    is_whole = all(session.id in answers and answers[session.id].bundles is not None for session in sessions)
    findings = Findings(dataset, run.name, pieces, is_sample=is_sample(db, dataset, sessions))
    yield from store_findings(db, findings, replace=replace, is_whole=is_whole)


def _earlier_run(db: Database, dataset: str, settings: RunSettings) -> Run | None:
    """Return the newest run of these settings, if any; there can be newer ones of others."""
    runs = plain_runs(db, dataset, "train", settings.student)
    return next((run for run in runs if run.settings == settings), None)


def _settings(db: Database, dataset: str, student: str, limit: int | None, seed: int) -> RunSettings:
    return with_strategy(db, dataset, settings_for(student, limit=limit, seed=seed))


def _rules(session: Session, answer: Prediction | None) -> Iterator[Rule]:
    if answer is not None and answer.bundles is not None:
        yield from annotations.derive_rules(session, [frozenset(bundle.positions) for bundle in answer.bundles])


def _thoughts(sessions: Sequence[Session], answers: dict[str, Prediction]) -> Iterator[NewKnowledge]:
    for session in sessions:
        answer = answers.get(session.id)
        if answer is None or not answer.bundles:
            continue
        thought = annotations.compose_thought(session, [Bundle(each.positions, each.intent) for each in answer.bundles])
        yield NewKnowledge(
            thought.statement,
            msgspec.json.encode(thought).decode(),
            rejected=rejection_reason(thought, session),
            sessions=(session.id,),
        )
