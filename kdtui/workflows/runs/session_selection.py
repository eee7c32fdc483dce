"""The sessions that runs are scored on. Only runs over the same sessions can be compared."""

from dataclasses import dataclass, field

from kdtui.bundling.subset import subset_in_words
from kdtui.workflows.runs.evaluate import split_to_score
from store.records import Split
from store.runs import Run, RunSummary
from store.sessions import split_size
from store.split_sessions import SplitSessions
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class SessionSelection:
    """The sessions of a split, or `limit` of them (None: all).

    Attributes:
        seed: of the draw; None if none are left out, and for the first ones as imported.
        split_size: sessions of the whole split.
    """

    dataset: str
    split: Split
    limit: int | None = None
    seed: int | None = None
    split_size: int = field(default=0, compare=False)

    @classmethod
    def by(cls, summary: RunSummary) -> "SessionSelection":
        """Return the sessions of a run."""
        return cls.of(summary.run, summary.split_size)

    @classmethod
    def of(cls, run: Run, size: int) -> "SessionSelection":
        """Return the sessions of a run, over a split of this size."""
        return cls._of(run.dataset, run.split, run.settings.limit, run.settings.seed, size)

    @classmethod
    def among(cls, db: Database, dataset: str, split: Split, limit: int | None, seed: int | None) -> "SessionSelection":
        """Return some sessions of a split.

        Raises:
            NotFound: there is no such dataset.
        """
        return cls._of(dataset, split, limit, seed, split_size(db, dataset, split))

    @classmethod
    def _of(cls, dataset: str, split: Split, limit: int | None, seed: int | None, size: int) -> "SessionSelection":
        # A limit that leaves out nothing makes no difference.
        if limit is None or limit >= size:
            return cls(dataset, split, split_size=size)
        return cls(dataset, split, limit, seed, size)

    @property
    def in_words(self) -> str:
        """The number of sessions and of the whole split, and how they were chosen."""
        return subset_in_words(self.split, self.limit or self.split_size, self.split_size, self.seed)

    @property
    def are_the_first(self) -> bool:
        """Whether these are the first sessions as imported, as in runs of earlier versions. No command chooses them."""
        return self.limit is not None and self.seed is None

    def sessions(self, db: Database) -> SplitSessions:
        """Return the sessions, which are read while they are iterated over.

        Raises:
            NotFound: there is no such dataset.
            KdtuiError: the split is empty.
        """
        return split_to_score(db, self.dataset, self.split, self.limit, self.seed)
