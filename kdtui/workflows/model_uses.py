"""What uses a model: runs, routers, and datasets that it answers by default."""

from dataclasses import dataclass

from kdtui.text import counted
from store.default_adapters import default_adapters
from store.routers import routers_with
from store.runs import runs_of_model
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class ModelUses:
    """What uses a model.

    Attributes:
        runs, routers: their numbers; both stay when it is deleted.
        default_for: datasets whose default adapter it is; they have none when it is deleted.
    """

    runs: int
    routers: int
    default_for: tuple[str, ...]

    @property
    def in_words(self) -> list[str]:
        """Parts of a sentence that says what the model is; empty if nothing uses it."""
        numbers = (counted(number, what) for number, what in ((self.runs, "run"), (self.routers, "router")) if number)
        words = [f"used by {users}"] if (users := " and ".join(numbers)) else []
        if self.default_for:
            datasets = ", ".join(self.default_for)
            words.append(f"the default adapter of {datasets}, which the shipped student answers from then on")
        return words


def uses_of_model(db: Database, name: str) -> ModelUses:
    """Return what uses the model of this name, or the adapter of the training of this name."""
    defaults = default_adapters(db)
    return ModelUses(
        runs_of_model(db, name),
        routers_with(db, name),
        tuple(dataset for dataset, adapter in defaults.items() if adapter == name),
    )
