"""Training examples: a prompt, and one or more completions of it.

A line of `train.jsonl` or `valid.jsonl` is one session:

    {"session": "749", "dataset": "electronic", "epoch": 0,
     "prompt": [{"role": "system", "content": "…"}, {"role": "user", "content": "…"}],
     "completions": [{"given": "1,3?", "answer": " yes", "pair": [1, 3]}, …], "products": 5, "bundles": [[1, 3]]}

The completions of a session share its prompt. They are read as branches of one sequence, each of which attends to the
prompt and to itself. `given` is not learned, `answer` is; `end` says that the turn ends after it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.chat import ChatTokenizer
from models.errors import ModelError
from models.messages import Message
from models.vocabulary import Token, Vocabulary

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class ExampleBranch:
    """Tokens after the prompt, of which the last `learned` are the answer.

    Attributes:
        pair: the two products that a question is about; None for other branches.
    """

    tokens: tuple[Token, ...]
    learned: int
    pair: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Example:
    """A session as tokens.

    Attributes:
        epoch: the only epoch that uses it; None for all.
        dataset: of the session; empty if it is unknown.
        bundles: the true ones, positions counted from 1; None if they are unknown.
    """

    session: str
    epoch: int | None
    prompt: tuple[Token, ...]
    branches: tuple[ExampleBranch, ...]
    bundles: tuple[frozenset[int], ...] | None
    dataset: str = ""

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.prompt) + sum(len(branch.tokens) for branch in self.branches)

    @property
    def learned(self) -> int:
        """Number of tokens that have a loss."""
        return sum(branch.learned for branch in self.branches)


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a file, and the number of those that were too long."""

    usable: tuple[Example, ...]
    skipped: int

    def of_epoch(self, epoch: int) -> list[Example]:
        """Return the examples of an epoch, counted from 0; after the last written epoch they start again."""
        written = 1 + max((example.epoch or 0 for example in self.usable), default=0)
        return [example for example in self.usable if example.epoch in (None, epoch % written)]


def read_examples(path: Path, vocabulary: Vocabulary, *, longest: int) -> Examples:
    """Read a file of examples, and skip those of more than `longest` tokens.

    Raises:
        ModelError: the file cannot be read, a line is not an example, or no example is usable.
    """
    chat = ChatTokenizer(vocabulary)
    usable, skipped = [], 0
    for number, content in _lines(path):
        example = read_example(content, chat, vocabulary, f"{path}, line {number}")
        if example.length > longest:
            skipped += 1
        else:
            usable.append(example)
    if not usable:
        why = f"; {skipped:,} are longer than {longest:,} tokens" if skipped else ""
        raise ModelError(f"{path}: no example can be used{why}")
    return Examples(tuple(usable), skipped)


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                yield number, json.loads(line)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path}: a line is not JSON in UTF-8 ({error})") from error


def read_example(content: Any, chat: ChatTokenizer, vocabulary: Vocabulary, where: str) -> Example:
    """Convert an example to tokens.

    Raises:
        ModelError: it is malformed.
    """
    try:
        messages = [Message(each["role"], each["content"]) for each in content["prompt"]]
        if any(message.role not in _ROLES or not isinstance(message.content, str) for message in messages):
            raise ValueError("a message has a role and a content")
        prompt = chat.prompt(messages)
        branches = tuple(_branch(each, vocabulary, chat.end) for each in content["completions"])
        bundles = content.get("bundles")
        epoch = content.get("epoch")
        if epoch is not None and type(epoch) is not int:
            raise ValueError("an epoch is a number")
        if not branches:
            raise ValueError("there are no completions")
        return Example(
            str(content["session"]),
            epoch,
            (*prompt.shared, *prompt.own),
            branches,
            None if bundles is None else tuple(frozenset(map(int, each)) for each in bundles),
            str(content.get("dataset", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"{where}: this is not an example ({error!r})") from error


def _branch(content: Any, vocabulary: Vocabulary, end: Token) -> ExampleBranch:
    given, answer = content.get("given", ""), content["answer"]
    if not isinstance(given, str) or not isinstance(answer, str):
        raise ValueError("given and answer are texts")
    learned = vocabulary.tokenize(answer)
    if content.get("end", False):
        learned.append(end)
    if not learned:
        raise ValueError("an answer is empty")
    pair = content.get("pair")
    if pair is not None:
        one, other = map(int, pair)
        pair = (one, other)
    return ExampleBranch((*vocabulary.tokenize(given), *learned), len(learned), pair)


def batches(examples: Sequence[Example], tokens: int) -> list[list[Example]]:
    """Return batches of examples of similar length, so that there is little padding.

    Each batch has at most `tokens` tokens with the padding; a longer example is a batch by itself.
    """
    groups: list[list[Example]] = []
    for example in sorted(examples, key=lambda each: -each.length):
        if groups and groups[-1][0].length * (len(groups[-1]) + 1) <= tokens:
            groups[-1].append(example)
        else:
            groups.append([example])
    return groups
