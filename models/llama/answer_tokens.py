"""The tokens of answers in one vocabulary: product numbers, intents, and what ends them."""

import re
from functools import lru_cache
from unicodedata import category

from models.errors import ModelError
from models.llama.intent_memory import IntentMemory
from models.llama.legal_tokens import LegalTokens
from models.llama.model import LlamaModel
from models.vocabulary import Token

INTENT_WORDS = 5
"""Words of the longest intent. Intents that people write have three to five words."""

INTENT_TOKENS = 16
"""Tokens of the longest intent, for scripts without spaces."""

_MOST_GUESSES = 24
"""Tokens that are guessed at a time. A wrong guess costs a part of a step; a right one saves a whole step."""

_CACHED_TEXTS = 4096
"""Texts whose tokens are cached."""

_INTENT_SIGNS = " -'’&/+"
"""The signs that an intent can have next to letters and digits. Others begin lists, remarks and quotations."""

_PLAIN_INTENT = re.compile(rb"[ \-'&/+A-Za-z0-9]*")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

_ALWAYS_WRITTEN = "0123456789,:\n"
"""The characters of every answer; without them, or with one token for several, no bundle could be told."""


class AnswerTokens:
    """The tokens with which a model's vocabulary spells answers.

    Attributes:
        newline: ends a line before the next one.
        end: ends the answer.
        most_guesses: tokens to guess at a time; 0 for a model that cannot remove wrong ones from its cache.
        intents: those written recently.
        intent_start, intent_middle: the tokens that can begin and continue an intent.
        line: the tokens that can stand in a line of any text.
        line_ends: the tokens that end such a line; some also carry its last characters.

    Raises:
        ModelError: the vocabulary lacks a character that every answer has, as that of an encoder lacks newlines.
    """

    def __init__(self, model: LlamaModel, end: Token) -> None:
        self._model = model
        self.spell = lru_cache(_CACHED_TEXTS)(self._spell)
        """Return the tokens of a short text that is written often."""
        spelled = {character: self.spell(character) for character in _ALWAYS_WRITTEN}
        if not all(spelled.values()) or len({*spelled.values()}) < len(spelled):
            raise ModelError(f"{model.name}: its vocabulary cannot write numbers in lines, as a student has to")
        self.newline = spelled["\n"][-1]
        self.end = end
        self.intents = IntentMemory()
        self.most_guesses = _MOST_GUESSES if model.can_forget else 0
        self.intent_start = LegalTokens(model.vocab_size, self._begins_intent)
        self.intent_middle = LegalTokens(model.vocab_size, self._continues_intent)
        self.line = LegalTokens(model.vocab_size, self._stands_in_line)
        self.line_ends = LegalTokens(model.vocab_size, self._ends_line)

    def _spell(self, text: str) -> tuple[Token, ...]:
        return tuple(self._model.tokenize(text))

    def bytes_of(self, token: Token) -> bytes:
        """Return the bytes that a token adds to a text."""
        return self._model.piece(token)

    def begins_word(self, token: Token) -> bool:
        """Tell whether a token of an intent begins a new word."""
        return self.bytes_of(token).startswith(b" ")

    def _text(self, token: Token) -> bytes | None:
        return self._model.text_piece(token)

    def _begins_intent(self, token: Token) -> bool:
        data = self._text(token)
        if data is None or not _belongs_in_intents(data):
            return False
        return any(map(str.isalpha, data.decode("utf-8", "replace")))

    def _continues_intent(self, token: Token) -> bool:
        data = self._text(token)
        return data is not None and _belongs_in_intents(data)

    def _stands_in_line(self, token: Token) -> bool:
        data = self._text(token)
        return data is not None and not _CONTROL.search(data)

    def _ends_line(self, token: Token) -> bool:
        if token in (self.newline, self.end):
            return True
        data = self._text(token)
        return data is not None and data.endswith(b"\n") and not _CONTROL.search(data[:-1])


def _belongs_in_intents(data: bytes) -> bool:
    # ASCII also has symbols, such as < and $, that no intent needs.
    if data.isascii():
        return _PLAIN_INTENT.fullmatch(data) is not None
    # A part of a character, which "replace" shows as U+FFFD, can stand in the middle of a word.
    return all(map(_belongs_in_intent, data.decode("utf-8", "replace")))


def readable(data: bytes) -> str:
    """Return the intent that these bytes spell.

    Tokens that are parts of characters can add up to a character that no single token is allowed to have.
    """
    text = data.decode("utf-8", "ignore")
    return " ".join("".join(filter(_belongs_in_intent, text)).split())


def _belongs_in_intent(character: str) -> bool:
    """Tell whether a character is a letter or digit of any script, a mark, a symbol such as an emoji, or a sign."""
    return character.isalnum() or character in _INTENT_SIGNS or category(character)[0] in "MS"
