"""The strategy of the paper: the student writes the list of bundles, token after token, the likeliest each time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from models.answer_tokens import INTENT_TOKENS, INTENT_WORDS, AnswerTokens, readable
from models.bundle_list import BundleList, WrittenBundle, longest_bundle
from models.decoding import Branch, Logits, Program, Read
from models.llama import Token

Pick = Callable[[npt.NDArray[np.float64]], int]
"""Chooses one of several tokens by their probabilities."""

_MOST_PAIRS = 16
"""Pairs that a list has room for besides its longest bundle, however many products there are."""


def likeliest(probabilities: npt.NDArray[np.float64]) -> int:
    """The token of the highest probability."""
    return int(probabilities.argmax())


def most_tokens(answer: AnswerTokens, products: int) -> int:
    """Tokens that a list for so many products may take: the longest bundle, and as many pairs as there may be."""
    pair = len(answer.spell(f"{products},{products}:")) + INTENT_TOKENS + 2
    return bundle_tokens(answer, products) + min(products // 2, _MOST_PAIRS) * pair


def bundle_tokens(answer: AnswerTokens, products: int) -> int:
    """Tokens that the longest bundle may take, with its intent."""
    return len(answer.spell(longest_bundle(products))) + INTENT_TOKENS + 2


def write_list(
    answer: AnswerTokens,
    branch: Branch,
    prompt: Sequence[Token],
    products: int,
    emit: Callable[[WrittenBundle], None],
    pick: Pick = likeliest,
) -> Program[list[WrittenBundle]]:
    """Write bundles behind a prompt until the model ends the list, or there is no room for another.

    Args:
        branch: where the prompt goes; the tokens that it shares with others are there already.
        products: at least two.
        emit: is told of each bundle while its intent grows.
        pick: chooses among the tokens that are legal.
    """
    pending = list(prompt)
    limit = branch.length + len(prompt) + most_tokens(answer, products)
    written = BundleList(products)
    bundles: list[WrittenBundle] = []
    goes_on = True
    while goes_on:
        confidence = 1.0
        complete = False
        while not complete:
            candidates = [(answer.spell(choice), choice) for choice in written.choices()]
            depth = 0
            while len(candidates) > 1:
                legal = sorted({tokens[depth] for tokens, _ in candidates})
                chosen = 0
                if len(legal) > 1:
                    # Tokens that were forced since the last decision go in the same batch.
                    [probabilities] = yield [Read(branch, pending, partial(_among, legal))]
                    pending = []
                    chosen = pick(probabilities)
                    confidence *= float(probabilities[chosen])
                    candidates = [each for each in candidates if each[0][depth] == legal[chosen]]
                pending.append(legal[chosen])
                depth += 1
            tokens, choice = candidates[0]
            pending += tokens[depth:]
            complete = written.choose(choice)
        bundle = WrittenBundle(len(bundles), written.finished[-1], "", confidence, complete=False)
        emit(bundle)
        left = limit - branch.length - len(pending)
        goes_on = written.may_go_on and left >= 2 * bundle_tokens(answer, products)
        ends = [answer.newline, answer.end] if goes_on else [answer.end]
        intent, end = yield from write_intent(answer, branch, pending, ends, partial(_grow, emit, bundle))
        bundles.append(replace(bundle, intent=intent, complete=True))
        emit(bundles[-1])
        goes_on = end == answer.newline
        pending = [end]
    return bundles


def write_intent(
    answer: AnswerTokens,
    branch: Branch,
    before: Sequence[Token],
    ends: Sequence[Token],
    grow: Callable[[str], None],
) -> Program[tuple[str, Token]]:
    """Write an intent behind the tokens of its bundle; the intent, and which of the ends the model chose.

    Args:
        grow: is told of the intent as far as it is written.
    """
    data = b""
    pending = list(before)
    length = 0
    while True:
        allowed = answer.intent_middle if data else answer.intent_start
        [(text, end, ends_here)] = yield [Read(branch, pending, partial(_text_or_end, allowed, ends))]
        new_word = answer.begins_word[text] and len(data.split()) == INTENT_WORDS
        if length == INTENT_TOKENS or new_word or (data and ends_here):
            return readable(data), end
        pending = [text]
        data += answer.bytes_of(text)
        length += 1
        grow(readable(data))


def _grow(emit: Callable[[WrittenBundle], None], bundle: WrittenBundle, intent: str) -> None:
    emit(replace(bundle, intent=intent))


def _among(legal: Sequence[Token], logits: Logits) -> npt.NDArray[np.float64]:
    """Probabilities of the legal tokens, if only they can be."""
    weights = logits[legal].astype(np.float64)
    weights = np.exp(weights - weights.max())
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities


def _text_or_end(allowed: npt.NDArray[np.float32], ends: Sequence[Token], logits: Logits) -> tuple[Token, Token, bool]:
    """The likeliest token of the intent, the likeliest end, and whether the end is likelier."""
    end = max(ends, key=lambda token: float(logits[token]))
    text = int(np.argmax(logits + allowed))
    return text, end, bool(logits[end] > logits[text])
