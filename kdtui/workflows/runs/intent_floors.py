"""What a run's own bundles would be called without a language model: the floors that its intents have to beat.

The bundles are the same, and only their names differ: by the category that the products share, and by the intent of the
training bundle that is nearest to them.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from kdtui.bundling.intent_metrics import IntentScores, IntentSums
from kdtui.bundling.truth import MOST_LEARNED_SESSIONS
from kdtui.distill.category_intent import category_intent
from kdtui.workflows.runs.evaluate import answered_by
from kdtui.workflows.runs.intent_cosine import MOST_SESSIONS, IntentCosine
from store.records import Bundle, Item, Session
from store.runs import Run
from store.sessions import draw_sessions
from store.sqlite import Database

if TYPE_CHECKING:
    from kdtui.distill.nearest_intent import NearestIntents, Vectors

CATEGORY, NEAREST = "category", "nearest"
"""What the floors are called: the shared category, and the intent of the nearest training bundle."""

IN_WORDS = {CATEGORY: "· named by category", NEAREST: "· named as nearest bundle"}
"""What tables call them, below the run whose bundles these are."""

_AT_ONCE = 64
"""Sessions whose bundles are named together."""


def intent_floors(db: Database, run: Run, sessions: Collection[Session]) -> dict[str, IntentScores]:
    """The scores of the intents of each floor, over those of the sessions that the run has answered.

    The nearest bundle is left out where no training bundle has an intent, or the encoder cannot be used; both are where
    there are more than `MOST_SESSIONS`.

    Raises:
        NotFound: there is no such dataset any more.
    """
    if len(sessions) > MOST_SESSIONS:
        return {}
    with IntentCosine(db, run.dataset, len(sessions)) as cosine:
        namers: dict[str, Callable[[Sequence[Sequence[Item]]], list[str]]] = {CATEGORY: _by_category}
        answered = _bundles_of(db, run, sessions)
        if (first := next(answered, None)) is None:
            return {}
        if (nearest := nearest_intents(db, run.dataset, cosine)) is not None:
            namers[NEAREST] = nearest.of
        sums = {name: IntentSums(cosine.measure) for name in namers}
        part = [first, *islice(answered, _AT_ONCE - 1)]
        while part:
            items = [[session.items[at - 1] for at in sorted(each)] for session, bundles in part for each in bundles]
            for name, of in namers.items():
                intents = iter(of(items))
                named = [
                    (session, [Bundle(tuple(sorted(each)), next(intents)) for each in bundles])
                    for session, bundles in part
                ]
                for session, renamed in cosine.ahead(named, lambda bundles: bundles):
                    sums[name].add(session.bundles, [(frozenset(each.positions), each.intent) for each in renamed])
            part = list(islice(answered, _AT_ONCE))
    return {name: each.scores() for name, each in sums.items()}


def _by_category(bundles: Sequence[Sequence[Item]]) -> list[str]:
    return [category_intent(items) for items in bundles]


def _bundles_of(
    db: Database, run: Run, sessions: Collection[Session]
) -> Iterator[tuple[Session, list[frozenset[int]]]]:
    """The sessions that the run has answered, with the positions of its bundles."""
    for session, answer in answered_by(db, run, sessions):
        yield session, [frozenset(each.positions) for each in answer.bundles or ()]


def nearest_intents(db: Database, dataset: str, cosine: IntentCosine) -> "NearestIntents | None":
    """What finds the intent of the nearest training bundle; None where no training bundle has one, or the encoder
    cannot be used.

    Raises:
        NotFound: there is no such dataset.
    """
    # Imported here: numpy takes a tenth of a second.
    from kdtui.distill.nearest_intent import NearestIntents

    def embed(texts: Sequence[str]) -> "Vectors":
        vectors = cosine.read(list(texts))
        if vectors is None:
            raise ValueError("the encoder cannot be used")
        return vectors

    try:
        return NearestIntents(draw_sessions(db, dataset, "train", MOST_LEARNED_SESSIONS), embed)
    except ValueError:
        return None
