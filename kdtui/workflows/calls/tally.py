"""Count calls, their tokens and their cost."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """What has been asked: answered from the ledger, or paid for.

    Attributes:
        failed: calls without a usable answer; those that the server answered have cost.
        cost: of all calls; None where no prices are known.
        estimated: calls whose tokens the server does not tell.
        most_cost: what calls that are not made yet may cost at most, about.
    """

    hits: int = 0
    paid: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    estimated: int = 0
    most_cost: float | None = None

    def add(self, prompt_tokens: int, completion_tokens: int, cost: float | None, *, is_estimated: bool) -> None:
        """Count what a call took."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost
        self.estimated += is_estimated
