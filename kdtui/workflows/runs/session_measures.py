"""The contribution of each session of a run to the run's measures, for statistics that resample or pair sessions.

A measure of a run is a ratio of sums over its sessions: `total` over `weight`. Most measures are means over sessions: a
session counts once, or not at all. Coverage is a mean over hits, and the measures of intents are means over true
bundles: a session counts once for each of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isnan, nan
from typing import NamedTuple

from kdtui.bundling.intent_metrics import closest_score, match_intents, rouge_l, token_f1
from kdtui.bundling.metrics import score
from kdtui.bundling.truth import true_bundles
from kdtui.workflows.runs.evaluate import answered_by
from kdtui.workflows.runs.intent_cosine import IntentCosine
from kdtui.workflows.runs.session_selection import SessionSelection
from store.predictions import Prediction
from store.records import Session
from store.runs import Run, summary_of
from store.sqlite import Database

OVER_EVERY_SESSION = (
    "strict_precision",
    "strict_recall",
    "pair_f1",
    "exact",
    "bundles_per_session",
    "valid",
)
"""Measures in which each session counts once."""

OVER_ANSWERED_SESSIONS = ("precision", "recall", "recall_2024", "set_precision", "set_recall", "gjs")
"""Measures in which a session with a predicted bundle counts once, and others do not count."""

OVER_HITS = ("coverage",)
"""Measures in which a session counts once for each true bundle that contains a prediction."""

OVER_MATCHED_BUNDLES = ("intent_f1", "intent_rouge_l", "intent_cosine")
"""Measures in which a session counts once for each true bundle that a prediction overlaps; see
`kdtui.bundling.intent_metrics`. In a run without any intent nothing counts; without the encoder, nothing counts in the
cosine.
"""

COSTS = ("seconds", "prompt_tokens", "completion_tokens")
"""The cost of an answer, if known."""

MEASURES = (*OVER_EVERY_SESSION, *OVER_ANSWERED_SESSIONS, *OVER_HITS, *OVER_MATCHED_BUNDLES, *COSTS)


class Part(NamedTuple):
    """The contribution of a session to a measure: a sum of values, and their number; 0 if it is left out."""

    total: float
    weight: int

    @property
    def value(self) -> float:
        """The measure of only this session; nan if the session is left out."""
        return self.total / self.weight if self.weight else nan


LEFT_OUT = Part(0.0, 0)


@dataclass(frozen=True, slots=True)
class SessionMeasures:
    """A session that a run has answered.

    Attributes:
        session: its id.
        parts: by measure, for all of `MEASURES`.
    """

    session: str
    parts: Mapping[str, Part]

    def __getitem__(self, measure: str) -> float:
        """Return the measure of only this session; nan if the session is left out."""
        return self.parts[measure].value


def session_measures(db: Database, run: Run) -> Iterator[SessionMeasures]:
    """Yield the measures of the sessions that a run has answered, in the order of the split.

    Raises:
        NotFound: the run has been deleted.
        KdtuiError: the split is empty.
    """
    sessions = SessionSelection.by(summary_of(db, run.id)).sessions(db)
    # This stops at the first intent.
    names_intents = any(
        bundle.intent.strip() for _, answer in answered_by(db, run, sessions) for bundle in answer.bundles or ()
    )
    with IntentCosine(db, run.dataset, len(sessions)) as cosine:
        for session, answer in cosine.ahead(answered_by(db, run, sessions), lambda answer: answer.bundles):
            yield measures_of(session, answer, names_intents=names_intents, cosine=cosine.measure)


def measures_of(
    session: Session, answer: Prediction, *, names_intents: bool, cosine: Callable[[str, str], float] | None = None
) -> SessionMeasures:
    """Return the measures of one answer.

    Args:
        names_intents: whether the run has any intent; otherwise the measures of intents leave the session out.
        cosine: of the vectors of two texts, by an encoder.
    """
    truth = true_bundles(session)
    predicted = None if answer.bundles is None else [frozenset(each.positions) for each in answer.bundles]
    scores = score([truth], [predicted])
    parts = {name: Part(getattr(scores, name), 1) for name in OVER_EVERY_SESSION}
    parts |= {name: Part(getattr(scores, name), 1) if scores.n else LEFT_OUT for name in OVER_ANSWERED_SESSIONS}
    # Precision counts hits by predictions.
    hits = round(scores.precision * scores.bundles_per_session) if scores.n else 0
    parts["coverage"] = Part(scores.coverage * hits, hits) if hits else LEFT_OUT
    parts |= dict.fromkeys(OVER_MATCHED_BUNDLES, LEFT_OUT)
    if names_intents:
        parts |= _intent_parts(session, answer, cosine)
    for name in COSTS:
        taken = getattr(answer, name)
        parts[name] = LEFT_OUT if taken is None else Part(taken, 1)
    return SessionMeasures(session.id, parts)


def value_over(records: Iterable[SessionMeasures], measure: str) -> float:
    """Return a measure over sessions; nan if all are left out."""
    parts = [record.parts[measure] for record in records]
    return Part(sum(part.total for part in parts), sum(part.weight for part in parts)).value


def _intent_parts(session: Session, answer: Prediction, cosine: Callable[[str, str], float] | None) -> dict[str, Part]:
    named = [(frozenset(each.positions), each.intent) for each in answer.bundles or ()]
    pairs = match_intents(0, session.bundles, named)
    measures: dict[str, Callable[[str, str], float]] = {"intent_f1": token_f1, "intent_rouge_l": rouge_l}
    if cosine is not None:
        measures["intent_cosine"] = cosine
    totals = {
        # An empty intent counts 0 by every measure.
        name: sum(closest_score(measure, pair) for pair in pairs if pair.written.strip())
        for name, measure in measures.items()
    }
    return {name: LEFT_OUT if isnan(total) else Part(total, len(pairs)) for name, total in totals.items()}
