"""What a prompt is made with: tokens, and who knows them."""

from typing import Protocol, TypeAlias

Token: TypeAlias = int


class Vocabulary(Protocol):
    """The vocabulary of a model, in llama.cpp or in transformers."""

    @property
    def name(self) -> str:
        """What to call the model in a message."""

    def chat_template(self) -> str | None:
        """The Jinja template that the model carries, if any."""

    def tokenize(self, text: str, *, special: bool = False, start: bool = False) -> list[Token]:
        """Tokens of a text.

        Args:
            special: read `<|im_start|>` and the like as control tokens; False for any text from outside.
            start: put the tokens that open a sequence in front, where the model has such.
        """

    def end_of_turn(self) -> Token:
        """The token that ends an answer, as far as the vocabulary itself tells; -1 where it does not."""

    def is_control(self, token: Token) -> bool:
        """Whether a token stands for no text."""

    def token_text(self, token: Token) -> str:
        """How a control token is written, such as `<|im_end|>`; empty for no token."""
