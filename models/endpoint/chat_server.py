"""A client of an OpenAI-compatible chat server, with one sentence for each kind of failure."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from math import isfinite
from typing import TYPE_CHECKING, Any

from models.completion import Completion, Refusal, RefusedInAnswer, one_line_of, read_completion, refusal_of
from models.endpoint.answer_limit import UnreadableAnswer, limited_transport
from models.endpoint.proxies import proxy_for
from models.endpoint.request_form import RequestForm
from models.errors import ModelError
from models.messages import Message

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

_RETRIES_AT_FIRST = 2
"""Retries before the first answer: a wrong address has to be reported soon."""

_CONNECT_TIMEOUT = 10.0
"""Seconds in which a running server accepts a connection, however busy it is."""

_HEAD_START = 1.0
"""Seconds that other requests wait for the first one, so that they need not each learn the same about the server."""

_EXCERPT = 200
"""Characters of a server's message that an error shows."""

_MAX_PAUSE = 60.0
"""Seconds before another try, whatever the server asks for."""

_NOTHING_LEFT = frozenset(
    {"insufficient_quota", "insufficient_balance", "billing_not_active", "billing_hard_limit_reached"}
)
_NO_MODEL = frozenset({"model_not_found", "invalid_model", "model_not_exist", "model_not_available"})
_OF_THIS_QUESTION = re.compile(r"flagged|moderation|content.?(?:policy|filter)|safety", re.IGNORECASE)
"""In messages with status 403 that concern one question only: the next question may be answered."""

_PASSING = ("rate_limit", "overload", "unavailable", "server_error", "timeout", "too_many_requests")
"""In the kinds of temporary errors that come with status 200."""


class Unreachable(ModelError):
    """There is no server, or it refuses all sessions: the next session would fail in the same way."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address and the name of a model.

    Attributes:
        url: up to and including `/v1`.
        model: a name that the server knows, which can be that of an adapter; None for the only model of the server.
        key: the environment variable with the key, if the server needs one.
    """

    url: str
    model: str | None = None
    key: str = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request to a model.

    Attributes:
        schema: of the answer, with a name, as the API requires.
        most_tokens: of the answer.
        room_for_reasoning: additional tokens for a model that counts its reasoning as part of the answer.
        logprobs: whether to ask for the probabilities of the tokens.
        key: the same for the same question, so that a server with idempotency keys charges only once.
    """

    messages: Sequence[Message]
    schema: dict[str, Any]
    most_tokens: int
    room_for_reasoning: int = 0
    logprobs: bool = False
    key: str | None = None


class ChatServer:
    """A client; it belongs to the event loop that uses it first.

    Args:
        concurrency: most requests at a time; that many can fail at once when a server restarts.
        timeout: seconds for each try of a request.
        retries: how often the client itself repeats temporary failures; `complete` tries only once, see `tries`.
        notice: gets a sentence for each way in which the server's requests differ from the standard.

    Attributes:
        errors: the exceptions that using the client can raise, for `explained`.

    Raises:
        ModelError: the key cannot be sent, or the proxy cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        concurrency: int,
        timeout: float,
        retries: int = 0,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        # Imported here: it takes a second.
        import openai

        self._openai = openai
        self._endpoint = endpoint
        self._concurrency = concurrency
        self._timeout = timeout
        self._notice = notice
        self._key = os.environ.get(endpoint.key, "").strip()
        # Errors about such a header would show it.
        if not (self._key.isascii() and self._key.isprintable()):
            raise ModelError(f"the variable {endpoint.key} holds characters that no key has; set it again")
        self._heard = False
        self._failures = 0
        self._form = self._noted_form = RequestForm()
        self._has_leader = False
        self._followed = asyncio.Event()
        self.url = endpoint.url
        self.errors: tuple[type[Exception], ...] = (openai.OpenAIError, RefusedInAnswer, TimeoutError, ValueError)
        # By name: the HTTP library of openai differs between its versions.
        of_library = next(each for each in openai.DefaultAsyncHttpxClient.__mro__ if "openai" not in each.__module__)
        library: Any = import_module(of_library.__module__.partition(".")[0])
        # With a transport of its own the library does not look for proxies. It would use a proxy for this machine too,
        # and fail for a proxy that it cannot use, even for a request to another host.
        transport = library.AsyncHTTPTransport(proxy=proxy_for(endpoint.url), limits=openai.DEFAULT_CONNECTION_LIMITS)
        limits = openai.Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT))
        self.client = openai.AsyncOpenAI(
            base_url=endpoint.url,
            # Local servers need no key, but the library does.
            api_key=self._key or "none",
            timeout=limits,
            max_retries=retries,
            http_client=openai.DefaultAsyncHttpxClient(transport=limited_transport(library, transport), timeout=limits),
        )

    async def complete(self, model: str, request: ChatRequest) -> Completion:
        """Have a model answer, in one try. Parts of a request that the server does not know are left out from then on.

        Raises:
            ModelError: the answer has no text, or is not that of a chat server.
            self.errors: there is no answer; see `explained`.
        """
        async with self._in_turn():
            while True:
                form = self._form
                try:
                    completion = await self._send(model, request, form)
                except (self._openai.APIStatusError, RefusedInAnswer) as error:
                    if not self._learn(form, _refusal(error)):
                        raise
                    continue
                self.heard()
                self._note_form()
                return completion

    def tries(self, retries: int) -> "AsyncRetrying":
        """Return tries with growing random pauses, or those that the server asks for.

        The retries of openai are not used: they would ask again after a timeout, when the first answer is paid for.

        Args:
            retries: how often a temporary failure (no connection, 408, 409, 429, 5xx) is tried again.
        """
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        return AsyncRetrying(
            stop=stop_after_attempt(1 + retries), wait=_pause, retry=retry_if_exception(self.is_temporary), reraise=True
        )

    def heard(self) -> None:
        """Note that the server has answered: a later failure may be temporary."""
        self._heard, self._failures = True, 0

    def is_temporary(self, error: BaseException) -> bool:
        """Tell whether a later try may succeed. A request that timed out does not count: it may still be running."""
        openai = self._openai
        if isinstance(error, openai.APIStatusError | RefusedInAnswer):
            refusal = _refusal(error)
            if refusal.kinds & _NOTHING_LEFT:
                return False
            if refusal.status is None:
                return any(word in kind for kind in refusal.kinds for word in _PASSING)
            return refusal.status >= 500 or refusal.status in (408, 409, 429)
        if _unreadable(error):
            return False
        return isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError)

    def may_be_paid(self, error: BaseException) -> bool:
        """Tell whether a request without an answer may have been charged, because it was sent."""
        if isinstance(error, TimeoutError) or _unreadable(error):
            return True
        if not isinstance(error, self._openai.APIConnectionError):
            return False
        return type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")

    async def only_model(self) -> str:
        """Return the name of the only model of the server.

        Raises:
            ModelError: it has several or none, or cannot be reached.
        """
        where = self.url
        try:
            patient = self.client.with_options(max_retries=_RETRIES_AT_FIRST)
            names = [str(model.id) for model in (await patient.models.list()).data or ()]
        except self.errors as error:
            raise self.explained(error) from error
        except (AttributeError, TypeError) as error:
            raise ModelError(f"{where} lists its models in an unknown format; is it OpenAI-compatible?") from error
        self.heard()
        if len(names) != 1:
            known = ", ".join(map(repr, names[:8])) or "none"
            raise ModelError(f"name a model of {where} as URL#MODEL; it has: {known}")
        return names[0]

    def explained(self, error: Exception) -> ModelError:
        """Return one sentence for an error of the client. It does not quote the request, which can hold a key."""
        where = self.url
        if unreadable := _unreadable(error):
            return ModelError(f"{where} gives no usable answer ({unreadable})")
        if isinstance(error, self._openai.APIConnectionError | TimeoutError):
            return self._unanswered(error)
        # Any other error comes from a server that has answered.
        self.heard()
        if isinstance(error, self._openai.APIStatusError | RefusedInAnswer):
            return self._refused(_refusal(error))
        return ModelError(f"{where} gives no usable answer ({self._shown(str(error))})")

    def _refused(self, refusal: Refusal) -> ModelError:
        """Return the error for a refusal: of this session, or of all."""
        where, endpoint = self.url, self._endpoint
        reason = f" ({self._shown(refusal.words)})" if refusal.words else ""
        if refusal.status == 402 or refusal.kinds & _NOTHING_LEFT:
            return Unreachable(f"{where} has no credit left for the key in {endpoint.key}{reason}")
        if refusal.status == 401 or (refusal.status == 403 and not _OF_THIS_QUESTION.search(refusal.words)):
            return Unreachable(f"{where} refuses the key in the variable {endpoint.key}{reason}")
        if refusal.status == 404 or refusal.kinds & _NO_MODEL or refusal.parameter == "model":
            if endpoint.model is None:
                return Unreachable(f"{where} has no list of models, or the address is wrong; try URL/v1#MODEL{reason}")
            return Unreachable(
                f"{where} has no model {endpoint.model!r}, or does not take this kind of request{reason}"
            )
        how = f"with status {refusal.status}" if refusal.status is not None else "with an error"
        return ModelError(f"{where} answers {how}{reason}")

    def _unanswered(self, error: Exception) -> ModelError:
        """Return the error for a missing answer: to this session, or to all."""
        where = self.url
        cause = error.__cause__ or error
        # By name: the HTTP library of openai differs between its versions.
        is_late = isinstance(error, self._openai.APITimeoutError) and type(cause).__name__ != "ConnectTimeout"
        is_late = is_late or isinstance(error, TimeoutError)
        if is_late:
            text = f"{where} did not answer in {self._timeout:g} seconds; is it overloaded?"
        else:
            reason = self._shown(str(cause)) or type(cause).__name__
            text = f"{where} cannot be reached ({reason}); is the server running?"
        self._failures += 1
        # When a server restarts, all running requests can be lost at once; those after them should be answered.
        is_gone = self._failures >= 2 * self._concurrency or not (is_late or self._heard)
        return Unreachable(text) if is_gone else ModelError(text)

    def _shown(self, message: object) -> str:
        """Return a server's message as an error can show it. It can repeat the key that it was sent."""
        words = one_line_of(message)
        words = words.replace(self._key, "…") if self._key else words
        return words if len(words) <= _EXCERPT else words[: _EXCERPT - 1] + "…"

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Give the first request a head start."""
        if self._has_leader:
            try:
                async with asyncio.timeout(_HEAD_START):
                    await self._followed.wait()
            except TimeoutError:
                self._followed.set()
            yield
            return
        self._has_leader = True
        try:
            yield
        finally:
            self._followed.set()

    async def _send(self, model: str, request: ChatRequest, form: RequestForm) -> Completion:
        # A model that knows only this limit is one that reasons.
        room = request.room_for_reasoning if form.limit == "max_completion_tokens" else 0
        body = form.body(
            [{"role": each.role, "content": each.content} for each in request.messages],
            request.schema,
            request.most_tokens + room,
            logprobs=request.logprobs,
        )
        headers = {} if request.key is None else {"Idempotency-Key": _idempotency_key(request.key, body)}
        # The timeout of the library restarts with each part of an answer, so a slow server would never be late.
        async with asyncio.timeout(self._timeout + min(self._timeout, _CONNECT_TIMEOUT)):
            # The body is sent as it is: the library would check every value of it, for a third of the time of a call.
            response = await self.client.chat.completions.with_raw_response.create(
                model=model, messages=[], extra_headers=headers, extra_body=body
            )
        # The library would make objects of the answer, which doubles the time.
        return read_completion(response.http_response.content, self.url, model, self._shown)

    def _learn(self, form: RequestForm, refusal: Refusal) -> bool:
        """Tell whether a request that was refused in one form should be sent in another."""
        if self._form == form:
            self._form = form.after(refusal)
        return self._form != form

    def _note_form(self) -> None:
        form, before = self._form, self._noted_form
        if form != before:
            self._noted_form = form
            self._notice(f"{self.url} refuses a standard request; from now on it is asked {form.difference(before)}")


def _idempotency_key(key: str, body: Mapping[str, Any]) -> str:
    """Return the key of a body: servers refuse another body with a key that they know."""
    return sha256(f"{key} {json.dumps(body, sort_keys=True)}".encode("utf-8", "surrogatepass")).hexdigest()


def _unreadable(error: BaseException) -> UnreadableAnswer | None:
    """Return the reason if an answer was not read to its end, on purpose. Versions of openai wrap it, or do not."""
    return next((each for each in (error, error.__cause__) if isinstance(each, UnreadableAnswer)), None)


def _refusal(error: Exception) -> Refusal:
    """Read the refusal from an error of openai, or from an answer."""
    if isinstance(error, RefusedInAnswer):
        return error.refusal
    status_error: Any = error
    body = status_error.message if status_error.body is None else status_error.body
    return refusal_of(status_error.status_code, body)


def _pause(state: "RetryCallState") -> float:
    """Return the seconds until the next try: what the server asks for, or a growing random number."""
    from tenacity import wait_random_exponential

    random_pause = wait_random_exponential(multiplier=0.5, max=20)
    error = state.outcome.exception() if state.outcome is not None else None
    response = getattr(error, "response", None)
    try:
        asked = float(response.headers["retry-after"]) if response is not None else 0.0
    except (KeyError, ValueError):
        asked = 0.0
    asked = asked if isfinite(asked) else _MAX_PAUSE
    return min(max(asked, 0.0), _MAX_PAUSE) + random_pause(state) * (0.1 if asked else 1)
