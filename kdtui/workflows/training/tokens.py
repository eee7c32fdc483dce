"""The tokens of a training's examples, counted with the vocabulary of its base."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from models.chat import ChatTokenizer
from models.sft.examples import read_example
from models.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """The tokens of a training set.

    Attributes:
        tokens: of all examples.
        learned: tokens that have a loss.
        shortest, median, longest: tokens of an example.
        too_long: examples that the training would skip.
    """

    tokens: int
    learned: int
    shortest: int
    median: int
    longest: int
    too_long: int


@contextmanager
def open_vocabulary(base: str) -> Iterator[Vocabulary]:
    """Open the vocabulary of a base: a GGUF file, or a transformers folder or id.

    Raises:
        ModelError: it cannot be loaded.
    """
    if base.endswith(".gguf"):
        # Imported here, as the other kind below: it takes a third of a second.
        from models.llama.model import LlamaModel

        with closing(LlamaModel(Path(base), vocabulary_only=True)) as model:
            yield model
        return
    from models.sft.base import load_vocabulary

    yield load_vocabulary(base)


def count_tokens(vocabulary: Vocabulary, text: str) -> int:
    """Count the tokens of a text from outside, without those that open a sequence."""
    return len(vocabulary.tokenize(text))


def token_statistics(vocabulary: Vocabulary, lines: Sequence[dict[str, Any]], longest: int) -> TokenStatistics:
    """Count the tokens of one or more examples.

    Args:
        longest: tokens of an example that is not too long.
    """
    chat = ChatTokenizer(vocabulary)
    examples = [read_example(line, chat, vocabulary, f"session {line['session']}") for line in lines]
    lengths = [example.length for example in examples]
    return TokenStatistics(
        sum(lengths),
        sum(example.learned for example in examples),
        min(lengths),
        round(median(lengths)),
        max(lengths),
        sum(length > longest for length in lengths),
    )
