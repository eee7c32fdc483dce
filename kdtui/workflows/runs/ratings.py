"""What a judge says of the intents of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratings:
    """What a judge says of the intents of a run.

    Attributes:
        judge: who rates.
        mean: of the ratings, 1 to 5; nan where there is none.
        n: intents that are rated.
        failed: intents for which the judge gave no usable answer.
        intents: all that the run has; those that are neither were not asked about.
        stopped: why not all were asked about; None where all were.
    """

    judge: str
    mean: float
    n: int
    failed: int
    intents: int
    stopped: str | None = None

    def to_json(self) -> dict[str, object]:
        """A flat object."""
        return {
            "judge": self.judge,
            "mean": self.mean if self.n else None,
            "n": self.n,
            "failed": self.failed,
            "intents": self.intents,
        }
