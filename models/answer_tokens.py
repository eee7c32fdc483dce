"""The tokens that an answer may be made of, for one vocabulary: product numbers, intents, and what ends them."""

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from unicodedata import category

import numpy as np
import numpy.typing as npt

from models.intent_memory import IntentMemory
from models.llama import LlamaModel
from models.vocabulary import Token

INTENT_WORDS = 5
"""The longest intent. People's intents have three to five words."""

INTENT_TOKENS = 16
"""The longest intent in tokens, for scripts without spaces."""

_MOST_GUESSES = 24
"""A wrong guess costs a part of a step, and a right one saves a whole one."""

_KEPT = 4096
"""Texts whose tokens are remembered."""

_INTENT_SIGNS = " -'’&/+"
"""What an intent may hold besides letters and digits: the others begin lists, remarks and quotations."""

_PLAIN_INTENT = re.compile(rb"[ \-'&/+A-Za-z0-9]*")
_LETTER = re.compile(rb"[A-Za-z]")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class AnswerTokens:
    """How a model's vocabulary spells answers.

    Attributes:
        newline: ends a line, after which another follows.
        end: ends the answer.
        most_guesses: tokens that may be guessed ahead; none for a model that cannot forget the wrong ones.
        intents: those written lately.
    """

    def __init__(self, model: LlamaModel, end: Token) -> None:
        self._model = model
        self.spell = lru_cache(_KEPT)(self._spell)
        """The tokens of a short text that is written again and again."""
        self.newline = self.spell("\n")[-1]
        self.end = end
        self.intents = IntentMemory()
        self.most_guesses = _MOST_GUESSES if model.can_forget else 0

    def _spell(self, text: str) -> tuple[Token, ...]:
        return tuple(self._model.tokenize(text))

    def bytes_of(self, token: Token) -> bytes:
        """What a token adds to a text."""
        return self._model.piece(token)

    @property
    def intent_start(self) -> npt.NDArray[np.float32]:
        """(vocabulary,): 0 for tokens that an intent may begin with, minus infinity for the others."""
        return self._intents[0]

    @property
    def intent_middle(self) -> npt.NDArray[np.float32]:
        """(vocabulary,): 0 for tokens that an intent may go on with, minus infinity for the others."""
        return self._intents[1]

    @cached_property
    def line(self) -> npt.NDArray[np.float32]:
        """(vocabulary,): 0 for tokens that may stand in a line of any text, minus infinity for the others."""
        return _mask(data is not None and not _CONTROL.search(data) for data in self._model.text_pieces())

    @cached_property
    def line_ends(self) -> npt.NDArray[np.float32]:
        """(vocabulary,): 0 for tokens that end such a line, with or without a last sign of it."""
        ends = _mask(
            data is not None and data.endswith(b"\n") and not _CONTROL.search(data[:-1])
            for data in self._model.text_pieces()
        )
        ends[[self.newline, self.end]] = 0
        return ends

    @property
    def begins_word(self) -> npt.NDArray[np.bool_]:
        """(vocabulary,): whether a token of an intent begins a new word."""
        return self._intents[2]

    @cached_property
    def _intents(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        start = np.full(self._model.vocab_size, -np.inf, dtype=np.float32)
        middle = start.copy()
        begins_word = np.zeros(self._model.vocab_size, dtype=np.bool_)
        for token, data in enumerate(self._model.text_pieces()):
            if data is None:
                continue
            # Most tokens are ASCII, and a vocabulary may have a quarter of a million of them.
            if _PLAIN_INTENT.fullmatch(data):
                letters = _LETTER.search(data) is not None
            elif data.isascii():
                continue
            else:
                # A part of a character, which "replace" shows as U+FFFD, may stand in the middle of a word.
                text = data.decode("utf-8", "replace")
                if not all(map(_belongs_in_intent, text)):
                    continue
                letters = any(map(str.isalpha, text))
            middle[token] = 0
            begins_word[token] = data.startswith(b" ")
            if letters:
                start[token] = 0
        return start, middle, begins_word


def _mask(allowed: Iterable[bool]) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = np.where(np.fromiter(allowed, dtype=np.bool_), 0, -np.inf).astype(np.float32)
    return found


def readable(data: bytes) -> str:
    """The intent that these bytes spell. Tokens that are parts of characters can add up to what no token may be."""
    text = data.decode("utf-8", "ignore")
    return " ".join("".join(filter(_belongs_in_intent, text)).split())


def _belongs_in_intent(character: str) -> bool:
    """Letters and digits of any script with their marks, symbols such as emoji, and a few signs."""
    return character.isalnum() or character in _INTENT_SIGNS or category(character)[0] in "MS"
