"""A training that the user wants to start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from models.embedded import NAME
from models.sft.job import CONTINUED_LEARNING_RATE, EPOCHS, LEARNING_RATE
from store.records import FORMATS, TrainingSettings

if TYPE_CHECKING:
    from kdtui.workflows.training.plan import TrainingPlan
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """A training that the user wants to start.

    Attributes:
        source: the adapter to continue; None to begin from the base.
        form: what the student is asked for, from `TrainingSettings`.
        knowledge: formats that the student is shown, or learns to write.
        target: whether the student learns to write the knowledge.
        sample: the sample that the knowledge comes from; None for all knowledge.
        host: where to train; None for this machine.
        after: the training to wait for; None to begin at once.
        evaluate: whether to evaluate the adapter when the training is done.
    """

    name: str
    datasets: tuple[str, ...]
    source: str | None = None
    form: str = "pairs"
    knowledge: tuple[str, ...] = ()
    target: bool = False
    sample: str | None = None
    base: str = NAME
    epochs: int = EPOCHS
    learning_rate: float = LEARNING_RATE
    host: str | None = None
    after: str | None = None
    evaluate: bool = False

    @property
    def default_rate(self) -> float:
        """The default learning rate, which depends on whether an adapter is continued."""
        return LEARNING_RATE if self.source is None else CONTINUED_LEARNING_RATE

    def plan(self, db: "Database") -> "TrainingPlan":
        """Return the plan of the training.

        Raises:
            KdtuiError: the adapter to continue cannot be used.
        """
        from kdtui.workflows.training.plan import TrainingPlan
        from kdtui.workflows.training.source_adapters import find_source

        source = None if self.source is None else find_source(db, self.source)
        settings = TrainingSettings(
            self.datasets,
            cast("Literal['pairs', 'list']", self.form),
            self.knowledge,
            self.target,
            self.sample,
            epochs=self.epochs,
            began_from=None if source is None else source.name,
        )
        return TrainingPlan(
            self.name,
            settings,
            self.base,
            learning_rate=self.learning_rate,
            source=source,
            host=self.host,
            after=self.after,
            evaluate=self.evaluate,
        )

    def values(self) -> Mapping[str, str]:
        """Return the request as values of the fields of its form."""
        return {
            "name": self.name,
            "datasets": ", ".join(self.datasets),
            "from": self.source or "",
            "form": self.form,
            **{format: "yes" if format in self.knowledge else "" for format in FORMATS},
            "as": "target" if self.target else "context",
            "sample": self.sample or "",
            "base": self.base,
            "epochs": str(self.epochs),
            "learning_rate": rate_text(self.learning_rate),
            "host": self.host or "",
            "after": self.after or "",
            "evaluate": "yes" if self.evaluate else "",
        }


def rate_text(rate: float) -> str:
    """Format a learning rate without an exponent, if it is not tiny."""
    text = f"{rate:.10f}".rstrip("0")
    return text if float(text) == rate else f"{rate:g}"
