"""The cost of calls to a teacher, as far as it is known."""

from dataclasses import dataclass
from math import isfinite

from kdtui.errors import KdtuiError


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in any currency for a million tokens. None if unknown; it counts as 0 if the other price is known."""

    prompt: float | None = None
    completion: float | None = None

    @property
    def are_known(self) -> bool:
        """Whether any price is known."""
        return self.prompt is not None or self.completion is not None

    def of(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the cost of tokens; None if no price is known."""
        if not self.are_known:
            return None
        return (prompt_tokens * (self.prompt or 0.0) + completion_tokens * (self.completion or 0.0)) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of what may be paid for; None for no limit."""

    calls: int | None = None
    cost: float | None = None


def check_budget(budget: Budget, prices: Prices, *, of: str = "") -> None:
    """Refuse a budget that cannot be kept.

    Args:
        of: the prefix of the options for prices.

    Raises:
        KdtuiError: it limits the cost and there are no prices, or one of its numbers is not finite.
    """
    for name, number in {
        "--max-cost": budget.cost,
        f"--{of}prompt-price": prices.prompt,
        f"--{of}answer-price": prices.completion,
    }.items():
        if number is not None and not isfinite(number):
            raise KdtuiError(f"{name} must be a number such as 2.5, not {number}")
    if budget.cost is not None and not prices.are_known:
        raise KdtuiError(
            f"a limit of the cost needs prices: give --{of}prompt-price and --{of}answer-price (0 if free), "
            "or limit the calls with --max-calls"
        )


def tokens_text(tokens: int | None, *, is_estimated: bool, unknown: str) -> str:
    """Format a number of tokens for users; see `cost_text`."""
    return unknown if tokens is None else f"{'~' if is_estimated else ''}{tokens:,}"


def cost_text(cost: float | None, *, is_estimated: bool = False, unknown: str = "unknown") -> str:
    """Format a cost for users.

    Args:
        is_estimated: whether it was computed from estimated tokens.
        unknown: the text for an unknown cost.
    """
    if cost is None:
        return unknown
    digits = f"{cost:.4f}" if not cost or cost >= 0.0001 else f"{cost:.1g}"
    return f"~{digits}" if is_estimated else digits
