"""A student behind an OpenAI-compatible endpoint (vLLM, llama-server, Ollama): on a cluster, or in another program."""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from math import exp, isnan
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

from models.bundle_list import WrittenBundle
from models.completion import NO_TOKENS, UNKNOWN_USAGE, Completion, NoText, Usage
from models.endpoint.chat_server import ChatRequest, ChatServer, Endpoint, Unreachable
from models.endpoint.json_answer import answer_schema, parse_answer
from models.errors import Cancelled, ModelError
from models.event_loop import new_loop
from models.llama import cancellation
from models.student_protocol import IDLE_SECONDS, Answered, Grew, Noted, Refused, SessionTask, StudentEvent

CONCURRENCY = 16
"""Requests at a time: servers join them into one batch."""

TIMEOUT = 120.0
"""Seconds for a request; a server with a full queue answers late."""

_RETRIES = 2

_LOOK = 0.1
"""Seconds between two checks whether the work is cancelled."""

_PATIENCE = 10.0
"""Seconds in which answers are still taken after a cancellation: they were asked for, and may be paid for."""

_NO_PROBABILITIES = 0.5
"""The confidence if the server returns no probabilities: nothing is known."""

# Room for an intent of characters that are several tokens each, and for numbers in JSON.
_TOKENS_PER_BUNDLE = 160
_TOKENS_PER_PRODUCT = 6

_REASONING_TOKENS = 8192
"""For a model that reasons before it answers."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Asked:
    """The bundles of a session, or why there are none, and the tokens that the server counted."""

    answer: list[WrittenBundle] | ModelError
    usage: Usage


class EndpointStudent(AbstractContextManager["EndpointStudent"]):
    """Asks for JSON by a schema, many sessions at a time.

    Use it from one thread at a time, whose cancellation also ends the wait for the server.

    Args:
        concurrency: most requests at a time.
        timeout: seconds for each try of a request.

    Raises:
        Cancelled: the cancellation in force was cancelled.
        ModelError: the key cannot be sent; or the model is not named, and the server cannot be reached or has several.
    """

    def __init__(self, endpoint: Endpoint, *, concurrency: int = CONCURRENCY, timeout: float = TIMEOUT) -> None:
        self._concurrency = concurrency
        # Put by the event loop, and yielded between two answers.
        self._notes: SimpleQueue[str] = SimpleQueue()
        self._server = ChatServer(endpoint, concurrency=concurrency, timeout=timeout, notice=self._notes.put)
        # Requests in an event loop can be cancelled. For those in threads of a pool, the program would have to wait.
        self._started: set[Future[Any]] = set()
        self._loop = new_loop()
        self._thread = Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()
        try:
            self.model = endpoint.model or self._only_model()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, and cancel running requests."""
        if self._loop.is_closed():
            return
        for future in tuple(self._started):
            future.cancel()
        self._start(self._settle()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def answer(self, tasks: Iterable[SessionTask | None]) -> Iterator[StudentEvent]:
        """Answer sessions as they arrive; the first to finish comes first.

        The confidence is the same for all bundles of a session: the geometric mean of the probabilities of the answer's
        tokens if the server returns them, otherwise one half.

        If a server was never reached, the run ends at once. If it disappears later, the sessions that it was asked
        fail. The run ends when twice as many requests in a row as can run at a time got no answer.

        Args:
            tasks: None if there is no session at the moment but there can be one later. Only as many are taken as can
                be asked.

        After a cancellation, running requests have some seconds to end. Closing the iterator cancels them.

        Raises:
            Cancelled: the cancellation in force was cancelled.
            ModelError: the server cannot be reached any more, or does not know the model.
        """
        source = iter(tasks)
        more = True
        cancelled_at: float | None = None
        running: dict[Future[_Asked], tuple[SessionTask, float]] = {}
        finished: SimpleQueue[Future[_Asked]] = SimpleQueue()
        try:
            while True:
                if cancelled_at is None and cancellation.current().is_cancelled:
                    more, cancelled_at = False, perf_counter()
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
                if cancelled_at is not None and (not running or perf_counter() - cancelled_at > _PATIENCE):
                    raise Cancelled
                if not (more or running):
                    return
                try:
                    future = finished.get(timeout=IDLE_SECONDS if more and len(running) < self._concurrency else _LOOK)
                except Empty:
                    continue
                task, started = running.pop(future)
                while not self._notes.empty():
                    yield Noted(task.key, self._notes.get())
                yield from self._events(task, future, perf_counter() - started)
        finally:
            for future in running:
                future.cancel()

    def _only_model(self) -> str:
        found = self._start(self._server.only_model())
        while not found.done():
            wait([found], _LOOK)
            if cancellation.current().is_cancelled:
                raise Cancelled
        return found.result()

    def _start(self, work: Coroutine[Any, Any, _T]) -> "Future[_T]":
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._started.add(future)
        future.add_done_callback(self._started.discard)
        return future

    async def _settle(self) -> None:
        # Tasks of the library are awaited, not cancelled: cancelling their request ends them in order.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
        await self._server.client.close()

    def _events(self, task: SessionTask, future: "Future[_Asked]", seconds: float) -> Iterator[StudentEvent]:
        try:
            asked = future.result()
        except Unreachable:
            raise
        except ModelError as error:
            yield Refused(task.key, str(error), seconds, error.usage if isinstance(error, NoText) else UNKNOWN_USAGE)
            return
        if isinstance(asked.answer, ModelError):
            yield Refused(task.key, str(asked.answer), seconds, asked.usage)
            return
        for bundle in asked.answer:
            yield Grew(task.key, bundle)
        yield Answered(task.key, asked.answer, seconds, asked.usage)

    async def _ask(self, task: SessionTask) -> "_Asked":
        if task.products < 2:
            return _Asked([], NO_TOKENS)
        messages = task.make_prompt("json", task.in_order)
        request = ChatRequest(
            messages,
            {"name": "bundles", "strict": True, "schema": answer_schema(task.products)},
            _TOKENS_PER_BUNDLE * max(1, task.products // 2) + _TOKENS_PER_PRODUCT * task.products,
            room_for_reasoning=_REASONING_TOKENS,
            logprobs=True,
            # If this process dies before the answer is stored, the next one asks again, with the same key.
            key=sha256(repr([self.model, *messages]).encode()).hexdigest(),
        )
        try:
            async for attempt in self._server.tries(_RETRIES):
                with attempt:
                    completion = await self._server.complete(self.model, request)
        except self._server.errors as error:
            raise self._server.explained(error) from error
        return _Asked(self._read(completion, task), completion.usage)

    def _read(self, completion: Completion, task: SessionTask) -> list[WrittenBundle] | ModelError:
        """Return the bundles of an answer, or why there are none."""
        if completion.finish_reason == "length":
            return ModelError(f"the answer of {self.model!r} was cut off; it may not keep to the JSON schema")
        try:
            return parse_answer(completion.text, task.products, self._confidence(completion.logprobs))
        except ModelError as error:
            return error

    def _confidence(self, logprobs: Any) -> float:
        """Return the mean probability of the tokens of an answer, 0..1; one half if the server does not return it."""
        try:
            tokens = logprobs and logprobs["content"]
            return _mean_probability([token["logprob"] for token in tokens]) if tokens else _NO_PROBABILITIES
        except (TypeError, LookupError, OverflowError) as error:
            raise ModelError(f"{self._server.url} answers in an unknown format; is it OpenAI-compatible?") from error


def _mean_probability(logarithms: list[float]) -> float:
    """Return the geometric mean of probabilities, 0..1, whatever numbers a server returns as their logarithms."""
    mean = sum(logarithms) / len(logarithms)
    return _NO_PROBABILITIES if isnan(mean) else exp(min(0.0, mean))
