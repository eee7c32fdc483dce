"""A teacher behind an OpenAI-compatible chat server: asked at the pace that it allows, for JSON by a schema."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from models.chat_server import ChatServer, Endpoint, Unreachable
from models.errors import ModelError
from models.messages import Message

RETRIES = 6
"""Tries after the first, with pauses of up to twenty seconds, or as long as the server asks for."""

_LONGEST_PAUSE = 60.0
_by_chance = wait_random_exponential(multiplier=0.5, max=20)

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

        self._server = ChatServer(endpoint, concurrency=pace.concurrency, timeout=pace.timeout, retries=0)
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

    async def turn(self, tokens: int) -> None:
        """Wait until the pace allows another question.

        Args:
            tokens: about as many as question and answer take.
        """
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))

    async def ask(self, model: str, question: Question, *, key: str) -> Reply:
        """Ask when it is its `turn`, and try again what may pass.

        Args:
            key: the same for the same question, so that a server that knows such keys charges once for it.

        Raises:
            NoAnswer: there is none.
        """
        started = perf_counter()
        attempts = 0
        try:
            # Not those of openai: it would ask again after a timeout, when the first answer is paid for.
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(1 + RETRIES),
                wait=_pause,
                retry=retry_if_exception(self._server.may_pass),
                reraise=True,
            ):
                with attempt:
                    attempts = attempt.retry_state.attempt_number
                    return await self._ask_in_some_way(model, question, key, started, attempts)
        except (self._server.Error, ValueError) as error:
            problem = self._server.explained(error)
            ends = isinstance(problem, Unreachable)
            raise NoAnswer(str(problem), attempts, perf_counter() - started, ends=ends) from error
        except ModelError as error:
            raise NoAnswer(str(error), attempts, perf_counter() - started, ends=False) from error
        raise AssertionError("the last attempt raises")

    async def _ask_in_some_way(self, model: str, question: Question, key: str, started: float, attempts: int) -> Reply:
        """With a schema, or in words alone where the server says that it knows none."""
        structured = self._structured
        try:
            return await self._ask(model, question, key, started, attempts, structured=structured)
        except self._server.Error as error:
            if not (structured and _refuses_schema(error)):
                raise
        self._structured = False
        return await self._ask(model, question, key, started, attempts, structured=False)

    async def _ask(
        self, model: str, question: Question, key: str, started: float, attempts: int, *, structured: bool
    ) -> Reply:
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
            attempts,
        )


def _refuses_schema(error: Exception) -> bool:
    """Whether a server says that it does not know the way to ask for JSON by a schema."""
    status = getattr(error, "status_code", None)
    return status in (400, 404, 422, 501) and any(word in str(error) for word in ("response_format", "json_schema"))


def _pause(state: RetryCallState) -> float:
    """Seconds until the next try: what the server asks for, or longer and longer ones by chance."""
    error = state.outcome.exception() if state.outcome is not None else None
    response = getattr(error, "response", None)
    try:
        asked = float(response.headers["retry-after"]) if response is not None else 0.0
    except (KeyError, ValueError):
        asked = 0.0
    return min(max(asked, 0.0), _LONGEST_PAUSE) + _by_chance(state) * (0.1 if asked else 1)


def _count(number: object) -> int | None:
    return number if isinstance(number, int) and number >= 0 else None
