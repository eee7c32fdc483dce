"""An OpenAI-compatible chat server: its client, and one sentence for whatever goes wrong with it."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from typing import TYPE_CHECKING, Any

from models.completion import Completion, Refusal, RefusedInAnswer, read_completion, refusal_of, words_of
from models.endpoint.proxies import proxy_for
from models.endpoint.request_form import RequestForm
from models.errors import ModelError
from models.messages import Message

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

_RETRIES_AT_FIRST = 2
"""Before anything has been answered: an address that is wrong is to be told at once."""

_CONNECT_TIMEOUT = 10.0
"""Seconds in which a server that is there accepts a connection, however busy it is."""

_HEAD_START = 1.0
"""Seconds that the others wait for the first request: what it learns of the server need not be learned by each."""

_MOST_WORDS = 200
"""Characters of what a server says that a message shows."""

_LONGEST_PAUSE = 60.0
"""Seconds before another try, whatever the server asks for."""

_NOTHING_LEFT = frozenset(
    {"insufficient_quota", "insufficient_balance", "billing_not_active", "billing_hard_limit_reached"}
)
_NO_MODEL = frozenset({"model_not_found", "invalid_model", "model_not_exist", "model_not_available"})
_OF_THIS_QUESTION = re.compile(r"flagged|moderation|content.?(?:policy|filter)|safety", re.IGNORECASE)
"""In what a server says with status 403, where the next question may be answered."""

_PASSING = ("rate_limit", "overload", "unavailable", "server_error", "timeout", "too_many_requests")
"""In the kinds of errors that come with status 200."""


class Unreachable(ModelError):
    """There is no server, or it refuses all sessions: the next session would meet the same."""


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


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a model is asked.

    Attributes:
        schema: of the answer, with a name, as the interface wants it.
        most_tokens: of the answer.
        room_for_reasoning: tokens more, for a model that counts its reasoning among those of the answer.
        logprobs: whether the probabilities of the tokens are wanted.
        key: the same for the same question, so that a server that knows such keys charges once for it.
    """

    messages: Sequence[Message]
    schema: dict[str, Any]
    most_tokens: int
    room_for_reasoning: int = 0
    logprobs: bool = False
    key: str | None = None


class ChatServer:
    """A client, which belongs to the event loop that uses it first.

    Args:
        concurrency: most requests under way at a time; so many may fail at once when a server starts anew.
        timeout: seconds that a request may take, each time that it is tried.
        retries: how often the client itself tries again what may pass; `complete` is tried once, see `tries`.
        notice: told, once each, how the server has to be asked that takes no usual request.

    Attributes:
        errors: what using the client may raise, for `explained`.

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
            raise ModelError(f"the variable {endpoint.key} holds characters that no key has; set it anew")
        self._heard = False
        self._failures = 0
        self._form = self._told = RequestForm()
        self._has_leader = False
        self._followed = asyncio.Event()
        self.url = endpoint.url
        self.errors: tuple[type[Exception], ...] = (openai.OpenAIError, RefusedInAnswer, TimeoutError, ValueError)
        # By name: the library that openai sends requests with is not the same in all its versions.
        of_library = next(each for each in openai.DefaultAsyncHttpxClient.__mro__ if "openai" not in each.__module__)
        library: Any = import_module(of_library.__module__.partition(".")[0])
        # With a transport of its own the library does not look for proxies itself: it would take one for this machine,
        # and fail for one that it cannot use, even where another host is asked.
        transport = library.AsyncHTTPTransport(proxy=proxy_for(endpoint.url), limits=openai.DEFAULT_CONNECTION_LIMITS)
        limits = openai.Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT))
        self.client = openai.AsyncOpenAI(
            base_url=endpoint.url,
            # Servers of one's own want no key, but the library does.
            api_key=self._key or "none",
            timeout=limits,
            max_retries=retries,
            http_client=openai.DefaultAsyncHttpxClient(transport=transport, timeout=limits),
        )

    async def complete(self, model: str, request: ChatRequest) -> Completion:
        """Have a model answer, in one try; what the server does not know of a request is left out, and learned.

        Raises:
            ModelError: it answers, but not with a text, or not as such a server does.
            self.errors: it does not answer; see `explained`.
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
                self._tell_form()
                return completion

    def tries(self, retries: int) -> "AsyncRetrying":
        """Tries of something, with longer and longer pauses by chance, or as long as the server asks for.

        Not those of openai: it would ask again after a timeout, when the first answer is paid for.

        Args:
            retries: how often what may pass (no connection, 408, 409, 429, 5xx) is tried again.
        """
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        return AsyncRetrying(
            stop=stop_after_attempt(1 + retries), wait=_pause, retry=retry_if_exception(self.may_pass), reraise=True
        )

    def heard(self) -> None:
        """Note that somebody is there: what fails now may be there again later."""
        self._heard, self._failures = True, 0

    def may_pass(self, error: BaseException) -> bool:
        """Whether the same request may be answered later. One that got no answer in time may be under way still."""
        openai = self._openai
        if isinstance(error, openai.APIStatusError | RefusedInAnswer):
            refusal = _refusal(error)
            if refusal.kinds & _NOTHING_LEFT:
                return False
            if refusal.status is None:
                return any(word in kind for kind in refusal.kinds for word in _PASSING)
            return refusal.status >= 500 or refusal.status in (408, 409, 429)
        return isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError)

    def may_be_paid(self, error: BaseException) -> bool:
        """Whether a request that got no answer may have been worked on all the same: it was sent."""
        if isinstance(error, TimeoutError):
            return True
        if not isinstance(error, self._openai.APIConnectionError):
            return False
        return type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")

    async def only_model(self) -> str:
        """The name of the only model that the server has.

        Raises:
            ModelError: it has several, or none, or is not there.
        """
        where = self.url
        try:
            patient = self.client.with_options(max_retries=_RETRIES_AT_FIRST)
            names = [str(model.id) for model in (await patient.models.list()).data or ()]
        except self.errors as error:
            raise self.explained(error) from error
        except (AttributeError, TypeError) as error:
            raise ModelError(f"{where} lists its models in a form of its own; is it OpenAI-compatible?") from error
        self.heard()
        if len(names) != 1:
            known = ", ".join(map(repr, names[:8])) or "none"
            raise ModelError(f"say which model of {where}, as URL#MODEL; it has: {known}")
        return names[0]

    def explained(self, error: Exception) -> ModelError:
        """One sentence for what the client reports, without what it was asked: there may be a key in it."""
        where = self.url
        if isinstance(error, self._openai.APIConnectionError | TimeoutError):
            return self._unanswered(error)
        # Whatever it says, somebody is there.
        self.heard()
        if isinstance(error, self._openai.APIStatusError | RefusedInAnswer):
            return self._refused(_refusal(error))
        return ModelError(f"{where} gives no usable answer ({self._shown(str(error))})")

    def _refused(self, refusal: Refusal) -> ModelError:
        """The server refuses: this session, or all of them."""
        where, endpoint = self.url, self._endpoint
        said = f" ({self._shown(refusal.words)})" if refusal.words else ""
        if refusal.status == 402 or refusal.kinds & _NOTHING_LEFT:
            return Unreachable(f"{where} has nothing left to be spent with the key in {endpoint.key}{said}")
        if refusal.status == 401 or (refusal.status == 403 and not _OF_THIS_QUESTION.search(refusal.words)):
            return Unreachable(f"{where} wants another key than the variable {endpoint.key} holds{said}")
        if refusal.status == 404 or refusal.kinds & _NO_MODEL or refusal.parameter == "model":
            if endpoint.model is None:
                return Unreachable(f"{where} has no list of models, or is not the address; try URL/v1#MODEL{said}")
            return Unreachable(f"{where} has no model {endpoint.model!r}, or does nothing of this kind{said}")
        how = f"with status {refusal.status}" if refusal.status is not None else "with an error"
        return ModelError(f"{where} answers {how}{said}")

    def _unanswered(self, error: Exception) -> ModelError:
        """The server is not there, or says nothing: for this session, or for good."""
        where = self.url
        cause = error.__cause__ or error
        # By name: the library that openai sends requests with is not the same in all its versions.
        is_late = isinstance(error, self._openai.APITimeoutError) and type(cause).__name__ != "ConnectTimeout"
        is_late = is_late or isinstance(error, TimeoutError)
        if is_late:
            text = f"{where} did not answer in {self._timeout:g} seconds; is it overloaded?"
        else:
            said = self._shown(str(cause)) or type(cause).__name__
            text = f"{where} cannot be reached ({said}); is the server running?"
        self._failures += 1
        # All that were under way may be lost at once, when a server starts anew; those after them should be answered.
        is_gone = self._failures >= 2 * self._concurrency or not (is_late or self._heard)
        return Unreachable(text) if is_gone else ModelError(text)

    def _shown(self, said: object) -> str:
        """What a server says, as a message may show it: it may repeat the key that it was sent."""
        words = words_of(said)
        words = words.replace(self._key, "…") if self._key else words
        return words if len(words) <= _MOST_WORDS else words[: _MOST_WORDS - 1] + "…"

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Let the first request go first, for a moment."""
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
        # A model that knows this limit alone is one that reasons.
        room = request.room_for_reasoning if form.limit == "max_completion_tokens" else 0
        body = form.body(
            [{"role": each.role, "content": each.content} for each in request.messages],
            request.schema,
            request.most_tokens + room,
            logprobs=request.logprobs,
        )
        headers = {"Idempotency-Key": request.key} if request.key is not None else {}
        # Each part of an answer is waited for anew; a server that sends one now and then would never be late.
        async with asyncio.timeout(self._timeout + min(self._timeout, _CONNECT_TIMEOUT)):
            # As a body of our own: the library would look at every value of it, for a third of the time of a call.
            response = await self.client.chat.completions.with_raw_response.create(
                model=model, messages=[], extra_headers=headers, extra_body=body
            )
        # The library would make objects of it, and with them this takes twice as long.
        return read_completion(response.http_response.content, self.url, model, self._shown)

    def _learn(self, form: RequestForm, refusal: Refusal) -> bool:
        """Whether a request that was refused in a form should be sent in another one."""
        if self._form == form:
            self._form = form.after(refusal)
        return self._form != form

    def _tell_form(self) -> None:
        form, before = self._form, self._told
        if form != before:
            self._told = form
            self._notice(f"{self.url} refuses a usual request; from here on it is asked {form.told(before)}")


def _refusal(error: Exception) -> Refusal:
    """What a server says in an error of openai, or in an answer."""
    if isinstance(error, RefusedInAnswer):
        return error.refusal
    told: Any = error
    return refusal_of(told.status_code, told.message if told.body is None else told.body)


def _pause(state: "RetryCallState") -> float:
    """Seconds until the next try: what the server asks for, or longer and longer ones by chance."""
    from tenacity import wait_random_exponential

    by_chance = wait_random_exponential(multiplier=0.5, max=20)
    error = state.outcome.exception() if state.outcome is not None else None
    response = getattr(error, "response", None)
    try:
        asked = float(response.headers["retry-after"]) if response is not None else 0.0
    except (KeyError, ValueError):
        asked = 0.0
    asked = asked if isfinite(asked) else _LONGEST_PAUSE
    return min(max(asked, 0.0), _LONGEST_PAUSE) + by_chance(state) * (0.1 if asked else 1)
