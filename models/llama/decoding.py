"""How a strategy talks to the engine: it asks for tokens to be decoded, and for values computed from the logits.

A program is a generator. It yields the reads that it needs next. When all of them have been decoded, in whatever
batches suit the engine, it is sent the results of their `look` functions. So one program never waits for another.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from models.vocabulary import Token

Logits: TypeAlias = npt.NDArray[np.float32]
"""(tokens, vocabulary): the logits after some of the tokens that were read."""

Answer = TypeVar("Answer")

Program: TypeAlias = Generator[list["Read"], list[Any], Answer]


@dataclass(eq=False, slots=True)
class Branch:
    """A sequence of tokens in the cache. Another one can begin with the same tokens.

    Attributes:
        sequence: its number.
        length: its length in tokens. A program shortens it when its last tokens were wrong guesses.
        given, written: number of tokens that a program gave the model to read, and that the model chose; wrong guesses
            are neither. Both are 0 for a new branch, whatever it begins with.
    """

    sequence: int
    length: int
    given: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """Tokens to decode at the end of a branch, and what to compute from their logits.

    Attributes:
        look: gets a view of the logits that is valid only during the call; without it no logits are computed.
        guesses: number of last tokens that are guessed. `look` gets the logits after the last token before them and
            after each of them, so that it can tell which guesses are right.
    """

    branch: Branch
    tokens: Sequence[Token]
    look: Callable[[Logits], Any] | None = None
    guesses: int = 0

    @property
    def wanted(self) -> int:
        """Number of last tokens to compute logits after."""
        return 0 if self.look is None else 1 + self.guesses


def together(programs: Sequence[Program[Answer]]) -> Program[list[Answer]]:
    """Run programs concurrently, so that their reads share batches; return their answers in order."""
    answers: dict[int, Answer] = {}
    running: dict[int, tuple[Program[Answer], list[Read]]] = {}

    def advance(number: int, program: Program[Answer], results: list[Any] | None) -> None:
        try:
            running[number] = program, next(program) if results is None else program.send(results)
        except StopIteration as end:
            running.pop(number, None)
            answers[number] = end.value

    for number, program in enumerate(programs):
        advance(number, program, None)
    while running:
        results = yield [read for _, reads in running.values() for read in reads]
        start = 0
        for number, (program, reads) in list(running.items()):
            advance(number, program, results[start : start + len(reads)])
            start += len(reads)
    return [answers[number] for number in range(len(programs))]
