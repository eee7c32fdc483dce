"""The measures of the cells of a study by session, as arrays. Those of a run are computed once."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache

import numpy as np
import numpy.typing as npt

from kdtui.bundling import floors
from kdtui.bundling.answer_sums import BundleWithIntent
from kdtui.bundling.truth import minimal_bundles
from kdtui.errors import KdtuiError
from kdtui.statistics.sessions import CellValues
from kdtui.workflows.code_version import code_version
from kdtui.workflows.model_names import PATTERNS
from kdtui.workflows.runs.session_measures import MEASURES, SessionMeasures, measures_of, session_measures
from models.embedded import ENCODER_SHA256
from store.predictions import PredictedBundle, Prediction, count_failures
from store.records import Bundle, RunSettings, Session
from store.run_measures import CachedMeasures, cache_measures, cached_measures
from store.runs import Run
from store.sqlite import Database

_COMPUTED_BY = (
    ("kdtui.bundling", ""),
    ("kdtui.workflows.runs", "session_measures.py"),
    ("kdtui.workflows.runs", "intent_cosine.py"),
)
"""The packages and files whose code the measures depend on."""

Values = npt.NDArray[np.float64]


class RunMeasures:
    """The measures of the sessions that a run has answered.

    Args:
        sessions: their ids.
        values: (measures, 2, sessions): a total and a weight for each.
    """

    def __init__(self, sessions: Sequence[str], values: Values) -> None:
        self.sessions = tuple(sessions)
        self._values = values
        self._row = {measure: at for at, measure in enumerate(MEASURES)}

    @classmethod
    def of(cls, records: Sequence[SessionMeasures]) -> "RunMeasures":
        """Build from the measures of each session."""
        values = np.zeros((len(MEASURES), 2, len(records)))
        for at, record in enumerate(records):
            for row, measure in enumerate(MEASURES):
                values[row, :, at] = record.parts[measure]
        return cls([record.session for record in records], values)

    def aligned(self, measure: str, sessions: Mapping[str, int]) -> tuple[Values, Values]:
        """Return the value of each session, nan if it is left out or not answered, and its weight.

        Args:
            sessions: the column of each session.
        """
        values, weights = np.full(len(sessions), np.nan), np.zeros(len(sessions))
        totals, counted = self._values[self._row[measure]]
        columns = [sessions[session] for session in self.sessions if session in sessions]
        known = [at for at, session in enumerate(self.sessions) if session in sessions]
        weights[columns] = counted[known]
        with np.errstate(invalid="ignore", divide="ignore"):
            values[columns] = np.where(counted[known] > 0, totals[known] / counted[known], np.nan)
        return values, weights

    def counts(self, measure: str) -> bool:
        """Return whether any session counts in a measure."""
        return bool(self._values[self._row[measure], 1].any())

    def count(self, measure: str) -> int:
        """Count the sessions that count in a measure."""
        return int(np.count_nonzero(self._values[self._row[measure], 1]))

    def by_session(self) -> Values:
        """Return (sessions, measures, 2): the total and the weight of each measure."""
        return np.transpose(self._values, (2, 0, 1))

    @property
    def content(self) -> bytes:
        """The values as they are stored."""
        return self._values.astype("<f8").tobytes()


def run_measures(db: Database, run: Run) -> RunMeasures:
    """Return the measures of a run. They are computed once, and stored until its answers change.

    Raises:
        NotFound: the run has been deleted.
        KdtuiError: its split is empty.
    """
    # An answer never changes, but a failure can be replaced by an answer.
    failed = sum(count_failures(db, [run.id]).get(run.id, {}).values())
    version = f"{_version()} but {failed}" if failed else _version()
    cached = cached_measures(db, run.id, version)
    if cached is not None:
        values = np.frombuffer(cached.values, dtype="<f8")
        if values.size == len(MEASURES) * 2 * len(cached.sessions):
            return RunMeasures(cached.sessions, values.reshape(len(MEASURES), 2, -1))
    measures = RunMeasures.of(list(session_measures(db, run)))
    # If the encoder cannot be used now, it may be usable later.
    if measures.counts("intent_cosine") or not measures.counts("intent_f1"):
        cache_measures(db, run.id, version, CachedMeasures(measures.sessions, measures.content))
    return measures


def cell_values(seeds: Sequence[RunMeasures], measure: str, sessions: Mapping[str, int]) -> CellValues:
    """Return a measure of a cell, by seed and session.

    Args:
        seeds: the run of each seed.
        sessions: the column of each session.
    """
    rows = [each.aligned(measure, sessions) for each in seeds]
    return CellValues.of(np.array([values for values, _ in rows]), np.array([weights for _, weights in rows]))


def floor_measures(db: Database, dataset: str, sessions: Sequence[Session]) -> dict[str, RunMeasures]:
    """Measure the floors: the rules without a model, the pattern student, and the truth."""
    from kdtui.workflows.runs.floors import answers_of
    from kdtui.workflows.student.open import open_student

    measures: dict[str, list[SessionMeasures]] = {name: [] for name in floors.NAMES}
    for session in sessions:
        for name, bundles in zip(floors.NAMES, floors.floors_of(session), strict=True):
            measures[name].append(_measured(session, [Bundle(tuple(sorted(each))) for each in bundles]))
    # A dataset without training sessions has no learned floor. The other rows remain.
    with suppress(KdtuiError), open_student(db, dataset, RunSettings(PATTERNS)) as student:
        measures[PATTERNS] = [_measured(session, bundles) for session, bundles in answers_of(student, sessions)]
    measures["truth"] = [_measured(session, minimal_bundles(session.bundles)) for session in sessions]
    return {name: RunMeasures.of(records) for name, records in measures.items()}


def _measured(session: Session, bundles: Sequence[BundleWithIntent] | None) -> SessionMeasures:
    predicted = None
    if bundles is not None:
        predicted = tuple(PredictedBundle((), tuple(each.positions), each.intent, 1.0) for each in bundles)
    error = "it was not answered" if predicted is None else None
    return measures_of(session, Prediction(session.id, predicted, error, 0.0), names_intents=False)


@cache
def _version() -> str:
    return f"{code_version(_COMPUTED_BY)} {ENCODER_SHA256}"
