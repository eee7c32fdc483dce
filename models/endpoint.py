"""A student behind an OpenAI-compatible endpoint (vLLM, llama-server, Ollama): on a cluster, or in another program."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import exp
from time import perf_counter, sleep
from types import TracebackType
from typing import Any

from models.answers import NAP, Answered, Grew, Refused, StudentEvent, Task
from models.bundle_list import WrittenBundle
from models.errors import ModelError
from models.json_answer import answer_schema, parse_answer

CONCURRENCY = 16
"""Requests under way at a time: servers put them into one batch."""

TIMEOUT = 120.0
"""Seconds that a request may take; a server with a full queue answers late."""

_RETRIES = 2
_NO_PROBABILITIES = 0.5
"""The confidence where the server tells no probabilities: nothing is known."""

# Room for an intent of characters that are several tokens each, and for numbers in JSON.
_TOKENS_PER_BUNDLE = 160
_TOKENS_PER_PRODUCT = 6


class Unreachable(ModelError):
    """There is no server, or it does not know the model: the next session would meet the same."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a student is.

    Attributes:
        url: up to and with `/v1`.
        model: a name that the server knows, which may be that of an adapter; None for the only one that it has.
        key: the environment variable that holds the key, if the server wants one.
    """

    url: str
    model: str | None = None
    key: str = "OPENAI_API_KEY"


class EndpointStudent(AbstractContextManager["EndpointStudent"]):
    """Asks for JSON by a schema, many sessions at a time.

    Raises:
        ModelError: the server is not there, or the model must be named.
    """

    def __init__(self, endpoint: Endpoint, *, concurrency: int = CONCURRENCY, timeout: float = TIMEOUT) -> None:
        # Imported here: it takes a second.
        import openai

        self._openai = openai
        self._endpoint = endpoint
        self._concurrency = concurrency
        # Servers of one's own want no key, but the library does.
        key = os.environ.get(endpoint.key) or "none"
        try:
            self._client = openai.OpenAI(base_url=endpoint.url, api_key=key, timeout=timeout, max_retries=_RETRIES)
            self.model = endpoint.model or self._only_model()
        except openai.OpenAIError as error:
            raise self._explained(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; requests that are under way fail."""
        self._client.close()

    def answer(self, tasks: Iterable[Task | None]) -> Iterator[StudentEvent]:
        """Answer sessions as they come; the first to be done comes first.

        The confidence is the same for all bundles of a session: the mean (geometric) probability of the answer's tokens
        where the server tells it, otherwise one half.

        Args:
            tasks: None where there is no session at the moment, but may be later.

        Closing the iterator sends nothing more, and does not wait for what is under way.

        Raises:
            ModelError: there is no server any more, or it does not know the model.
        """
        source = iter(tasks)
        more = True
        running: dict[Future[list[WrittenBundle]], tuple[Task, float]] = {}
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="endpoint")
        try:
            while more or running:
                while more and len(running) < self._concurrency:
                    try:
                        task = next(source)
                    except StopIteration:
                        more = False
                        break
                    if task is None:
                        break
                    running[pool.submit(self._ask, task)] = task, perf_counter()
                if not running:
                    sleep(NAP)
                done, _ = wait(running, timeout=NAP if more else None, return_when=FIRST_COMPLETED)
                for future in done:
                    task, started = running.pop(future)
                    yield from self._events(task, future, perf_counter() - started)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _events(self, task: Task, future: Future[list[WrittenBundle]], seconds: float) -> Iterator[StudentEvent]:
        try:
            bundles = future.result()
        except Unreachable:
            raise
        except ModelError as error:
            yield Refused(task.key, str(error), seconds)
            return
        for bundle in bundles:
            yield Grew(task.key, bundle)
        yield Answered(task.key, bundles, seconds)

    def _ask(self, task: Task) -> list[WrittenBundle]:
        if task.products < 2:
            return []
        schema = {"name": "bundles", "strict": True, "schema": answer_schema(task.products)}
        response_format: Any = {"type": "json_schema", "json_schema": schema}
        messages: Any = [{"role": each.role, "content": each.content} for each in task.ask("json", task.in_order)]
        try:
            completion = self._client.chat.completions.create(
                model=self.model,
                messages=messages,
                response_format=response_format,
                temperature=0,
                max_tokens=_TOKENS_PER_BUNDLE * max(1, task.products // 2) + _TOKENS_PER_PRODUCT * task.products,
                logprobs=True,
            )
        except (self._openai.OpenAIError, ValueError) as error:
            raise self._explained(error) from error
        try:
            # The library hands on whatever JSON the server sends.
            choice = completion.choices[0]
            text, told = choice.message.content, choice.logprobs and choice.logprobs.content
            confidence = exp(sum(token.logprob for token in told) / len(told)) if told else _NO_PROBABILITIES
        except (AttributeError, TypeError, IndexError) as error:
            raise ModelError(f"{self._endpoint.url} answers in a form of its own; is it OpenAI-compatible?") from error
        if not text:
            raise ModelError(f"{self._endpoint.url} answers nothing; is {self.model!r} a chat model?")
        if choice.finish_reason == "length":
            raise ModelError(f"the answer of {self.model!r} has no end; it may not keep to the JSON schema")
        return parse_answer(text, task.products, confidence)

    def _only_model(self) -> str:
        names = [model.id for model in self._client.models.list().data or ()]
        if len(names) != 1:
            known = ", ".join(map(repr, names[:8])) or "none"
            raise ModelError(f"say which model of {self._endpoint.url}, as URL#MODEL; it has: {known}")
        return names[0]

    def _explained(self, error: Exception) -> ModelError:
        """One sentence for what openai reports, without what it was asked: there may be a key in it."""
        openai = self._openai
        where = self._endpoint.url
        if isinstance(error, openai.APITimeoutError):
            return ModelError(f"{where} did not answer in {self._client.timeout:g} seconds; is it overloaded?")
        if isinstance(error, openai.APIConnectionError):
            return Unreachable(f"{where} cannot be reached ({_line(error.__cause__ or error)}); is the server running?")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return Unreachable(f"{where} wants another key than the variable {self._endpoint.key} holds")
        if isinstance(error, openai.NotFoundError):
            return Unreachable(f"{where} has no model {self._endpoint.model!r}, or no chat completions")
        if isinstance(error, openai.APIStatusError):
            return ModelError(f"{where} refuses the session with status {error.status_code} ({_line(error)})")
        return ModelError(f"{where} gives no usable answer ({_line(error)})")


def _line(error: BaseException) -> str:
    """What an error says, on one line."""
    text = "".join(character if character.isprintable() else " " for character in str(error)[:400])
    return " ".join(text.split())[:120]
