"""Results of the statistics of a study: estimates and comparisons."""

from dataclasses import dataclass

LEVEL = 0.05
"""Significance level of intervals and of claims."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of one cell.

    Attributes:
        mean: mean over the seeds; nan without any session.
        low, high: 95 % confidence interval; nan with fewer than two sessions. It has width zero if all sessions have
            the same value. That is not certainty: resampling cannot show what other sessions would be like.
        sessions: number of sessions with a weight.
        seeds: number of seeds.
        between_seeds: standard deviation of the values of the seeds; nan with fewer than two.
    """

    mean: float
    low: float
    high: float
    sessions: int
    seeds: int
    between_seeds: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A cell compared with a baseline, over the sessions that all seeds of both have.

    Attributes:
        difference: mean of the other cell minus mean of the baseline; nan without any session.
        low, high: 95 % confidence interval of the difference; nan with fewer than two sessions.
        p: p value of an approximate randomization test that flips the signs of the sessions' differences. For repeated
            cells it is at least the level at which the interval that includes the seeds' variance ends at 0.
        adjusted_p: after Holm's correction, over all comparisons of the question.
        sessions: number of sessions that both have.
        seeds: numbers of seeds of the baseline and of the other cell.
        smallest_effect: difference that would be found with a power of 80 % at the first and strictest level of Holm's
            correction; nan if none could be found: too few sessions, or no variation at all.
    """

    baseline: str
    other: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    adjusted_p: float
    sessions: int
    seeds: tuple[int, int]
    smallest_effect: float

    @property
    def is_claimed(self) -> bool:
        """Whether the difference is significant."""
        return self.adjusted_p <= LEVEL
