"""What can go wrong with a model, said in one sentence."""

import re


class ModelError(Exception):
    """A model cannot be used as asked; the message is one sentence for the user."""


class PromptTooLong(ModelError):
    """A prompt, with the room its answer may need, does not fit the context."""

    _SENTENCE = re.compile(r"the session needs [\d,]+ tokens but the context has [\d,]+;")

    @classmethod
    def of(cls, needed: int, room: int) -> "PromptTooLong":
        """A session needs more tokens than the context has room for."""
        return cls(
            f"the session needs {needed:,} tokens but the context has {room:,}; "
            "give it fewer products, or a larger context"
        )

    @classmethod
    def is_told_by(cls, reason: str) -> bool:
        """Whether a reason that was kept in words is this one: the same student would refuse the session again."""
        return cls._SENTENCE.match(reason) is not None


class Cancelled(Exception):
    """What a model was asked is not wanted any more. It is no error, and nothing may take it for one."""


def not_finite(file: str) -> str:
    """That the model of a file computes no numbers, and what to do about it."""
    return f"{file}: the model computes NaN instead of numbers; its weights are damaged, so fetch or quantize it again"
