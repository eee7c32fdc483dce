"""Requests to a teacher: their hash, and estimates of their tokens."""

from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from kdtui.distill.applicable import estimate_tokens_of
from models.endpoint.teacher import Reply, TeacherQuestion
from models.messages import Message

ANSWER_TOKENS = 1024
"""The usual limit of an answer: bundles with their reasons take some hundreds of tokens."""

USUAL_ANSWER = 200
"""Tokens of a future answer, for an estimate."""

_TEMPLATE_TOKENS = 16
"""Tokens that the chat template of a model adds to a message at most."""


def most_prompt_tokens(messages: Sequence[Message]) -> int:
    """Return an upper bound of the tokens of messages: each token has at least a byte; the template adds some."""
    return sum(len(message.content.encode("utf-8", "replace")) + _TEMPLATE_TOKENS for message in messages)


def estimated_prompt_tokens(messages: Sequence[Message]) -> int:
    return sum(estimated_tokens(message.content) for message in messages)


def written_tokens(reply: Reply) -> int:
    return estimated_tokens(reply.text + reply.thoughts)


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of a text. Many scripts have about a token, and two or three bytes, for each character."""
    return estimate_tokens_of(len(text.encode("utf-8", "replace")))


def request_of(model: str, question: TeacherQuestion) -> str:
    """Return everything that shapes an answer, as JSON with sorted keys."""
    return msgspec.json.encode(
        {
            "model": model,
            "messages": [[message.role, message.content] for message in question.messages],
            "schema": question.schema,
            "max_tokens": question.most_tokens,
            "temperature": 0,
        },
        order="sorted",
    ).decode()


def request_key(request: str) -> str:
    """Return the hash of a request."""
    return sha256(request.encode()).hexdigest()


def teacher_name(url: str, model: str) -> str:
    """Return the name of a teacher behind an endpoint."""
    return f"{model} at {urlsplit(url).netloc.rpartition('@')[2]}"
