"""The form of a request that a chat server accepts: unknown or refused parts are left out."""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.completion import Refusal

_STATUSES = frozenset({None, 400, 403, 404, 405, 415, 422, 500, 501})
"""The statuses with which servers refuse a part of a request; logprobs with 403, for example."""

_SCHEMA = re.compile(r"response[ _]?format|json[ _]?schema|structured[ _]output|grammar|guided", re.IGNORECASE)
_TEMPERATURE = re.compile(r"\btemperature\b", re.IGNORECASE)
_LOGPROBS = re.compile(r"log[ _]?prob", re.IGNORECASE)
_MAX_TOKENS = re.compile(r"\bmax_tokens\b", re.IGNORECASE)
_TOO_LARGE = re.compile(r"too (?:large|long|high|many)|context|exceed|at most|less than|\bmaximum\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RequestForm:
    """The parts of a request.

    Attributes:
        limit: the name of the limit of the answer.
        temperature: whether it has a temperature, which is always 0.
        schema: whether it has a JSON schema; the prompt also asks for JSON in words.
        logprobs: whether it can ask for the probabilities of the tokens.
    """

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    schema: bool = True
    logprobs: bool = True

    def body(
        self, messages: list[dict[str, str]], schema: dict[str, Any], most_tokens: int, *, logprobs: bool
    ) -> dict[str, Any]:
        """Return the request, without the name of the model.

        Args:
            schema: with a name, as the API requires.
            logprobs: whether the caller needs them.
        """
        body: dict[str, Any] = {"messages": messages, self.limit: most_tokens}
        if self.temperature:
            body["temperature"] = 0
        if self.schema:
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self.logprobs and logprobs:
            body["logprobs"] = True
        return body

    def after(self, refusal: Refusal) -> "RequestForm":
        """Return the form without what a server refuses; the same form if it refuses something else."""
        if refusal.status not in _STATUSES:
            return self
        words = refusal.parameter or refusal.words
        form = self
        if _SCHEMA.search(words):
            form = replace(form, schema=False)
        if _TEMPERATURE.search(words):
            form = replace(form, temperature=False)
        if _LOGPROBS.search(words):
            form = replace(form, logprobs=False)
        # A limit that is too large for a model is no reason to change its name.
        if _MAX_TOKENS.search(words) and not _TOO_LARGE.search(refusal.words):
            form = replace(form, limit="max_completion_tokens")
        return form

    def difference(self, before: "RequestForm") -> str:
        """Describe in words how this form differs from another."""
        changes = []
        if self.limit != before.limit:
            changes.append(f"with {self.limit} instead of {before.limit}")
        names = {"temperature": "a temperature", "schema": "a JSON schema", "logprobs": "probabilities of tokens"}
        left_out = [words for name, words in names.items() if getattr(self, name) != getattr(before, name)]
        if left_out:
            changes.append(f"without {' and '.join(left_out)}")
        return " and ".join(changes)
