"""Similarity of predicted intents to those of the annotators.

Every true bundle with an annotated intent is compared with one predicted bundle: the one that shares most of its
products (by the Jaccard index; on a tie, the first). A true bundle that shares no product with any prediction is
*unmatched*: the means leave it out, and `matched` of `bundles` says how many they include. So the means measure the
intents, not the bundles; two students are comparable if they match about the same number. A matched bundle whose
prediction has no intent counts as 0.

If annotators wrote several intents for the same products of a session, the closest one counts, separately for each
measure.
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
    """Means over the matched true bundles of all sessions; nan without matches, or if no prediction has an intent.

    Attributes:
        bundles: true bundles with an annotated intent.
        matched: those of them that share a product with a prediction.
        token_f1, rouge_l: see `token_f1` and `rouge_l`, 0..1.
        cosine: cosine of the vectors of the two intents, -1..1; nan without an encoder.
    """

    bundles: int
    matched: int
    token_f1: float
    rouge_l: float
    cosine: float

    def to_json(self) -> dict[str, float | None]:
        """Return the means under their names in `Scores`; null for nan."""
        means = {"intent_f1": self.token_f1, "intent_rouge_l": self.rouge_l, "intent_cosine": self.cosine}
        return {name: None if isnan(value) else value for name, value in means.items()}


class MatchedIntent(NamedTuple):
    """A matched true bundle: its annotated intents, and the predicted one."""

    session: int
    annotated: tuple[str, ...]
    written: str


def intent_words(text: str) -> list[str]:
    """Return the words of an intent in lower case, without punctuation: "men's" becomes `mens`."""
    return list(_words(text))


# The same categories and annotated intents are compared many times.
@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(_APOSTROPHE.sub("", text.casefold())))


def token_f1(one: str, other: str) -> float:
    """Return F1 over the words of two texts, with repetitions: 0..1, symmetric; 0 if a text has no word."""
    left, right = _words(one), _words(other)
    total = len(left) + len(right)
    if left == right:
        return 1.0 if total else 0.0
    return 2 * (Counter(left) & Counter(right)).total() / total


def rouge_l(one: str, other: str) -> float:
    """Return F1 of the longest common subsequence of words (Lin, 2004): 0..1, symmetric; 0 if a text has no word.

    Shared words count only in the same order, so it never exceeds `token_f1`.
    """
    left, right = _words(one), _words(other)
    if left == right:
        return 1.0 if left else 0.0
    if set(left).isdisjoint(right):
        return 0.0
    longest = [0] * (len(right) + 1)
    for word in left:
        before = longest[:]
        for column, each in enumerate(right, start=1):
            longest[column] = before[column - 1] + 1 if word == each else max(before[column], longest[column - 1])
    return 2 * longest[-1] / (len(left) + len(right))


def match_intents(
    session: int, truth: Iterable[Bundle], predicted: Sequence[tuple[frozenset[int], str]]
) -> list[MatchedIntent]:
    """Match the true bundles of a session with predictions, as described in the module's docstring.

    Args:
        session: its number, copied into the results.
        truth: all annotated bundles; only the minimal ones count.
        predicted: positions and intents.
    """
    return _match(session, _annotated(truth), predicted)


class IntentSums:
    """Adds up `IntentScores` session by session, without storing sessions.

    Args:
        cosine: cosine similarity of two texts, by an encoder.
    """

    def __init__(self, cosine: Callable[[str, str], float] | None = None) -> None:
        self._cosine_of = cosine
        self._sessions = self._bundles = self._matched = 0
        self._token_f1 = self._rouge_l = self._cosine = 0.0
        self._has_intents = False

    def add(self, truth: Sequence[Bundle], predicted: Sequence[tuple[frozenset[int], str]]) -> None:
        """Add one session.

        Args:
            truth: all annotated bundles.
            predicted: positions and intents.
        """
        annotated = _annotated(truth)
        pairs = _match(self._sessions, annotated, predicted)
        self._sessions += 1
        self._bundles += len(annotated)
        self._matched += len(pairs)
        self._has_intents = self._has_intents or any(intent.strip() for _, intent in predicted)
        for pair in pairs:
            # An empty intent counts as 0 by every measure.
            if pair.written.strip():
                self._token_f1 += closest_score(token_f1, pair)
                self._rouge_l += closest_score(rouge_l, pair)
                if self._cosine_of is not None:
                    self._cosine += closest_score(self._cosine_of, pair)

    def scores(self) -> IntentScores:
        """Return the means over the sessions so far."""
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
    """Score sessions in memory, with one list of predictions for each; see `IntentSums`.

    Raises:
        ValueError: the two lengths differ.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} true sessions but {len(predictions)} predictions")
    sums = IntentSums(cosine)
    for truth, predicted in zip(truths, predictions, strict=True):
        sums.add(truth, predicted)
    return sums.scores()


def closest_score(measure: Callable[[str, str], float], pair: MatchedIntent) -> float:
    """Return the measure for the annotated intent that the predicted one is closest to."""
    return max(measure(intent, pair.written) for intent in pair.annotated)


def _match(
    session: int,
    annotated: Mapping[frozenset[int], tuple[str, ...]],
    predicted: Sequence[tuple[frozenset[int], str]],
) -> list[MatchedIntent]:
    matches = []
    for positions, intents in annotated.items():
        shared = [len(positions & other) / len(positions | other) for other, _ in predicted]
        if shared and (most := max(shared)) > 0:
            matches.append(MatchedIntent(session, intents, predicted[shared.index(most)][1]))
    return matches


def _annotated(truth: Iterable[Bundle]) -> Mapping[frozenset[int], tuple[str, ...]]:
    """Return the minimal bundles of a session that have annotated intents, each with all its intents."""
    return _annotated_of(tuple(truth))


# The answers of several students for one session are scored in turn.
@lru_cache(maxsize=4)
def _annotated_of(truth: tuple[Bundle, ...]) -> Mapping[frozenset[int], tuple[str, ...]]:
    intents: dict[frozenset[int], list[str]] = {frozenset(each.positions): [] for each in minimal_bundles(truth)}
    for bundle in truth:
        if bundle.intent.strip() and (texts := intents.get(frozenset(bundle.positions))) is not None:
            texts.append(bundle.intent)
    return {positions: tuple(texts) for positions, texts in intents.items() if texts}
