"""From messages to tokens: the model's own chat template around texts that stay texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, NoReturn

from models.errors import ModelError
from models.messages import Message
from models.vocabulary import Token, Vocabulary

_KEPT = 64
"""Contents whose tokens are remembered."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as tokens: `shared` before the content of the last message, which other prompts may have too."""

    shared: tuple[Token, ...]
    own: tuple[Token, ...]


class ChatTokenizer:
    """Renders messages by the chat template of a model, for an answer to follow.

    The template is rendered once per sequence of roles, around placeholders; the contents are tokenized apart and
    put in their places, with control tokens switched off. So a title such as `<|im_end|>` stays six characters
    of text. A model without a template gets the contents as paragraphs.

    Raises:
        ModelError: the template cannot be rendered.
    """

    def __init__(self, model: Vocabulary) -> None:
        self._model = model
        self._frames: dict[tuple[str, ...], list[list[Token] | int]] = {}
        self._template = model.chat_template()
        # Instructions and knowledge are the same for session after session.
        self._common = lru_cache(_KEPT)(model.tokenize)

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """The tokens of these messages, up to where the answer begins."""
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
        """The token that ends an answer: the first control token that the template puts behind one.

        Without a template it is the one that the vocabulary takes for it.

        Raises:
            ModelError: there is none.
        """
        placeholder = "kdtuianswerplaceholder"
        try:
            rendered = self._render(("user", "assistant"), ["kdtuiquestionplaceholder", placeholder], answer=False)
        except ModelError:
            rendered = ""
        behind = self._model.tokenize(rendered.partition(placeholder)[2], special=True)
        end = next((token for token in behind if self._model.is_control(token)), self._model.end_of_turn())
        if end < 0:
            raise ModelError(
                f"{self._model.name}: its tokenizer has no token that ends an answer; name one (eos_token)"
            )
        return end

    def _frame(self, roles: tuple[str, ...]) -> list[list[Token] | int]:
        """What stands around the contents, as tokens, and the number of a message where its content belongs."""
        # No template has a reason to change a placeholder of letters, and none contains it.
        placeholders = [f"kdtuimessage{i}placeholder" for i in range(len(roles))]
        try:
            rendered = self._render(roles, placeholders)
        except ModelError:
            if roles[:2] != ("system", "user"):
                raise
            # Some models know no instructions but those that a user gives.
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
        """The messages by the template, with an answer to follow or without."""
        if self._template is None:
            return "\n\n".join(contents) + "\n\n"
        # Imported here: with its dependencies it takes a tenth of a second.
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(reason: str) -> NoReturn:
            raise jinja2.TemplateError(reason)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = refuse
        model = self._model
        context: dict[str, Any] = {
            "messages": [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)],
            "add_generation_prompt": answer,
            "eos_token": model.token_text(model.end_of_turn()),
            # The opening token is added by the tokenizer, where the model has one.
            "bos_token": "",
        }
        try:
            return environment.from_string(self._template).render(context)
        except jinja2.TemplateError as error:
            raise ModelError(f"{model.name}: its chat template cannot be used ({error})") from error
