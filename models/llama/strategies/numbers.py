"""The numbers of a bundle as tokens: which can come next, and which are likely."""

from copy import copy

from models.bundle_list import BundleList
from models.llama.answer_tokens import AnswerTokens
from models.vocabulary import Token


class Numbers:
    """The numbers of one bundle while they are written, token by token.

    Attributes:
        numbers: those that are complete.
        complete: whether the bundle has ended.
        legal: the tokens that can come next, ascending.
    """

    def __init__(self, answer: AnswerTokens, written: BundleList) -> None:
        self._answer = answer
        self._written = written
        self.numbers: tuple[int, ...] = ()
        self.complete = False
        self._candidates: list[tuple[tuple[Token, ...], str]] = []
        self._depth = 0
        self.legal: list[Token] = []
        self._begin_choice()

    def take(self, token: Token) -> None:
        """Write a legal token."""
        self._candidates = [each for each in self._candidates if each[0][self._depth] == token]
        self._depth += 1
        tokens, choice = self._candidates[0]
        if self._depth < len(tokens):
            self.legal = sorted({tokens[self._depth] for tokens, _ in self._candidates})
            return
        self.numbers = (*self.numbers, int(choice[:-1]))
        self.complete = choice.endswith(":")
        if not self.complete:
            self._begin_choice()

    def guess(self, most: int) -> tuple[list[Token], list[list[Token]]]:
        """Guess the next tokens: all products in order up to the last.

        Returns:
            At most `most` tokens, and the legal tokens in the place of each of them and after the last.
        """
        guessed = copy(self)
        guesses: list[Token] = []
        legal = [self.legal]
        while len(guesses) < most and (token := guessed._next_in_order()) is not None:
            guessed.take(token)
            guesses.append(token)
            legal.append(guessed.legal)
        return guesses, legal

    def _next_in_order(self) -> Token | None:
        """Return the next token of the product that is next in order, if another product can follow it.

        A bundle begins after the beginning of the previous one: people and students sort their lists in this way.
        """
        finished = self._written.finished
        first = finished[-1][0] + 1 if finished and not self.numbers else 1
        return next(
            (
                tokens[self._depth]
                for tokens, choice in self._candidates
                if choice.endswith(",") and int(choice[:-1]) >= first
            ),
            None,
        )

    def _begin_choice(self) -> None:
        self._depth = 0
        self._candidates = [(self._answer.spell(choice), choice) for choice in self._written.choices(self.numbers)]
        self.legal = sorted({tokens[0] for tokens, _ in self._candidates})
