"""Requests to a teacher: their hash, and estimates of their tokens."""

from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from kdtui.distill.applicable import roughly_for
from models.endpoint.teacher import Reply, TeacherQuestion
from models.messages import Message

ANSWER_TOKENS = 1024
"""Of an answer at most, where nothing else is said: bundles with their reasons are some hundreds."""

USUAL_ANSWER = 200
"""Tokens of an answer that has not been given yet, for an estimate."""

_TEMPLATE_TOKENS = 16
"""That the chat template of a model puts around a message, at most."""


def most_prompt_tokens(messages: Sequence[Message]) -> int:
    """Tokens that messages are at most: each has a byte at least, whatever the script; the template adds a few."""
    return sum(len(message.content.encode("utf-8", "replace")) + _TEMPLATE_TOKENS for message in messages)


def estimated_prompt_tokens(messages: Sequence[Message]) -> int:
    return sum(estimated_tokens(message.content) for message in messages)


def written_tokens(reply: Reply) -> int:
    return estimated_tokens(reply.text + reply.thoughts)


def estimated_tokens(text: str) -> int:
    """Tokens of a text in any script: many have a token or more for each character, and two or three bytes for it."""
    return roughly_for(len(text.encode("utf-8", "replace")))


def request_of(model: str, question: TeacherQuestion) -> str:
    """All that shapes an answer, as JSON with sorted keys."""
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
    """The hash of a request."""
    return sha256(request.encode()).hexdigest()


def teacher_name(url: str, model: str) -> str:
    """What to call a teacher behind an endpoint."""
    return f"{model} at {urlsplit(url).netloc.rpartition('@')[2]}"
