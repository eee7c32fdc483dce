"""The strategy of the paper: the student writes the list of bundles, token after token, the likeliest each time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from models.bundle_list import BundleList, WrittenBundle, longest_bundle
from models.llama.answer_tokens import INTENT_TOKENS, INTENT_WORDS, AnswerTokens, readable
from models.llama.decoding import Branch, Logits, Program, Read
from models.llama.strategies.numbers import Numbers
from models.prompt_format import THOUGHT
from models.vocabulary import Token

Pick = Callable[[npt.NDArray[np.float64]], int]
"""Chooses one of several tokens by their probabilities."""

_FIRST_GUESSES = 8
"""Tokens that are guessed at first; then as many more or fewer as turn out right."""

THOUGHT_TOKENS = 384
"""The longest thought: those of people about ten products have up to 350 tokens."""

_MOST_PAIRS = 16
"""Pairs that a list has room for besides its longest bundle, however many products there are."""


def likeliest(probabilities: npt.NDArray[np.float64]) -> int:
    """The token of the highest probability."""
    return int(probabilities.argmax())


def most_tokens(answer: AnswerTokens, products: int, *, thinks: bool = False) -> int:
    """Tokens that a list for so many products may take: the longest bundle, and as many pairs as there may be.

    Args:
        thinks: whether a thought comes first.
    """
    pair = len(answer.spell(f"{products},{products}:")) + INTENT_TOKENS + 2
    thought = len(answer.spell(THOUGHT)) + THOUGHT_TOKENS + 1 if thinks else 0
    return thought + bundle_tokens(answer, products) + min(products // 2, _MOST_PAIRS) * pair


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
    *,
    thinks: bool = False,
) -> Program[list[WrittenBundle]]:
    """Write bundles behind a prompt until the model ends the list, or there is no room for another.

    The next numbers are guessed, and read together with what is known. What the model thinks of a guess is the same
    as without it, so that guessing changes how long it takes, and not what is written (speculative decoding, Leviathan
    et al. 2023, with the format in the place of a smaller model).

    Args:
        branch: where the prompt goes; the tokens that it shares with others are there already.
        products: at least two.
        emit: is told of each bundle while its intent grows.
        pick: chooses among the tokens that are legal.
        thinks: whether it writes a thought first.
    """
    branch.given += len(prompt)
    pending = (yield from write_thought(answer, branch, prompt)) if thinks else list(prompt)
    limit = branch.length + len(pending) + most_tokens(answer, products)
    written = BundleList(products)
    bundles: list[WrittenBundle] = []
    boldness = min(answer.most_guesses, _FIRST_GUESSES)
    goes_on = True
    while goes_on:
        numbers = Numbers(answer, written)
        confidence = 1.0
        while not numbers.complete:
            # Tokens that are forced are fed with the next decision.
            if len(numbers.legal) == 1:
                pending += numbers.legal
                branch.written += 1
                numbers.take(numbers.legal[0])
                continue
            guesses, legal = numbers.guess(boldness)
            read = Read(branch, [*pending, *guesses], partial(_decide, guesses, legal, pick), len(guesses))
            [(taken, probability)] = yield [read]
            right = len(taken) - 1
            branch.length -= len(guesses) - right
            boldness = min(answer.most_guesses, max(2, 2 * right))
            pending = taken[-1:]
            branch.written += len(taken)
            confidence *= probability
            for token in taken:
                numbers.take(token)
        written.finished.append(numbers.numbers)
        bundle = WrittenBundle(len(bundles), numbers.numbers, "", confidence, complete=False)
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


def write_thought(answer: AnswerTokens, branch: Branch, before: Sequence[Token]) -> Program[list[Token]]:
    """Write a line of free text, the likeliest token each time, and return what is still to be read of it."""
    pending = [*before, *answer.spell(THOUGHT)]
    branch.written += len(pending) - len(before)
    for _ in range(THOUGHT_TOKENS):
        [(token, ends)] = yield [Read(branch, pending, partial(_line_or_end, answer))]
        branch.written += 1
        if ends:
            # An end may carry the last sign of the line with it.
            return [answer.newline if token == answer.end else token]
        pending = [token]
    return [*pending, answer.newline]


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
    written: list[Token] = []
    while True:
        guesses = answer.intents.guess(written, min(answer.most_guesses, INTENT_TOKENS - len(written)))
        look = partial(_text_or_end, answer, not written, guesses, ends)
        [found] = yield [Read(branch, [*pending, *guesses], look, len(guesses))]
        start = branch.length - len(guesses)
        for place, (text, end, ends_here) in enumerate(found):
            branch.length = start + place
            new_word = answer.begins_word(text) and len(data.split()) == INTENT_WORDS
            if ends_here or new_word or len(written) == INTENT_TOKENS:
                answer.intents.learn(written)
                branch.written += len(written) + 1
                return readable(data), end
            data += answer.bytes_of(text)
            written.append(text)
            grow(readable(data))
        pending = written[-1:]


def _line_or_end(answer: AnswerTokens, logits: Logits) -> tuple[Token, bool]:
    """The likeliest token of a line of text, and whether it ends the line."""
    text, end = answer.line.likeliest(logits[0]), answer.line_ends.likeliest(logits[0])
    return (end, True) if logits[0][end] > logits[0][text] else (text, False)


def _decide(
    guesses: Sequence[Token], legal: Sequence[Sequence[Token]], pick: Pick, logits: Logits
) -> tuple[list[Token], float]:
    """The guesses that are right, with the token that the model chooses behind them, and their probability."""
    taken: list[Token] = []
    probability = 1.0
    for place, tokens in enumerate(legal):
        chosen = 0
        if len(tokens) > 1:
            probabilities = _among(tokens, logits[place])
            chosen = pick(probabilities)
            probability *= float(probabilities[chosen])
        taken.append(tokens[chosen])
        if place == len(guesses) or taken[-1] != guesses[place]:
            break
    return taken, probability


def _grow(emit: Callable[[WrittenBundle], None], bundle: WrittenBundle, intent: str) -> None:
    emit(replace(bundle, intent=intent))


def _among(legal: Sequence[Token], logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities of the legal tokens, if only they can be."""
    weights = logits[legal].astype(np.float64)
    weights = np.exp(weights - weights.max())
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities


def _text_or_end(
    answer: AnswerTokens, first: bool, guesses: Sequence[Token], ends: Sequence[Token], logits: Logits
) -> list[tuple[Token, Token, bool]]:
    """The likeliest token of the intent, the likeliest end, and whether the end is likelier.

    First behind what is written, then behind each guess, as long as they are right.

    Args:
        first: whether the intent is still to begin, so that it cannot end.
    """
    found = []
    for place, row in enumerate(logits):
        begins = first and not place
        end = max(ends, key=lambda token: float(row[token]))
        text = (answer.intent_start if begins else answer.intent_middle).likeliest(row)
        ends_here = not begins and bool(row[end] > row[text])
        found.append((text, end, ends_here))
        if ends_here or place == len(guesses) or text != guesses[place]:
            break
    return found
