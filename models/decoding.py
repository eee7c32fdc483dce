"""How a way of answering talks to the engine: it asks for tokens to be read, and what to find out behind the last.

A program is a generator. It yields the reads that it needs next, and is sent what their looks found, once all of
them have been decoded, in whatever batches suit the engine. So one program never waits for another.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from models.llama import Token

Logits: TypeAlias = npt.NDArray[np.float32]
"""(vocabulary,) behind a token."""

Answer = TypeVar("Answer")

Program: TypeAlias = Generator[list["Read"], list[Any], Answer]


@dataclass(eq=False, slots=True)
class Branch:
    """A sequence of tokens in the cache: which one, and how long it is. Another may begin with the same tokens."""

    sequence: int
    length: int


@dataclass(frozen=True, slots=True)
class Read:
    """Tokens to decode behind a branch, and what to find out there: `look` is given a view of the logits.

    The view holds during the call only, and without a look no logits are computed at all.
    """

    branch: Branch
    tokens: Sequence[Token]
    look: Callable[[Logits], Any] | None = None


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
