"""Count calls, their tokens and their cost."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Counts of calls: answered from the ledger, or paid for.

    Attributes:
        failed: calls without a usable answer; those that the server answered were paid for.
        cost: of all calls; None if no prices are known.
        estimated: calls whose tokens the server does not report.
        most_cost: the upper bound of the cost of calls that have not been made yet, about.
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
