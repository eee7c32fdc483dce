"""Score the answers to validation sessions that the trainer stores with an adapter.

Lists and pairs are scored by pair F1, intents by the token F1 of the intents written for the true bundles, so that
nothing but the intents differs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TypeAlias

import msgspec

from kdtui.bundling.intent_metrics import token_f1
from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.distill.training_set import bundles_to_name
from kdtui.workflows.job_state import Training
from store.errors import NotFound
from store.records import Session
from store.sessions import get_session
from store.sqlite import Database

_THRESHOLDS = tuple(number / 50 for number in range(5, 48))
"""Probabilities from which two products count as a pair."""


Values: TypeAlias = list[float]
"""Values of a measure, one for each session."""


@dataclass(frozen=True, slots=True)
class BeforeAndAfter:
    """A validation session, with the measure before and after the training.

    Attributes:
        before, after: 0..1.
        losses: of the true answer before and after, in nats per token; None if the trainer did not store them.
    """

    dataset: str
    session: Session
    before: float
    after: float
    losses: tuple[float, float] | None


class _Answer(msgspec.Struct):
    """An answer as `models.sft.answers` describes it."""

    loss: float | None = None
    pairs: list[tuple[int, int, float]] | None = None
    bundles: list[list[int]] | None = None
    written: list[str] | None = None


class _Line(msgspec.Struct):
    """A line of the file of answers."""

    session: str
    before: _Answer
    after: _Answer
    dataset: str | None = None


def score_answers(db: Database, training: Training, answers: Path) -> list[BeforeAndAfter]:
    """Score the answers to sessions that are still stored, the sessions of a dataset together."""
    answered: list[tuple[str, Session, _Answer, _Answer]] = []
    datasets = training.job.settings.datasets
    for line in _lines(answers):
        dataset = line.dataset or (datasets[0] if len(datasets) == 1 else "")
        try:
            answered.append((dataset, get_session(db, dataset, line.session), line.before, line.after))
        except NotFound:
            # It was deleted, or replaced by an import.
            continue
    order = list(dict.fromkeys(dataset for dataset, *_ in answered))
    answered.sort(key=lambda each: order.index(each[0]))
    if training.job.settings.form == "intents":
        return [
            BeforeAndAfter(dataset, session, old, new, _losses(before, after))
            for dataset, session, before, after in answered
            if (old := _intent_f1(session, before)) is not None and (new := _intent_f1(session, after)) is not None
        ]
    sessions = [session for _, session, _, _ in answered]
    befores = _pair_f1(sessions, [before for _, _, before, _ in answered])
    afters = _pair_f1(sessions, [after for _, _, _, after in answered])
    return [
        BeforeAndAfter(dataset, session, one, other, _losses(before, after))
        for (dataset, session, before, after), one, other in zip(answered, befores, afters, strict=True)
        if isfinite(one) and isfinite(other)
    ]


def _losses(before: _Answer, after: _Answer) -> tuple[float, float] | None:
    return None if before.loss is None or after.loss is None else (before.loss, after.loss)


def _lines(path: Path) -> Iterator[_Line]:
    """Yield the answers that the trainer stored. Skip damaged lines, which hosts send and which edits leave."""
    for text in path.read_bytes().splitlines():
        with suppress(msgspec.MsgspecError, RecursionError):
            yield msgspec.json.decode(text, type=_Line)


def _intent_f1(session: Session, answer: _Answer) -> float | None:
    """Return the mean token F1 over the true bundles of a session; None if the answers are for other bundles."""
    bundles = bundles_to_name(session)
    if answer.written is None or not bundles or len(answer.written) != len(bundles):
        return None
    return mean_intent_f1(
        session, {frozenset(each.positions): text for each, text in zip(bundles, answer.written, strict=True)}
    )


def mean_intent_f1(session: Session, intents: Mapping[frozenset[int], str]) -> float:
    """Return the mean token F1 of intents for bundles, each compared with the closest intent that people wrote."""
    total = 0.0
    for positions, text in intents.items():
        wanted = [each.intent for each in session.bundles if frozenset(each.positions) == positions]
        total += max(token_f1(intent, text) for intent in wanted)
    return total / len(intents)


def _pair_f1(sessions: Sequence[Session], answers: Sequence[_Answer]) -> Values:
    """Return the pair F1 of each session; nan if its answer is unusable.

    Pairs count from a threshold on. The threshold of a session is the best one for all other sessions: one chosen on
    the session itself would flatter.
    """
    truths = [true_bundles(session) for session in sessions]
    values: Values = []
    for truth, answer in zip(truths, answers, strict=True):
        listed = answer.bundles
        values.append(float("nan") if listed is None else pair_f1(truth, [frozenset(each) for each in listed]))
    asked = [at for at, answer in enumerate(answers) if answer.pairs is not None]
    if asked:
        # Imported here: a tenth of a second.
        import numpy as np

        least = np.log(np.array(_THRESHOLDS) / (1 - np.array(_THRESHOLDS)))
        table = np.array(
            [
                [
                    pair_f1(
                        truths[at], [frozenset((a, b)) for a, b, score in answers[at].pairs or () if score >= bound]
                    )
                    for bound in least.tolist()
                ]
                for at in asked
            ]
        )
        others = table.sum(axis=0) - table
        for row, at in enumerate(asked):
            values[at] = float(table[row, int(others[row].argmax())])
    return values
