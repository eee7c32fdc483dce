"""The form in which a chat server takes a request: what it does not know, or refuses, is left out."""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.completion import Refusal

_STATUSES = frozenset({None, 400, 403, 404, 405, 415, 422, 500, 501})
"""With which servers refuse a part of a request; logprobs with 403, say."""

_SCHEMA = re.compile(r"response[ _]?format|json[ _]?schema|structured[ _]output|grammar|guided", re.IGNORECASE)
_TEMPERATURE = re.compile(r"\btemperature\b", re.IGNORECASE)
_LOGPROBS = re.compile(r"log[ _]?prob", re.IGNORECASE)
_MAX_TOKENS = re.compile(r"\bmax_tokens\b", re.IGNORECASE)
_TOO_LARGE = re.compile(r"too (?:large|long|high|many)|context|exceed|at most|less than|\bmaximum\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RequestForm:
    """Which parts a request has.

    Attributes:
        limit: the name of the limit of an answer.
        temperature: whether it says so, which is always 0.
        schema: whether it has a JSON schema; the question asks for JSON in words, too.
        logprobs: whether the probabilities of the tokens may be asked for.
    """

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    schema: bool = True
    logprobs: bool = True

    def body(
        self, messages: list[dict[str, str]], schema: dict[str, Any], most_tokens: int, *, logprobs: bool
    ) -> dict[str, Any]:
        """The request, without the name of the model.

        Args:
            schema: with a name, as the interface wants it.
            logprobs: whether they are wanted.
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
        """The form without what a server refuses; the same where it refuses something else."""
        if refusal.status not in _STATUSES:
            return self
        said = refusal.parameter or refusal.words
        form = self
        if _SCHEMA.search(said):
            form = replace(form, schema=False)
        if _TEMPERATURE.search(said):
            form = replace(form, temperature=False)
        if _LOGPROBS.search(said):
            form = replace(form, logprobs=False)
        # A limit that is too large for a model is no reason to call it by another name.
        if _MAX_TOKENS.search(said) and not _TOO_LARGE.search(refusal.words):
            form = replace(form, limit="max_completion_tokens")
        return form

    def told(self, before: "RequestForm") -> str:
        """How it differs from another form, in words."""
        changes = []
        if self.limit != before.limit:
            changes.append(f"with {self.limit} instead of {before.limit}")
        names = {"temperature": "a temperature", "schema": "a JSON schema", "logprobs": "probabilities of tokens"}
        left_out = [words for name, words in names.items() if getattr(self, name) != getattr(before, name)]
        if left_out:
            changes.append(f"without {' and '.join(left_out)}")
        return " and ".join(changes)
