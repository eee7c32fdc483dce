"""Tokens that are legal in one place of an answer, checked when the model is about to choose them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from models.vocabulary import Token

_MOST_MISSES = 64
"""Illegal tokens that one choice checks one by one; after that it is faster to check all tokens at once."""


class LegalTokens:
    """Chooses among the legal tokens of a vocabulary.

    A vocabulary has tens or hundreds of thousands of tokens, and an answer uses a few dozen of them. So a token is
    checked only once, and only when no token that can be legal is likelier.

    Args:
        vocab_size: number of tokens.
        is_legal: checks one token; the result for a token never changes.
    """

    def __init__(self, vocab_size: int, is_legal: Callable[[Token], bool]) -> None:
        self._is_legal = is_legal
        self._is_known = np.zeros(vocab_size, np.bool_)
        # 0 for tokens that are legal, or not known yet; minus infinity for the others.
        self._mask = np.zeros(vocab_size, np.float32)

    def likeliest(self, row: npt.NDArray[np.float32]) -> Token:
        """Return the legal token with the highest logit; any token if none is legal.

        Args:
            row: (vocabulary,), the logits.
        """
        for _ in range(_MOST_MISSES):
            token = int(np.argmax(row + self._mask))
            if self._is_known[token]:
                return token
            self._check(token)
        for unknown in np.flatnonzero(~self._is_known):
            self._check(int(unknown))
        return int(np.argmax(row + self._mask))

    def _check(self, token: Token) -> None:
        self._is_known[token] = True
        if not self._is_legal(token):
            self._mask[token] = -np.inf
