"""Scores of a student's answers: how well its bundles and intents match those of the annotators."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from kdtui.bundling.intent_metrics import IntentSums
from kdtui.bundling.metrics import Scores, ScoreSums
from kdtui.bundling.truth import true_bundles
from store.records import Session


class BundleWithIntent(Protocol):
    """A predicted bundle: positions from 1, and an intent, which can be empty."""

    @property
    def positions(self) -> tuple[int, ...]: ...

    @property
    def intent(self) -> str: ...


class AnswerSums:
    """Adds up the scores of answers, in constant memory.

    Args:
        cosine: cosine similarity of two intents, by an encoder.
    """

    def __init__(self, cosine: Callable[[str, str], float] | None = None) -> None:
        self._bundles = ScoreSums()
        self._intents = IntentSums(cosine)

    def add(self, session: Session, answer: Iterable[BundleWithIntent] | None) -> None:
        """Add the answer for one session.

        Args:
            answer: None if the student failed.

        Raises:
            ValueError: the session has no true bundle.
        """
        named = [(frozenset(each.positions), each.intent) for each in answer or ()]
        self._bundles.add(true_bundles(session), None if answer is None else [positions for positions, _ in named])
        self._intents.add(session.bundles, named)

    def scores(self) -> Scores:
        """Return the averages over the sessions so far."""
        intents = self._intents.scores()
        return replace(
            self._bundles.scores(),
            intent_bundles=intents.bundles,
            intent_matched=intents.matched,
            intent_f1=intents.token_f1,
            intent_rouge_l=intents.rouge_l,
            intent_cosine=intents.cosine,
        )
