"""How near intents are to each other by the shipped sentence encoder. Each is encoded once, and its vector is kept."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from math import isnan, nan
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from kdtui.bundling.answer_sums import BundleWithIntent
from kdtui.bundling.metrics import Scores, has_intent_scores
from models.errors import ModelError
from store.records import Session
from store.sqlite import Database

if TYPE_CHECKING:
    from kdtui.workflows.data.text_vectors import TextVectors
    from models.unit_vectors import Vectors

MOST_SESSIONS = 2_000
"""Sessions whose intents are compared by their vectors: those of more may take hours to encode."""

_AHEAD = 64
"""Sessions whose intents are read at once."""

_Answer = TypeVar("_Answer")


class IntentCosine(AbstractContextManager["IntentCosine"]):
    """Gives the cosine of two intents. Nothing is imported or loaded before there are two.

    Args:
        dataset: where the vectors are kept.
        sessions: about how many it is asked.

    Attributes:
        measure: of two texts, -1..1; nan where the encoder cannot be used. None where there are too many sessions.
    """

    def __init__(self, db: Database, dataset: str, sessions: int) -> None:
        self._db = db
        self._dataset = dataset
        self._vectors: TextVectors | None = None
        self._has_failed = False
        self.measure: Callable[[str, str], float] | None = self._of if sessions <= MOST_SESSIONS else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Keep what is not kept yet, and free the encoder."""
        if self._vectors is not None:
            self._vectors.close()
            self._vectors = None

    def ahead(
        self,
        answered: Iterable[tuple[Session, _Answer]],
        bundles_of: Callable[[_Answer], Iterable[BundleWithIntent] | None],
    ) -> Iterator[tuple[Session, _Answer]]:
        """The same sessions and answers; the intents of many are read at once, which is much quicker."""
        if self.measure is None:
            yield from answered
            return
        remaining = iter(answered)
        while part := list(islice(remaining, _AHEAD)):
            texts: dict[str, None] = {}
            for session, answer in part:
                if written := [each.intent for each in bundles_of(answer) or () if each.intent.strip()]:
                    texts |= dict.fromkeys([*written, *(each.intent for each in session.bundles)])
            if texts:
                self.read(list(texts))
            yield from part

    def read(self, texts: list[str]) -> "Vectors | None":
        """(texts, dimensions), each of length one; None where the encoder cannot be used.

        Raises:
            Cancelled: the cancellation that is in force was cancelled.
            NotFound: there is no such dataset any more.
        """
        if self._has_failed:
            return None
        if self._vectors is None:
            # Imported here: numpy takes a tenth of a second.
            from kdtui.workflows.data.text_vectors import TextVectors

            self._vectors = TextVectors(self._db, self._dataset, lambda _: None)
        try:
            return self._vectors.required(texts)
        except ModelError:
            self._has_failed = True
            return None

    def _of(self, one: str, other: str) -> float:
        vectors = self.read([one, other])
        # Vectors are of length one to a few digits.
        return nan if vectors is None else min(1.0, max(-1.0, float(vectors[0] @ vectors[1])))


def lacks_cosine(scores: Scores) -> bool:
    """Whether the encoder could not be used when these were computed. It may be there the next time, so they are not to
    be kept."""
    return has_intent_scores(scores) and isnan(scores.intent_cosine) and scores.sessions <= MOST_SESSIONS
