"""How close predicted intents come to those of people.

Every true bundle for which people wrote an intent is compared with one predicted bundle: the one that shares most of
its products (Jaccard similarity; of equals the first). A true bundle that shares no product with any prediction is
*unmatched*: it has no part in the means, and `matched` of `bundles` says how many do. So the means say how good intents
are where there is one to compare, and not how good the bundles are; two students are comparable where they match about
as many. A matched bundle whose prediction has no intent counts 0.

Where people wrote several intents for the same products of a session, the one that the prediction comes closest to
counts, for each measure by itself.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isnan, nan
from typing import NamedTuple

from kdtui.bundling.truth import minimal_bundles
from store.records import Bundle

_WORD = re.compile(r"\w+")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")


@dataclass(frozen=True, slots=True)
class IntentScores:
    """Means over the matched true bundles of all sessions; nan where there is none, or where nothing has an intent.

    Attributes:
        bundles: true bundles that have an intent of people.
        matched: those of them that share a product with a prediction.
        token_f1, rouge_l: see `token_f1` and `rouge_l`, 0..1.
        cosine: of the vectors of the two intents, -1..1; nan where no encoder is given.
    """

    bundles: int
    matched: int
    token_f1: float
    rouge_l: float
    cosine: float

    def to_json(self) -> dict[str, float | None]:
        """The means under the names that `Scores` has for them; null where there is none."""
        means = {"intent_f1": self.token_f1, "intent_rouge_l": self.rouge_l, "intent_cosine": self.cosine}
        return {name: None if isnan(value) else value for name, value in means.items()}


class Compared(NamedTuple):
    """A true bundle that is matched: the intents that people wrote for it, and the intent of the prediction."""

    session: int
    wanted: tuple[str, ...]
    written: str


def words(text: str) -> list[str]:
    """The words of an intent in small letters, without punctuation: men's is one word, `mens`."""
    return list(_words(text))


# The same categories, and the same intents of people, are compared again and again.
@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(_APOSTROPHE.sub("", text.casefold())))


def token_f1(one: str, other: str) -> float:
    """F1 over the words of two texts, each as often as it occurs: 0..1, symmetric; 0 where one has no word."""
    left, right = _words(one), _words(other)
    total = len(left) + len(right)
    if left == right:
        return 1.0 if total else 0.0
    return 2 * (Counter(left) & Counter(right)).total() / total


def rouge_l(one: str, other: str) -> float:
    """F1 of the longest sequence of words that two texts share (Lin, 2004): 0..1, symmetric; 0 where one has no word.

    Shared words count only where they come in the same order, so it is never larger than `token_f1`.
    """
    left, right = _words(one), _words(other)
    if left == right:
        return 1.0 if left else 0.0
    if set(left).isdisjoint(right):
        return 0.0
    longest = [0] * (len(right) + 1)
    for word in left:
        before = longest[:]
        for place, each in enumerate(right, start=1):
            longest[place] = before[place - 1] + 1 if word == each else max(before[place], longest[place - 1])
    return 2 * longest[-1] / (len(left) + len(right))


def compared(session: int, truth: Iterable[Bundle], predicted: Sequence[tuple[frozenset[int], str]]) -> list[Compared]:
    """The matched true bundles of a session, as the module says.

    Args:
        session: its number, which the results bear.
        truth: all bundles of people, of which the minimal ones count.
        predicted: positions and intents.
    """
    return _matched(session, _wanted(truth), predicted)


class IntentSums:
    """The sums behind `IntentScores`: sessions are added one by one, and none of them is kept.

    Args:
        cosine: of the vectors of two texts, by an encoder.
    """

    def __init__(self, cosine: Callable[[str, str], float] | None = None) -> None:
        self._cosine_of = cosine
        self._sessions = self._bundles = self._matched = 0
        self._token_f1 = self._rouge_l = self._cosine = 0.0
        self._has_intents = False

    def add(self, truth: Sequence[Bundle], predicted: Sequence[tuple[frozenset[int], str]]) -> None:
        """Add one session.

        Args:
            truth: all bundles of people.
            predicted: positions and intents.
        """
        wanted = _wanted(truth)
        pairs = _matched(self._sessions, wanted, predicted)
        self._sessions += 1
        self._bundles += len(wanted)
        self._matched += len(pairs)
        self._has_intents = self._has_intents or any(intent.strip() for _, intent in predicted)
        for pair in pairs:
            # An empty intent counts 0 by every measure.
            if pair.written.strip():
                self._token_f1 += best(token_f1, pair)
                self._rouge_l += best(rouge_l, pair)
                if self._cosine_of is not None:
                    self._cosine += best(self._cosine_of, pair)

    def scores(self) -> IntentScores:
        """The means over the sessions so far."""
        if not self._has_intents or not self._matched:
            return IntentScores(self._bundles, self._matched, nan, nan, nan)
        return IntentScores(
            self._bundles,
            self._matched,
            self._token_f1 / self._matched,
            self._rouge_l / self._matched,
            nan if self._cosine_of is None else self._cosine / self._matched,
        )


def score_intents(
    truths: Sequence[Sequence[Bundle]],
    predictions: Sequence[Sequence[tuple[frozenset[int], str]]],
    cosine: Callable[[str, str], float] | None = None,
) -> IntentScores:
    """The scores of sessions that are in memory, one list of predictions for each; see `IntentSums`.

    Raises:
        ValueError: the two lengths differ.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} true sessions but {len(predictions)} predictions")
    sums = IntentSums(cosine)
    for truth, predicted in zip(truths, predictions, strict=True):
        sums.add(truth, predicted)
    return sums.scores()


def best(measure: Callable[[str, str], float], pair: Compared) -> float:
    """The measure of the intent of people that the written one comes closest to."""
    return max(measure(intent, pair.written) for intent in pair.wanted)


def _matched(
    session: int,
    wanted: Mapping[frozenset[int], tuple[str, ...]],
    predicted: Sequence[tuple[frozenset[int], str]],
) -> list[Compared]:
    found = []
    for positions, intents in wanted.items():
        shared = [len(positions & other) / len(positions | other) for other, _ in predicted]
        if shared and (most := max(shared)) > 0:
            found.append(Compared(session, intents, predicted[shared.index(most)][1]))
    return found


def _wanted(truth: Iterable[Bundle]) -> Mapping[frozenset[int], tuple[str, ...]]:
    """The minimal bundles of a session for which people wrote an intent, with all intents of each."""
    return _wanted_of(tuple(truth))


# What several students answered for a session is scored one after the other.
@lru_cache(maxsize=4)
def _wanted_of(truth: tuple[Bundle, ...]) -> Mapping[frozenset[int], tuple[str, ...]]:
    intents: dict[frozenset[int], list[str]] = {frozenset(each.positions): [] for each in minimal_bundles(truth)}
    for bundle in truth:
        if bundle.intent.strip() and (found := intents.get(frozenset(bundle.positions))) is not None:
            found.append(bundle.intent)
    return {positions: tuple(found) for positions, found in intents.items() if found}
