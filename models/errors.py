"""The errors of models, each with a message of one sentence."""

import re


class ModelError(Exception):
    """A model cannot be used as requested; the message is one sentence for the user."""


class PromptTooLong(ModelError):
    """A prompt, with the room that its answer can need, does not fit the context."""

    _SENTENCE = re.compile(r"the session needs [\d,]+ tokens but the context has [\d,]+;")

    @classmethod
    def of(cls, needed: int, room: int) -> "PromptTooLong":
        """Return the error for a session that needs more tokens than the context has."""
        return cls(
            f"the session needs {needed:,} tokens but the context has {room:,}; "
            "give it fewer products, or a larger context"
        )

    @classmethod
    def matches(cls, reason: str) -> bool:
        """Tell whether a stored reason is this error: the same student would refuse the session again."""
        return cls._SENTENCE.match(reason) is not None


class Crashed(ModelError):
    """The process of a computation ended before it returned; the message says how, as a clause."""


class Cancelled(Exception):
    """A computation was cancelled. This is not an error, and nothing may treat it as one."""


def not_finite(file: str) -> str:
    """Return the message for a model that computes NaN."""
    return (
        f"{file}: the model computes values that are not finite; its weights are damaged, so fetch or quantize it again"
    )
