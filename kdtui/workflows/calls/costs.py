"""What calls to a teacher cost, as far as that is known."""

from dataclasses import dataclass
from math import isfinite

from kdtui.errors import KdtuiError


@dataclass(frozen=True, slots=True)
class Prices:
    """In any currency, for a million tokens; None where a price is not known. Beside a known one it counts as 0."""

    prompt: float | None = None
    completion: float | None = None

    @property
    def are_known(self) -> bool:
        """Whether anything can be said of costs."""
        return self.prompt is not None or self.completion is not None

    def of(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """What so many tokens cost; None where no price is known."""
        if not self.are_known:
            return None
        return (prompt_tokens * (self.prompt or 0.0) + completion_tokens * (self.completion or 0.0)) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be paid for; None where it does not matter."""

    calls: int | None = None
    cost: float | None = None


def check_budget(budget: Budget, prices: Prices, *, of: str = "") -> None:
    """Refuse a budget that could not be kept to.

    Args:
        of: what the options of the prices begin with.

    Raises:
        KdtuiError: it limits the cost, and there are no prices; or one of these is no number.
    """
    for name, number in {
        "--max-cost": budget.cost,
        f"--{of}prompt-price": prices.prompt,
        f"--{of}answer-price": prices.completion,
    }.items():
        if number is not None and not isfinite(number):
            raise KdtuiError(f"{name} is a number such as 2.5, not {number}")
    if budget.cost is not None and not prices.are_known:
        raise KdtuiError(
            f"a limit of the cost needs prices: give --{of}prompt-price and --{of}answer-price (0 for what is free), "
            "or limit the calls with --max-calls"
        )


def tokens_text(tokens: int | None, *, is_estimated: bool, unknown: str) -> str:
    """A number of tokens for people; see `cost_text`."""
    return unknown if tokens is None else f"{'~' if is_estimated else ''}{tokens:,}"


def cost_text(cost: float | None, *, is_estimated: bool = False, unknown: str = "unknown") -> str:
    """A cost for people.

    Args:
        is_estimated: whether it was made from estimated tokens.
        unknown: what to say of a cost that is not known.
    """
    if cost is None:
        return unknown
    digits = f"{cost:.4f}" if not cost or cost >= 0.0001 else f"{cost:.1g}"
    return f"~{digits}" if is_estimated else digits
