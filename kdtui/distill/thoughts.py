"""Deep thoughts, the third format of knowledge: from products to what shoppers want, and on to the bundles."""

from collections.abc import Sequence

from msgspec import Struct

from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.truth import true_bundles
from store.records import Session

AGREEMENT = 0.6
"""Minimum pair F1 between the bundles of a thought and the true ones. Below it, the thought would teach errors."""


class Step(Struct, frozen=True):
    """A bundle that a thought leads to.

    Attributes:
        positions: product numbers (1-based, ascending).
        intent: what shoppers want the products for.
        why: why they belong together.
    """

    positions: tuple[int, ...]
    intent: str
    why: str


class Thought(Struct, frozen=True):
    """The reasoning from one session to its bundles.

    Attributes:
        products: what each product is, in the order of the session.
        steps: the bundles, each derived from its intent.
        left_out: why the other products are in no bundle; empty if there are none.
    """

    products: tuple[str, ...]
    steps: tuple[Step, ...]
    left_out: str = ""

    @property
    def statement(self) -> str:
        """The thought as text, for people and for prompts."""
        products = "; ".join(f"{number}. {product}" for number, product in enumerate(self.products, start=1))
        steps = " ".join(
            f"Shoppers want {step.intent}: {','.join(map(str, step.positions))}, because {step.why}."
            for step in self.steps
        )
        return " ".join(part for part in (f"Products: {products}.", steps, self.left_out) if part)


def rejection_reason(thought: Thought, session: Session) -> str | None:
    """Return why a thought must be rejected; None if its bundles agree with the true ones."""
    agreement = pair_f1(true_bundles(session), bundles_of_thought(thought))
    if agreement >= AGREEMENT:
        return None
    return f"its bundles agree with the true ones to {agreement:.2f} (pair F1), and {AGREEMENT:g} is needed"


def bundles_of_thought(thought: Thought) -> Sequence[frozenset[int]]:
    """Return the bundles of a thought, as product numbers (1-based)."""
    return [frozenset(step.positions) for step in thought.steps]
