"""Tokens, and the interface of a vocabulary."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

Token: TypeAlias = int


class Vocabulary(Protocol):
    """The vocabulary of a model, in llama.cpp or in transformers."""

    @property
    def name(self) -> str:
        """The name of the model in messages."""

    def chat_template(self) -> str | None:
        """Return the Jinja template of the model, if it has one."""

    def tokenize(self, text: str, *, special: bool = False, start: bool = False) -> list[Token]:
        """Return the tokens of a text.

        Args:
            special: read `<|im_start|>` and the like as control tokens; False for any text from outside.
            start: begin with the tokens that open a sequence, if the model has them.
        """

    def end_of_turn(self) -> Token:
        """Return the token that ends an answer; -1 if the vocabulary has none."""

    def is_control(self, token: Token) -> bool:
        """Tell whether a token stands for no text."""

    def token_text(self, token: Token) -> str:
        """Return how a control token is written, such as `<|im_end|>`; empty for no token."""


def tokens_without_space(raw: Callable[[str], list[Token]], newline: list[Token], text: str) -> list[Token]:
    """Return the tokens of a text in a vocabulary that puts a space before each text, as SentencePiece can.

    It cannot put one between a newline and the text.

    Args:
        raw: returns the tokens of a text with the space.
        newline: the raw tokens of a newline.
    """
    tokens = raw("\n" + text)
    # One token can stand for the newline and the beginning of the text: then the space stays.
    return tokens[len(newline) :] if tokens[: len(newline)] == newline else raw(text)
