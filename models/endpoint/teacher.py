"""A teacher behind an OpenAI-compatible chat server, asked for JSON by a schema at the allowed rate."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from models.completion import NoText, Usage
from models.endpoint.chat_server import ChatRequest, ChatServer, Endpoint, Unreachable
from models.errors import ModelError
from models.messages import Message

RETRIES = 6
"""Retries, with pauses of up to twenty seconds, or as long as the server asks for."""

_MAX_CHARACTERS = 200_000
"""Characters of an answer; a longer one cannot be useful."""


@dataclass(frozen=True, slots=True)
class TeacherQuestion:
    """A question to a teacher.

    Attributes:
        messages: the conversation so far.
        schema: JSON schema of the answer.
        most_tokens: of the answer.
    """

    messages: tuple[Message, ...]
    schema: dict[str, Any]
    most_tokens: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a teacher.

    Attributes:
        usage: tokens, as the server counts them.
        unanswered: earlier tries that got no answer, and may have been charged.
        thoughts: what it wrote separately from the text.
    """

    text: str
    finish_reason: str
    usage: Usage
    seconds: float
    attempts: int
    unanswered: int = 0
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of requests to a server: number at a time, requests and tokens per minute, and timeout in seconds."""

    concurrency: int = 16
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 120.0


class NoAnswer(ModelError):
    """A question got no answer.

    Attributes:
        attempts: number of tries.
        seconds: of all tries.
        is_permanent: whether the next question would fail in the same way.
        empty: the completion without a text, if the server sent one: it was charged, and another try would be too.
        unanswered: tries that got no answer, and may have been charged.
    """

    def __init__(
        self,
        message: str,
        attempts: int,
        seconds: float,
        *,
        is_permanent: bool = False,
        empty: NoText | None = None,
        unanswered: int = 0,
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.seconds = seconds
        self.is_permanent = is_permanent
        self.empty = empty
        self.unanswered = unanswered


class Teacher:
    """A client of a teacher. Use it from the event loop that runs when it is made.

    Args:
        notice: gets a sentence for each way in which the server's requests differ from the standard.

    Raises:
        ModelError: the key cannot be sent, or the proxy cannot be used.
    """

    def __init__(
        self, endpoint: Endpoint, limits: RequestLimits, notice: Callable[[str], None] = lambda _: None
    ) -> None:
        from aiolimiter import AsyncLimiter

        self._server = ChatServer(endpoint, concurrency=limits.concurrency, timeout=limits.timeout, notice=notice)
        self.endpoint = endpoint
        self.limits = limits
        self._requests = AsyncLimiter(limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = AsyncLimiter(limits.tokens_per_minute) if limits.tokens_per_minute else None

    async def close(self) -> None:
        """Close all connections."""
        await self._server.client.close()

    async def model(self) -> str:
        """Return the name of the model, or of the only model of the server.

        Raises:
            ModelError: it is not named, and the server has several or cannot be reached.
        """
        return self.endpoint.model or await self._server.only_model()

    async def wait_turn(self, tokens: int) -> None:
        """Wait until the limits allow another question.

        Args:
            tokens: estimate for question and answer.
        """
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))

    async def ask(self, model: str, question: TeacherQuestion, *, key: str) -> Reply:
        """Ask when `wait_turn` has returned, and retry temporary failures.

        Args:
            key: the same for the same question, so that a server with idempotency keys charges only once.

        Raises:
            NoAnswer: there is no answer.
        """
        started = perf_counter()
        attempts = unanswered = 0
        schema = {"name": "answer", "strict": True, "schema": question.schema}
        request = ChatRequest(question.messages, schema, question.most_tokens, key=key)
        try:
            async for attempt in self._server.tries(RETRIES):
                with attempt:
                    attempts = attempt.retry_state.attempt_number
                    try:
                        completion = await self._server.complete(model, request)
                    except self._server.errors as error:
                        unanswered += self._server.may_be_paid(error)
                        raise
        except self._server.errors as error:
            problem = self._server.explained(error)
            seconds, is_permanent = perf_counter() - started, isinstance(problem, Unreachable)
            raise NoAnswer(str(problem), attempts, seconds, is_permanent=is_permanent, unanswered=unanswered) from error
        except ModelError as error:
            seconds, empty = perf_counter() - started, error if isinstance(error, NoText) else None
            raise NoAnswer(str(error), attempts, seconds, empty=empty, unanswered=unanswered) from error
        text, finish_reason = completion.text, completion.finish_reason
        if len(text) > _MAX_CHARACTERS:
            text, finish_reason = text[:_MAX_CHARACTERS], "length"
        seconds = perf_counter() - started
        return Reply(text, finish_reason, completion.usage, seconds, attempts, unanswered, completion.thoughts)
