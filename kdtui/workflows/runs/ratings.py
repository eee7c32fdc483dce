"""Ratings of the intents of a run by a judge."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings of the intents of a run by a judge.

    Attributes:
        judge: its name.
        mean: of the ratings, 1 to 5; nan if there is none.
        n: rated intents.
        failed: intents without a usable answer of the judge.
        intents: all intents of the run, including those that were not asked about.
        stopped: why not all were asked about; None if all were.
    """

    judge: str
    mean: float
    n: int
    failed: int
    intents: int
    stopped: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return a flat object."""
        return {
            "judge": self.judge,
            "mean": self.mean if self.n else None,
            "n": self.n,
            "failed": self.failed,
            "intents": self.intents,
        }
