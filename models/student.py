"""The student: a small language model in llama.cpp that writes the bundles of a session, and can write nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from unicodedata import category

import numpy as np
import numpy.typing as npt

from models.bundle_list import BundleList, WrittenBundle, longest_bundle
from models.chat import ChatTokenizer
from models.errors import ModelError, PromptTooLong
from models.llama import LlamaModel, LlamaSequence, Token, default_threads
from models.messages import Message

DEFAULT_CONTEXT = 4096
"""Tokens; enough for a session of ten with long titles and knowledge, at 90 MB of cache for the embedded student."""

INTENT_WORDS = 5
"""The longest intent. People's intents have three to five words."""

INTENT_TOKENS = 16
"""The longest intent in tokens, for scripts without spaces."""

_INTENT_SIGNS = " -'’&/+"
"""What an intent may hold besides letters and digits: the others begin lists, remarks and quotations."""


class Student(AbstractContextManager["Student"]):
    """A GGUF model that writes bundles by constrained greedy decoding, one session after the other.

    Use it from one thread at a time.

    Args:
        path: a GGUF file.
        context: tokens that the prompt and the answer have together; at most what the model was trained for.
        threads: to decode with; by default half the processors that this process may use. Prompts are read by all.

    Raises:
        ModelError: the file is no model that llama.cpp can load, or there is no memory for the context.
    """

    def __init__(self, path: Path, *, context: int = DEFAULT_CONTEXT, threads: int | None = None) -> None:
        self.model = LlamaModel(path)
        try:
            self._sequence = LlamaSequence(
                self.model, context=min(context, self.model.context_length), threads=threads or default_threads()
            )
        except ModelError:
            self.model.close()
            raise
        self._chat = ChatTokenizer(self.model)
        self._choice_tokens: dict[str, tuple[Token, ...]] = {}
        self._end = self.model.end_of_turn()
        self._newline = self.model.tokenize("\n")[-1]
        self._intent_start, self._intent_middle, self._new_word = self._intent_masks()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the weights and the context."""
        self._sequence.close()
        self.model.close()

    def write_bundles(self, messages: Sequence[Message], products: int) -> Iterator[WrittenBundle]:
        """Answer the messages with the bundles of a session of `products` products, as they are written.

        Each bundle comes several times, while its intent grows, and last with `complete`. The prompt is read
        before the first; closing the iterator after that stops the model at its next token.

        Raises:
            PromptTooLong: the prompt and one longest bundle do not fit the context.
            ModelError: llama.cpp fails.
        """
        prompt = self._chat.tokens(messages)
        most = len(self.model.tokenize(longest_bundle(products))) + INTENT_TOKENS + 2
        room = self._sequence.room - len(prompt)
        if room < most:
            raise PromptTooLong(
                f"the session needs {len(prompt) + most:,} tokens but the context has {self._sequence.room:,}; "
                "give it fewer products, or a larger context"
            )
        if products < 2:
            return
        self._sequence.restart(prompt)
        written = BundleList(products)
        goes_on = True
        while goes_on:
            confidence = 1.0
            complete = False
            while not complete:
                choice, probability = self._choose(written.choices())
                complete = written.choose(choice)
                confidence *= probability
            number, positions = len(written.finished) - 1, written.finished[-1]
            yield WrittenBundle(number, positions, "", confidence, complete=False)
            may_go_on = written.may_go_on and self._sequence.room - len(self._sequence) >= 2 * most
            for intent, end in self._write_intent(may_go_on=may_go_on):
                goes_on = end == self._newline
                yield WrittenBundle(number, positions, intent, confidence, complete=end is not None)

    def _choose(self, choices: Sequence[str]) -> tuple[str, float]:
        """The likeliest choice token by token, written, and the probability of its tokens among the legal ones."""
        candidates = [(self._tokens_of(choice), choice) for choice in choices]
        probability = 1.0
        fed = depth = 0
        while len(candidates) > 1:
            legal = sorted({tokens[depth] for tokens, _ in candidates})
            if len(legal) > 1:
                # Tokens that were forced since the last decision are decoded together, and only now.
                self._sequence.extend(candidates[0][0][fed:depth])
                fed = depth
                weights = self._sequence.logits()[legal].astype(np.float64)
                weights = np.exp(weights - weights.max())
                best = int(weights.argmax())
                probability *= float(weights[best] / weights.sum())
                candidates = [each for each in candidates if each[0][depth] == legal[best]]
            depth += 1
        tokens, choice = candidates[0]
        self._sequence.extend(tokens[fed:])
        return choice, probability

    def _write_intent(self, *, may_go_on: bool) -> Iterator[tuple[str, Token | None]]:
        """Write an intent, yielding it as it grows, with None; at last with the token that ended it.

        That is the end of the line, after which another bundle follows, or the end of the answer.
        """
        data = b""
        ends = [self._newline, self._end] if may_go_on else [self._end]
        for length in range(INTENT_TOKENS + 1):
            logits = self._sequence.logits()
            end = max(ends, key=lambda token: float(logits[token]))
            text = int(np.argmax(logits + (self._intent_middle if data else self._intent_start)))
            new_word = self._new_word[text] and len(data.split()) == INTENT_WORDS
            if length == INTENT_TOKENS or new_word or (data and logits[end] > logits[text]):
                if end == self._newline:
                    self._sequence.extend([end])
                yield _readable(data), end
                return
            self._sequence.extend([text])
            data += self.model.piece(text)
            yield _readable(data), None

    def _tokens_of(self, choice: str) -> tuple[Token, ...]:
        if choice not in self._choice_tokens:
            self._choice_tokens[choice] = tuple(self.model.tokenize(choice))
        return self._choice_tokens[choice]

    def _intent_masks(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """What an intent is made of.

        Returns:
            What to add to the logits for its first token, and for the others (0 or minus infinity); and which
            tokens begin a new word. Each (vocabulary,).
        """
        start = np.full(self.model.vocab_size, -np.inf, dtype=np.float32)
        middle = start.copy()
        new_word = np.zeros(self.model.vocab_size, dtype=np.bool_)
        for token in filter(self.model.is_text, range(self.model.vocab_size)):
            text = self.model.piece(token).decode("utf-8", "replace")
            # A part of a character, which "replace" shows as U+FFFD, may stand in the middle of a word.
            if all(map(_belongs_in_intent, text)):
                middle[token] = 0
                new_word[token] = text.startswith(" ")
                if any(each.isalpha() for each in text):
                    start[token] = 0
        return start, middle, new_word


def _belongs_in_intent(character: str) -> bool:
    """Letters and digits of any script with their marks, symbols such as emoji, and a few signs."""
    return character.isalnum() or character in _INTENT_SIGNS or category(character)[0] in "MS"


def _readable(data: bytes) -> str:
    """The intent that these bytes spell. Tokens that are parts of characters can add up to what no token may be."""
    text = data.decode("utf-8", "ignore")
    return " ".join("".join(filter(_belongs_in_intent, text)).split())
