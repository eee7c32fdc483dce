"""How a way of answering talks to the engine: it asks for tokens to be read, and what to find out behind them.

A program is a generator. It yields the reads that it needs next, and is sent what their looks found, once all of
them have been decoded, in whatever batches suit the engine. So one program never waits for another.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from models.vocabulary import Token

Logits: TypeAlias = npt.NDArray[np.float32]
"""(tokens, vocabulary) behind some of the tokens that were read."""

Answer = TypeVar("Answer")

Program: TypeAlias = Generator[list["Read"], list[Any], Answer]


@dataclass(eq=False, slots=True)
class Branch:
    """A sequence of tokens in the cache. Another may begin with the same tokens.

    Attributes:
        sequence: which one.
        length: how long it is. A program makes it shorter where the last tokens were not the right ones.
        given, written: how many tokens a program has put there for the model to read, and how many the model has
            chosen; wrong guesses are neither. A new branch has none, whatever it begins with.
    """

    sequence: int
    length: int
    given: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """Tokens to decode behind a branch, and what to find out there.

    Attributes:
        look: is given a view of the logits, which holds during the call only; without it none are computed at all.
        guesses: how many of the last tokens are only guessed. `look` gets the logits behind the last token before
            them, and behind each of them, so that it can say which ones are right.
    """

    branch: Branch
    tokens: Sequence[Token]
    look: Callable[[Logits], Any] | None = None
    guesses: int = 0

    @property
    def wanted(self) -> int:
        """Behind how many of the last tokens logits are wanted."""
        return 0 if self.look is None else 1 + self.guesses


def together(programs: Sequence[Program[Answer]]) -> Program[list[Answer]]:
    """Run programs side by side, so that their reads share batches; their answers, in order."""
    answers: dict[int, Answer] = {}
    running: dict[int, tuple[Program[Answer], list[Read]]] = {}

    def advance(number: int, program: Program[Answer], found: list[Any] | None) -> None:
        try:
            running[number] = program, next(program) if found is None else program.send(found)
        except StopIteration as end:
            running.pop(number, None)
            answers[number] = end.value

    for number, program in enumerate(programs):
        advance(number, program, None)
    while running:
        found = yield [read for _, reads in running.values() for read in reads]
        start = 0
        for number, (program, reads) in list(running.items()):
            advance(number, program, found[start : start + len(reads)])
            start += len(reads)
    return [answers[number] for number in range(len(programs))]
