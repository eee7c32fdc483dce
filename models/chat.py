"""From messages to tokens: the model's chat template around contents that cannot contain control tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

from models.chat_template import render_chat_template
from models.errors import ModelError
from models.messages import Message
from models.vocabulary import Token, Vocabulary

_CACHED_CONTENTS = 64
"""Contents whose tokens are cached."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as tokens. `shared` is all before the content of the last message, which other prompts can have too."""

    shared: tuple[Token, ...]
    own: tuple[Token, ...]


class ChatTokenizer:
    """Renders messages by the chat template of a model, up to where the answer begins.

    The template is rendered once per sequence of roles, around placeholders. The contents are tokenized separately with
    control tokens switched off, and put in their places. So a title such as `<|im_end|>` stays plain text. A model
    without a template gets the contents as paragraphs.

    Raises:
        ModelError: the template cannot be rendered.
    """

    def __init__(self, model: Vocabulary) -> None:
        self._model = model
        self._frames: dict[tuple[str, ...], list[list[Token] | int]] = {}
        self._template = model.chat_template()
        # Instructions and knowledge are the same for many sessions.
        self._common = lru_cache(_CACHED_CONTENTS)(model.tokenize)

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Return the tokens of these messages, up to where the answer begins."""
        roles = tuple(message.role for message in messages)
        if roles not in self._frames:
            self._frames[roles] = self._frame(roles)
        frame = self._frames[roles]
        last = frame.index(len(roles) - 1)
        parts = [self._common(messages[part].content) if isinstance(part, int) else part for part in frame]
        parts[last] = self._model.tokenize(messages[-1].content)
        return Prompt(tuple(chain.from_iterable(parts[:last])), tuple(chain.from_iterable(parts[last:])))

    @cached_property
    def end(self) -> Token:
        """The token that ends an answer: the first control token that the template puts after one.

        Without a template it is the token that the vocabulary names.

        Raises:
            ModelError: there is no such token.
        """
        placeholder = "kdtuianswerplaceholder"
        try:
            rendered = self._render(("user", "assistant"), ["kdtuiquestionplaceholder", placeholder], answer=False)
        except ModelError:
            rendered = ""
        after = self._model.tokenize(rendered.partition(placeholder)[2], special=True)
        end = next((token for token in after if self._model.is_control(token)), self._model.end_of_turn())
        if end < 0:
            raise ModelError(
                f"{self._model.name}: its tokenizer has no token that ends an answer; name one (eos_token)"
            )
        return end

    def _frame(self, roles: tuple[str, ...]) -> list[list[Token] | int]:
        """Return the tokens around the contents, with the number of a message in the place of its content."""
        # No template has a reason to change a placeholder of letters, and none contains it.
        placeholders = [f"kdtuimessage{i}placeholder" for i in range(len(roles))]
        try:
            rendered = self._render(roles, placeholders)
        except ModelError:
            if roles[:2] != ("system", "user"):
                raise
            # Some models know only instructions in the message of the user.
            rendered = self._render(roles[1:], ["\n\n".join(placeholders[:2]), *placeholders[2:]])
        frame: list[list[Token] | int] = []
        rest = rendered
        for number, placeholder in enumerate(placeholders):
            before, found, rest = rest.partition(placeholder)
            if not found:
                raise ModelError(f"{self._model.name}: its chat template leaves out the {roles[number]} message")
            frame += [self._model.tokenize(before, special=True, start=not number), number]
        frame.append(self._model.tokenize(rest, special=True))
        return frame

    def _render(self, roles: tuple[str, ...], contents: list[str], *, answer: bool = True) -> str:
        """Render the messages by the template.

        Args:
            answer: whether an answer is to follow.
        """
        if self._template is None:
            return "\n\n".join(contents) + "\n\n"
        model = self._model
        context: dict[str, Any] = {
            "messages": [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)],
            "add_generation_prompt": answer,
            "eos_token": model.token_text(model.end_of_turn()),
            # The tokenizer adds the opening token if the model has one.
            "bos_token": "",
        }
        try:
            return render_chat_template(self._template, context)
        except ModelError as error:
            raise ModelError(f"{model.name}: its chat template cannot be used ({error})") from error
