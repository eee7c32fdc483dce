"""Constrained decoding of a list of bundles, of a thought, and of an intent."""

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
"""Tokens that are guessed at first; then the number follows how many guesses were right."""

THOUGHT_TOKENS = 384
"""Tokens of the longest thought. Thoughts that people wrote about ten products have up to 350 tokens."""

_MOST_PAIRS = 16
"""Pairs that a list has room for next to its longest bundle, however many products there are."""


def likeliest(probabilities: npt.NDArray[np.float64]) -> int:
    """Return the index of the highest probability."""
    return int(probabilities.argmax())


def most_list_tokens(answer: AnswerTokens, products: int, *, thinks: bool = False) -> int:
    """Return the most tokens of a list: the longest bundle, and as many pairs as there can be.

    Args:
        thinks: whether a thought comes first.
    """
    pair = len(answer.spell(f"{products},{products}:")) + INTENT_TOKENS + 2
    thought = len(answer.spell(THOUGHT)) + THOUGHT_TOKENS + 1 if thinks else 0
    return thought + bundle_tokens(answer, products) + min(products // 2, _MOST_PAIRS) * pair


def bundle_tokens(answer: AnswerTokens, products: int) -> int:
    """Return the most tokens of a bundle with its intent."""
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
    """Write bundles after a prompt until the model ends the list, or there is no room for another.

    The next numbers are guessed, and read together with the known tokens. What the model thinks of a guess is the same
    as without it, so guessing changes the time but not the result (speculative decoding, Leviathan et al. 2023, with
    the format in place of a smaller model).

    Args:
        branch: gets the prompt; it has the shared tokens already.
        products: at least two.
        emit: gets each bundle while its intent grows.
        pick: chooses among the legal tokens.
        thinks: whether to write a thought first.
    """
    branch.given += len(prompt)
    pending = (yield from write_thought(answer, branch, prompt)) if thinks else list(prompt)
    limit = branch.length + len(pending) + most_list_tokens(answer, products)
    written = BundleList(products)
    bundles: list[WrittenBundle] = []
    boldness = min(answer.most_guesses, _FIRST_GUESSES)
    continues = True
    while continues:
        numbers = Numbers(answer, written)
        confidence = 1.0
        while not numbers.complete:
            # Forced tokens are read together with the next decision.
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
        continues = written.can_continue and left >= 2 * bundle_tokens(answer, products)
        ends = [answer.newline, answer.end] if continues else [answer.end]
        intent, end = yield from write_intent(answer, branch, pending, ends, partial(_grow, emit, bundle))
        bundles.append(replace(bundle, intent=intent, complete=True))
        emit(bundles[-1])
        continues = end == answer.newline
        pending = [end]
    return bundles


def write_thought(answer: AnswerTokens, branch: Branch, before: Sequence[Token]) -> Program[list[Token]]:
    """Write a line of free text, the likeliest token each time, and return the tokens that are still to be read."""
    pending = [*before, *answer.spell(THOUGHT)]
    branch.written += len(pending) - len(before)
    for _ in range(THOUGHT_TOKENS):
        [(token, ends)] = yield [Read(branch, pending, partial(_line_or_end, answer))]
        branch.written += 1
        if ends:
            # An end can carry the last characters of the line.
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
    """Write an intent after the tokens of its bundle; return it, and the end that the model chose.

    Args:
        grow: gets the intent as far as it is written.
    """
    data = b""
    pending = list(before)
    written: list[Token] = []
    while True:
        guesses = answer.intents.guess(written, min(answer.most_guesses, INTENT_TOKENS - len(written)))
        look = partial(_text_or_end, answer, not written, guesses, ends)
        [choices] = yield [Read(branch, [*pending, *guesses], look, len(guesses))]
        start = branch.length - len(guesses)
        for place, (text, end, ends_here) in enumerate(choices):
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
    """Return the likeliest token of a line of text, and whether it ends the line."""
    text, end = answer.line.likeliest(logits[0]), answer.line_ends.likeliest(logits[0])
    return (end, True) if logits[0][end] > logits[0][text] else (text, False)


def _decide(
    guesses: Sequence[Token], legal: Sequence[Sequence[Token]], pick: Pick, logits: Logits
) -> tuple[list[Token], float]:
    """Return the right guesses with the token that the model chooses after them, and their probability."""
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
    """Return the probabilities of the legal tokens relative to each other."""
    weights = logits[legal].astype(np.float64)
    weights = np.exp(weights - weights.max())
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities


def _text_or_end(
    answer: AnswerTokens, first: bool, guesses: Sequence[Token], ends: Sequence[Token], logits: Logits
) -> list[tuple[Token, Token, bool]]:
    """Return the likeliest token of the intent, the likeliest end, and whether the end is likelier.

    The first result is for what is written, and one more for each right guess.

    Args:
        first: whether the intent is still to begin, so that it cannot end.
    """
    choices = []
    for place, row in enumerate(logits):
        begins = first and not place
        end = max(ends, key=lambda token: float(row[token]))
        text = (answer.intent_start if begins else answer.intent_middle).likeliest(row)
        ends_here = not begins and bool(row[end] > row[text])
        choices.append((text, end, ends_here))
        if ends_here or place == len(guesses) or text != guesses[place]:
            break
    return choices
