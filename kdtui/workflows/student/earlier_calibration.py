"""Compare an earlier calibration with a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from kdtui.bundling.metrics import pair_f1
from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.student.cross_validation import JudgedStrategy
from kdtui.workflows.student.strategy import weights_of
from models.pairs.calibration import (
    Calibration,
)
from models.pairs.clustering import likely_bundles
from models.student_protocol import StrategyName
from store.calibrations import StoredCalibration


@dataclass(frozen=True, slots=True)
class CalibrationsCompared:
    """An earlier calibration compared with the new one on the same sessions.

    Attributes:
        is_kept: whether the earlier one is kept.
        fitted_on: sessions that it was fitted on.
        seen: sessions on which it had to be judged although it may have been fitted on them.
        f1: pair F1 of the earlier one, and of the new one.
        sessions: that both were judged on.
    """

    strategy: StrategyName
    is_kept: bool
    fitted_on: int
    seen: int
    f1: tuple[float, float]
    sessions: int

    @property
    def in_words(self) -> str:
        """What was done, and why, as a sentence without a full stop."""
        before = f"the earlier calibration, over {counted(self.fitted_on, 'session')},"
        done = "is kept" if self.is_kept else "is replaced"
        favour = f" (it may have been fitted on {self.seen:,} of them, which may favour it)" if self.seen else ""
        return (
            f"{self.strategy}: {before} {done}; on these {self.sessions:,} sessions its pair F1 is {self.f1[0]:.3f}"
            f"{favour}, and that of the new one is {self.f1[1]:.3f}"
        )


@dataclass(frozen=True, slots=True)
class EarlierCalibration:
    """An existing calibration.

    Attributes:
        fitted_on: sessions that it was fitted on.
        f1: by session id, of the sessions that it was fitted on, each judged by a fit on the others; empty if unknown.
    """

    calibration: Calibration
    fitted_on: int
    f1: Mapping[str, float]


def usable_calibration(stored: StoredCalibration | None, weights: str) -> EarlierCalibration | None:
    """Return the present calibration of a strategy; None if there is none that can be used."""
    if stored is not None:
        try:
            return EarlierCalibration(weights_of(stored), stored.sessions, known_f1(stored, weights))
        except KdtuiError:
            # A calibration that cannot be used is replaced.
            return None
    return None


def known_f1(stored: StoredCalibration, weights: str) -> Mapping[str, float]:
    """Return the stored results of a calibration by session, if they are known to be about these weights."""
    return stored.session_f1 or {} if stored.model == weights else {}


def compare_calibrations(
    strategy: StrategyName, earlier: EarlierCalibration, judged: JudgedStrategy, ids: Sequence[str]
) -> tuple[CalibrationsCompared, list[float]]:
    """Compare an earlier calibration with a new one on the same sessions, and decide which to use.

    Returns:
        the decision, and the pair F1 of the earlier one by session.
    """
    f1 = [
        known if (known := earlier.f1.get(session)) is not None else _f1_by(earlier.calibration, judged, number)
        for number, session in enumerate(ids)
    ]
    gains = [new - old for new, old in zip(judged.f1, f1, strict=True)]
    error = stdev(gains) / sqrt(len(gains))
    has_as_many = len(ids) >= earlier.fitted_on
    is_kept = mean(gains) < -error if has_as_many else mean(gains) <= error
    # If its sessions are known, it was not fitted on any others.
    seen = 0 if earlier.f1 or strategy == "list" else len(ids)
    return CalibrationsCompared(strategy, is_kept, earlier.fitted_on, seen, (mean(f1), mean(judged.f1)), len(ids)), f1


def _f1_by(calibration: Calibration, judged: JudgedStrategy, number: int) -> float:
    """Return the pair F1 of a session by the weights of another calibration."""
    if judged.scores is None or calibration.pairs is None:
        # Written bundles do not depend on weights.
        return judged.f1[number]
    session, pairs = judged.scores[number], calibration.pairs
    found = likely_bundles(session.probabilities(pairs), pairs.threshold)
    return pair_f1(session.truth, [frozenset(positions) for _, positions in found])
