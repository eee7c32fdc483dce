"""A teacher behind an OpenAI-compatible chat server: asked at the pace that it allows, for JSON by a schema."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from models.chat_server import ChatServer, Endpoint, Unreachable
from models.errors import ModelError
from models.messages import Message

RETRIES = 6
"""Tries after the first, with pauses of half a second up to eight, or as long as the server asks for."""

_MOST_CHARACTERS = 200_000
"""Of an answer: a longer one is none that was asked for."""


@dataclass(frozen=True, slots=True)
class Question:
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
    """What a teacher answered. Tokens are those that the server counts; None where it does not say."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    attempts: int


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
    """

    def __init__(self, message: str, attempts: int, seconds: float, *, ends: bool) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.seconds = seconds
        self.ends = ends


class Teacher:
    """Use it from one event loop, the one that runs when it is made.

    Raises:
        ModelError: the key cannot be sent.
    """

    def __init__(self, endpoint: Endpoint, pace: Pace) -> None:
        from aiolimiter import AsyncLimiter

        self._server = ChatServer(endpoint, concurrency=pace.concurrency, timeout=pace.timeout, retries=RETRIES)
        self.endpoint = endpoint
        self.pace = pace
        self._requests = AsyncLimiter(pace.requests_per_minute) if pace.requests_per_minute else None
        self._tokens = AsyncLimiter(pace.tokens_per_minute) if pace.tokens_per_minute else None
        self._structured = True
        """Whether the server takes a schema; some take none, and are told in words alone."""

    async def close(self) -> None:
        """Close all connections."""
        await self._server.client.close()

    async def model(self) -> str:
        """The model that is asked, or the only one that the server has.

        Raises:
            ModelError: it is not named, and the server has several, or is not there.
        """
        return self.endpoint.model or await self._server.only_model()

    async def ask(self, model: str, question: Question, *, key: str, tokens: int) -> Reply:
        """Ask, and try again what may pass.

        Args:
            key: the same for the same question, so that a server that knows such keys charges once for it.
            tokens: about as many as question and answer take, for the pace.

        Raises:
            NoAnswer: there is none.
        """
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))
        started = perf_counter()
        while True:
            structured = self._structured
            try:
                return await self._ask(model, question, key, started, structured=structured)
            except (self._server.Error, ValueError) as error:
                if structured and _refuses_schema(error):
                    self._structured = False
                    continue
                problem, attempts = self._server.explained(error), _attempts(error)
                ends = isinstance(problem, Unreachable)
                raise NoAnswer(str(problem), attempts, perf_counter() - started, ends=ends) from error
            except ModelError as error:
                raise NoAnswer(str(error), 1, perf_counter() - started, ends=False) from error

    async def _ask(self, model: str, question: Question, key: str, started: float, *, structured: bool) -> Reply:
        body: dict[str, Any] = {
            "messages": [{"role": each.role, "content": each.content} for each in question.messages],
            "temperature": 0,
            "max_tokens": question.most_tokens,
        }
        if structured:
            schema = {"name": "answer", "strict": True, "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        # As a body of our own: the library would look at every value of it, for a third of the time of a call.
        response = await self._server.client.chat.completions.with_raw_response.create(
            model=model, messages=[], extra_headers={"Idempotency-Key": key}, extra_body=body
        )
        # The library would make objects of it, and with them this takes twice as long.
        answer = response.http_response.json()
        self._server.heard()
        try:
            choice = answer["choices"][0]
            text, finish_reason = choice["message"]["content"], str(choice.get("finish_reason"))
            used = answer.get("usage") or {}
            if not isinstance(text, str) or not text.strip():
                raise ModelError(f"{self._server.url} answers nothing; is {model!r} a chat model?")
        except (AttributeError, TypeError, LookupError) as error:
            raise ModelError(f"{self._server.url} answers in a form of its own; is it OpenAI-compatible?") from error
        if len(text) > _MOST_CHARACTERS:
            text, finish_reason = text[:_MOST_CHARACTERS], "length"
        return Reply(
            text,
            finish_reason,
            _count(used.get("prompt_tokens")),
            _count(used.get("completion_tokens")),
            perf_counter() - started,
            1 + response.retries_taken,
        )


def _refuses_schema(error: Exception) -> bool:
    """Whether a server says that it does not know the way to ask for JSON by a schema."""
    status = getattr(error, "status_code", None)
    return status in (400, 404, 422, 501) and any(word in str(error) for word in ("response_format", "json_schema"))


def _attempts(error: Exception) -> int:
    """How often the library has sent a request: it says so in a header of the last one."""
    request = getattr(error, "request", None)
    return 1 + int(request.headers.get("x-stainless-retry-count", 0)) if request is not None else 1


def _count(number: object) -> int | None:
    return number if isinstance(number, int) and number >= 0 else None
