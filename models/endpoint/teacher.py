"""A teacher behind an OpenAI-compatible chat server: asked at the pace that it allows, for JSON by a schema."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from models.completion import NoText, Usage
from models.endpoint.chat_server import ChatRequest, ChatServer, Endpoint, Unreachable
from models.errors import ModelError
from models.messages import Message

RETRIES = 6
"""Tries after the first, with pauses of up to twenty seconds, or as long as the server asks for."""

_MOST_CHARACTERS = 200_000
"""Of an answer: a longer one is none that was asked for."""


@dataclass(frozen=True, slots=True)
class TeacherQuestion:
    """What a teacher is asked.

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
    """What a teacher answered.

    Attributes:
        usage: tokens, as the server counts them.
        unanswered: tries before that got no answer, and may have been paid for.
        thoughts: what it wrote apart from the text.
    """

    text: str
    finish_reason: str
    usage: Usage
    seconds: float
    attempts: int
    unanswered: int = 0
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a server may be asked: requests under way, and how many of them and of their tokens a minute."""

    concurrency: int = 16
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 120.0


class NoAnswer(ModelError):
    """A question has no answer.

    Attributes:
        attempts: how often it was tried.
        seconds: how long that took.
        ends: whether the next question would meet the same.
        empty: what the server did, where it answered and there is no text: it was paid for, and would be again.
        unanswered: tries that got no answer, and may have been paid for.
    """

    def __init__(
        self,
        message: str,
        attempts: int,
        seconds: float,
        *,
        ends: bool = False,
        empty: NoText | None = None,
        unanswered: int = 0,
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.seconds = seconds
        self.ends = ends
        self.empty = empty
        self.unanswered = unanswered


class Teacher:
    """Use it from one event loop, the one that runs when it is made.

    Args:
        notice: told, once each, how the server has to be asked that takes no usual request.

    Raises:
        ModelError: the key cannot be sent, or the proxy cannot be used.
    """

    def __init__(self, endpoint: Endpoint, pace: Pace, notice: Callable[[str], None] = lambda _: None) -> None:
        from aiolimiter import AsyncLimiter

        self._server = ChatServer(endpoint, concurrency=pace.concurrency, timeout=pace.timeout, notice=notice)
        self.endpoint = endpoint
        self.pace = pace
        self._requests = AsyncLimiter(pace.requests_per_minute) if pace.requests_per_minute else None
        self._tokens = AsyncLimiter(pace.tokens_per_minute) if pace.tokens_per_minute else None

    async def close(self) -> None:
        """Close all connections."""
        await self._server.client.close()

    async def model(self) -> str:
        """The model that is asked, or the only one that the server has.

        Raises:
            ModelError: it is not named, and the server has several, or is not there.
        """
        return self.endpoint.model or await self._server.only_model()

    async def turn(self, tokens: int) -> None:
        """Wait until the pace allows another question.

        Args:
            tokens: about as many as question and answer take.
        """
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))

    async def ask(self, model: str, question: TeacherQuestion, *, key: str) -> Reply:
        """Ask when it is its `turn`, and try again what may pass.

        Args:
            key: the same for the same question, so that a server that knows such keys charges once for it.

        Raises:
            NoAnswer: there is none.
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
            seconds, ends = perf_counter() - started, isinstance(problem, Unreachable)
            raise NoAnswer(str(problem), attempts, seconds, ends=ends, unanswered=unanswered) from error
        except ModelError as error:
            seconds, empty = perf_counter() - started, error if isinstance(error, NoText) else None
            raise NoAnswer(str(error), attempts, seconds, empty=empty, unanswered=unanswered) from error
        text, finish_reason = completion.text, completion.finish_reason
        if len(text) > _MOST_CHARACTERS:
            text, finish_reason = text[:_MOST_CHARACTERS], "length"
        seconds = perf_counter() - started
        return Reply(text, finish_reason, completion.usage, seconds, attempts, unanswered, completion.thoughts)
