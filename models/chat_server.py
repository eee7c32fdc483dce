"""An OpenAI-compatible chat server: its client, and one sentence for whatever goes wrong with it."""

import os
from dataclasses import dataclass

from models.errors import ModelError

_RETRIES_AT_FIRST = 2
"""Before anything has been answered: an address that is wrong is to be told at once."""

_CONNECT_TIMEOUT = 10.0
"""Seconds in which a server that is there accepts a connection, however busy it is."""


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


class ChatServer:
    """A client, which belongs to the event loop that uses it first.

    Args:
        concurrency: most requests under way at a time; so many may fail at once when a server starts anew.
        timeout: seconds that a request may take, each time that it is tried.
        retries: how often what may pass (no connection, 408, 409, 429, 5xx) is tried again, after longer and longer
            pauses by chance, or the one that the server asks for.

    Raises:
        ModelError: the key cannot be sent.
    """

    def __init__(self, endpoint: Endpoint, *, concurrency: int, timeout: float, retries: int) -> None:
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
        self.url = endpoint.url
        self.Error = openai.OpenAIError
        self.client = openai.AsyncOpenAI(
            base_url=endpoint.url,
            # Servers of one's own want no key, but the library does.
            api_key=self._key or "none",
            timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT)),
            max_retries=retries,
        )

    def heard(self) -> None:
        """Note that somebody is there: what fails now may be there again later."""
        self._heard, self._failures = True, 0

    def may_pass(self, error: BaseException) -> bool:
        """Whether the same request may be answered later. One that got no answer in time may be under way still."""
        openai = self._openai
        if isinstance(error, openai.APIStatusError):
            paid_up = error.code != "insufficient_quota"
            return bool(error.status_code >= 500 or (error.status_code in (408, 409, 429) and paid_up))
        return isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError)

    async def only_model(self) -> str:
        """The name of the only model that the server has.

        Raises:
            ModelError: it has several, or none, or is not there.
        """
        where = self.url
        try:
            patient = self.client.with_options(max_retries=_RETRIES_AT_FIRST)
            names = [str(model.id) for model in (await patient.models.list()).data or ()]
        except (self.Error, ValueError) as error:
            raise self.explained(error) from error
        except (AttributeError, TypeError) as error:
            raise ModelError(f"{where} lists its models in a form of its own; is it OpenAI-compatible?") from error
        self.heard()
        if len(names) != 1:
            known = ", ".join(map(repr, names[:8])) or "none"
            raise ModelError(f"say which model of {where}, as URL#MODEL; it has: {known}")
        return names[0]

    def explained(self, error: Exception) -> ModelError:
        """One sentence for what openai reports, without what it was asked: there may be a key in it."""
        openai = self._openai
        where = self.url
        if isinstance(error, openai.APIConnectionError):
            return self._unanswered(error)
        # Whatever the status, somebody is there.
        self.heard()
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return Unreachable(f"{where} wants another key than the variable {self._endpoint.key} holds")
        if isinstance(error, openai.NotFoundError):
            if self._endpoint.model is None:
                return Unreachable(f"{where} has no list of models, or is not the address; try URL/v1#MODEL")
            return Unreachable(f"{where} has no model {self._endpoint.model!r}, or does nothing of this kind")
        if isinstance(error, openai.APIStatusError):
            return ModelError(f"{where} answers with status {error.status_code} ({self._line(error)})")
        return ModelError(f"{where} gives no usable answer ({self._line(error)})")

    def _unanswered(self, error: Exception) -> ModelError:
        """The server is not there, or says nothing: for this session, or for good."""
        where = self.url
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
