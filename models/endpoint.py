"""A student behind an OpenAI-compatible endpoint (vLLM, llama-server, Ollama): on a cluster, or in another program."""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import exp, isnan
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

from models.answers import NAP, Answered, Grew, Refused, StudentEvent, Task
from models.bundle_list import WrittenBundle
from models.errors import ModelError
from models.json_answer import answer_schema, parse_answer

CONCURRENCY = 16
"""Requests under way at a time: servers put them into one batch."""

TIMEOUT = 120.0
"""Seconds that a request may take; a server with a full queue answers late."""

_CONNECT_TIMEOUT = 10.0
"""Seconds in which a server that is there accepts a connection, however busy it is."""

_RETRIES = 2
_NO_PROBABILITIES = 0.5
"""The confidence where the server tells no probabilities: nothing is known."""

# Room for an intent of characters that are several tokens each, and for numbers in JSON.
_TOKENS_PER_BUNDLE = 160
_TOKENS_PER_PRODUCT = 6


_T = TypeVar("_T")


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

    Use it from one thread at a time.

    Args:
        concurrency: most requests under way at a time.
        timeout: seconds that a request may take, each time that it is tried.

    Raises:
        ModelError: the key cannot be sent, or the model is not named and the server is not there or has several.
    """

    def __init__(self, endpoint: Endpoint, *, concurrency: int = CONCURRENCY, timeout: float = TIMEOUT) -> None:
        # Imported here: it takes a second.
        import openai

        self._openai = openai
        self._endpoint = endpoint
        self._concurrency = concurrency
        self._timeout = timeout
        self._key = os.environ.get(endpoint.key, "").strip()
        # Errors about such a header would show it.
        if not (self._key.isascii() and self._key.isprintable()):
            raise ModelError(f"the variable {endpoint.key} holds characters that no key has; set it anew")
        self._heard = False
        self._failures = 0
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.url,
            # Servers of one's own want no key, but the library does.
            api_key=self._key or "none",
            timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT)),
            max_retries=_RETRIES,
        )
        # Requests in a loop can be cancelled, which those in threads of a pool cannot: the program would wait for them.
        self._started: set[Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()
        try:
            self.model = endpoint.model or self._start(self._only_model()).result()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; requests that are under way are cancelled."""
        if self._loop.is_closed():
            return
        for future in tuple(self._started):
            future.cancel()
        self._start(self._settle()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def answer(self, tasks: Iterable[Task | None]) -> Iterator[StudentEvent]:
        """Answer sessions as they come; the first to be done comes first.

        The confidence is the same for all bundles of a session: the mean (geometric) probability of the answer's tokens
        where the server tells it, otherwise one half.

        A server that was never reached ends the run at once. One that goes away later costs the sessions that it was
        asked for, and ends the run when twice as many in a row as there may be under way got no answer.

        Args:
            tasks: None where there is no session at the moment, but may be later. No more are taken than are asked.

        Closing the iterator sends nothing more, and cancels what is under way.

        Raises:
            ModelError: there is no server any more, or it does not know the model.
        """
        source = iter(tasks)
        more = True
        running: dict[Future[list[WrittenBundle]], tuple[Task, float]] = {}
        finished: SimpleQueue[Future[list[WrittenBundle]]] = SimpleQueue()
        try:
            while True:
                while more and len(running) < self._concurrency:
                    try:
                        task = next(source)
                    except StopIteration:
                        more = False
                        break
                    if task is None:
                        break
                    future = self._start(self._ask(task))
                    running[future] = task, perf_counter()
                    future.add_done_callback(finished.put)
                if not (more or running):
                    return
                try:
                    future = finished.get(timeout=NAP if more and len(running) < self._concurrency else None)
                except Empty:
                    continue
                task, started = running.pop(future)
                yield from self._events(task, future, perf_counter() - started)
        finally:
            for future in running:
                future.cancel()

    def _start(self, work: Coroutine[Any, Any, _T]) -> "Future[_T]":
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._started.add(future)
        future.add_done_callback(self._started.discard)
        return future

    async def _settle(self) -> None:
        # Tasks of the library are waited for, not cancelled: those whose request is cancelled end them in order.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
        await self._client.close()

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

    async def _ask(self, task: Task) -> list[WrittenBundle]:
        if task.products < 2:
            return []
        schema = {"name": "bundles", "strict": True, "schema": answer_schema(task.products)}
        response_format: Any = {"type": "json_schema", "json_schema": schema}
        messages: Any = [{"role": each.role, "content": each.content} for each in task.ask("json", task.in_order)]
        try:
            completion = await self._client.chat.completions.create(
                model=self.model,
                messages=messages,
                response_format=response_format,
                temperature=0,
                max_tokens=_TOKENS_PER_BUNDLE * max(1, task.products // 2) + _TOKENS_PER_PRODUCT * task.products,
                logprobs=True,
            )
        except (self._openai.OpenAIError, ValueError) as error:
            raise self._explained(error) from error
        self._heard, self._failures = True, 0
        try:
            # The library hands on whatever JSON the server sends.
            choice = completion.choices[0]
            text, told = choice.message.content, choice.logprobs and choice.logprobs.content
            confidence = _mean_probability([token.logprob for token in told]) if told else _NO_PROBABILITIES
            bare = "" if text is None else text.strip()
        except (AttributeError, TypeError, LookupError) as error:
            raise ModelError(f"{self._endpoint.url} answers in a form of its own; is it OpenAI-compatible?") from error
        if choice.finish_reason == "length":
            raise ModelError(f"the answer of {self.model!r} has no end; it may not keep to the JSON schema")
        if not bare:
            raise ModelError(f"{self._endpoint.url} answers nothing; is {self.model!r} a chat model?")
        return parse_answer(bare, task.products, confidence)

    async def _only_model(self) -> str:
        where = self._endpoint.url
        try:
            names = [str(model.id) for model in (await self._client.models.list()).data or ()]
        except (self._openai.OpenAIError, ValueError) as error:
            raise self._explained(error) from error
        except (AttributeError, TypeError) as error:
            raise ModelError(f"{where} lists its models in a form of its own; is it OpenAI-compatible?") from error
        self._heard = True
        if len(names) != 1:
            known = ", ".join(map(repr, names[:8])) or "none"
            raise ModelError(f"say which model of {where}, as URL#MODEL; it has: {known}")
        return names[0]

    def _explained(self, error: Exception) -> ModelError:
        """One sentence for what openai reports, without what it was asked: there may be a key in it."""
        openai = self._openai
        where = self._endpoint.url
        if isinstance(error, openai.APIConnectionError):
            return self._unanswered(error)
        # Whatever the status, somebody is there.
        self._heard, self._failures = True, 0
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return Unreachable(f"{where} wants another key than the variable {self._endpoint.key} holds")
        if isinstance(error, openai.NotFoundError):
            if self._endpoint.model is None:
                return Unreachable(f"{where} has no list of models, or is not the address; try URL/v1#MODEL")
            return Unreachable(f"{where} has no model {self._endpoint.model!r}, or no chat completions")
        if isinstance(error, openai.APIStatusError):
            return ModelError(f"{where} refuses the session with status {error.status_code} ({self._line(error)})")
        return ModelError(f"{where} gives no usable answer ({self._line(error)})")

    def _unanswered(self, error: Exception) -> ModelError:
        """The server is not there, or says nothing: for this session, or for good."""
        where = self._endpoint.url
        cause = error.__cause__ or error
        # By name: the library that openai sends requests with is not the same in all its versions.
        late = isinstance(error, self._openai.APITimeoutError) and type(cause).__name__ != "ConnectTimeout"
        if late:
            text = f"{where} did not answer in {self._timeout:g} seconds; is it overloaded?"
        else:
            text = f"{where} cannot be reached ({self._line(cause)}); is the server running?"
        self._failures += 1
        # All that were under way may be lost at once, when a server starts anew; those after them should be answered.
        gone = self._failures >= 2 * self._concurrency or not (late or self._heard)
        return Unreachable(text) if gone else ModelError(text)

    def _line(self, error: BaseException) -> str:
        """What an error says, on one line. A server may repeat the key that it was sent."""
        text = str(error).replace(self._key, "…") if self._key else str(error)
        text = "".join(character if character.isprintable() else " " for character in text[:400])
        return " ".join(text.split())[:120] or type(error).__name__


def _mean_probability(logarithms: list[float]) -> float:
    """The geometric mean of probabilities, 0..1, whatever numbers a server takes for their logarithms."""
    mean = sum(logarithms) / len(logarithms)
    return _NO_PROBABILITIES if isnan(mean) else exp(min(0.0, mean))
