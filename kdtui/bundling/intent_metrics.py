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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import nan
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


class Compared(NamedTuple):
    """A true bundle that is matched: the intents that people wrote for it, and the intent of the prediction."""

    session: int
    wanted: tuple[str, ...]
    written: str


def words(text: str) -> list[str]:
    """The words of an intent in small letters, without punctuation: men's is one word, `mens`."""
    return _WORD.findall(_APOSTROPHE.sub("", text.casefold()))


def token_f1(one: str, other: str) -> float:
    """F1 over the words of two texts, each as often as it occurs: 0..1, symmetric; 0 where one has no word."""
    left, right = Counter(words(one)), Counter(words(other))
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 0.0


def rouge_l(one: str, other: str) -> float:
    """F1 of the longest sequence of words that two texts share (Lin, 2004): 0..1, symmetric; 0 where one has no word.

    Shared words count only where they come in the same order, so it is never larger than `token_f1`.
    """
    left, right = words(one), words(other)
    longest = [0] * (len(right) + 1)
    for word in left:
        before = longest[:]
        for place, each in enumerate(right, start=1):
            longest[place] = before[place - 1] + 1 if word == each else max(before[place], longest[place - 1])
    total = len(left) + len(right)
    return 2 * longest[-1] / total if total else 0.0


def compared(session: int, truth: Iterable[Bundle], predicted: Sequence[tuple[frozenset[int], str]]) -> list[Compared]:
    """The matched true bundles of a session, as the module says.

    Args:
        session: its number, which the results bear.
        truth: all bundles of people, of which the minimal ones count.
        predicted: positions and intents.
    """
    found = []
    for positions, wanted in _wanted(truth).items():
        shared = [len(positions & other) / len(positions | other) for other, _ in predicted]
        if shared and (most := max(shared)) > 0:
            found.append(Compared(session, wanted, predicted[shared.index(most)][1]))
    return found


def score_intents(
    truths: Sequence[Sequence[Bundle]],
    predictions: Sequence[Sequence[tuple[frozenset[int], str]]],
    cosine: Callable[[str, str], float] | None = None,
) -> IntentScores:
    """Score the intents of a run, session by session.

    Args:
        truths: all bundles of people in each session.
        predictions: the predicted bundles of as many sessions, positions and intents.
        cosine: of the vectors of two texts, by an encoder.

    Raises:
        ValueError: the two lengths differ.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} true sessions but {len(predictions)} predictions")
    bundles = sum(len(_wanted(truth)) for truth in truths)
    pairs = [
        each
        for number, (truth, predicted) in enumerate(zip(truths, predictions, strict=True))
        for each in compared(number, truth, predicted)
    ]
    if not any(intent.strip() for predicted in predictions for _, intent in predicted):
        return IntentScores(bundles, len(pairs), nan, nan, nan)
    return IntentScores(
        bundles,
        len(pairs),
        _mean([best(token_f1, each) for each in pairs]),
        _mean([best(rouge_l, each) for each in pairs]),
        nan if cosine is None else _mean([best(cosine, each) if each.written.strip() else 0.0 for each in pairs]),
    )


def best(measure: Callable[[str, str], float], pair: Compared) -> float:
    """The measure of the intent of people that the written one comes closest to."""
    return max(measure(intent, pair.written) for intent in pair.wanted)


def _wanted(truth: Iterable[Bundle]) -> dict[frozenset[int], tuple[str, ...]]:
    """The minimal bundles of a session for which people wrote an intent, with all intents of each."""
    truth = list(truth)
    intents: dict[frozenset[int], list[str]] = {frozenset(each.positions): [] for each in minimal_bundles(truth)}
    for bundle in truth:
        if bundle.intent.strip() and (found := intents.get(frozenset(bundle.positions))) is not None:
            found.append(bundle.intent)
    return {positions: tuple(found) for positions, found in intents.items() if found}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan
