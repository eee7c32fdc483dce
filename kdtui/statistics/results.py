"""What the statistics of a study find: estimates and comparisons."""

from dataclasses import dataclass

LEVEL = 0.05
"""Of intervals and of claims."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of one cell.

    Attributes:
        mean: of its seeds; nan without any session.
        low, high: 95 % interval; nan with fewer than two sessions. It has no width where all sessions have one value,
            which is no certainty: no resampling can tell what sessions might have that are not there.
        sessions: how many count.
        seeds: how many there are.
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
        difference: of the means, the other less the baseline; nan without any session.
        low, high: its 95 % interval; nan with fewer than two sessions.
        p: of an approximate randomization test that flips signs of the differences of sessions; where cells are
            repeated, no less than the one at which an interval that holds the luck of seeds ends at 0.
        adjusted_p: after Holm's correction, over all comparisons of the question.
        sessions: how many both have.
        seeds: of the baseline and of the other.
        smallest_effect: the difference that shows with a probability of 80 % at the first and strictest level of Holm's
            correction; nan where none could show: with too few sessions, or without any difference.
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
        """Whether the difference is more than noise."""
        return self.adjusted_p <= LEVEL
