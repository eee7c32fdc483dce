"""Read the answers of calls."""

from collections.abc import Callable
from typing import TypeVar

from models.endpoint.json_in_text import without_thoughts
from models.errors import ModelError
from store.calls import Call

T = TypeVar("T")


class FailedBefore(ModelError):
    """A call failed for good in an earlier run, and is not paid for again."""

    def __init__(self, call: Call) -> None:
        super().__init__(f"{call.error} (earlier, in call {call.id})")


class UnusableAnswer(ModelError):
    """The answer of a call cannot be used."""

    def __init__(self, problem: str, call: Call) -> None:
        super().__init__(problem)
        self.call = call


class CutOff(UnusableAnswer):
    """The answer of a call is longer than it may be."""

    def __init__(self, call: Call) -> None:
        super().__init__(f"the answer of call {call.id} is cut off", call)


def with_options(error: ModelError) -> str:
    """Return the message of an error with the option that helps, for commands with the options of paid calls."""
    match error:
        case FailedBefore():
            return f"{error}; --retry-failed asks again"
        case CutOff():
            return f"{error}; allow longer ones with --answer-tokens"
    return str(error)


def read_answer(call: Call, read: Callable[[str], T]) -> T:
    """Parse the answer of a call.

    Raises:
        CutOff: it is cut off.
        UnusableAnswer: it cannot be parsed.
    """
    if call.finish_reason == "length":
        raise CutOff(call)
    try:
        return read(call.response or "")
    except ModelError as error:
        raise UnusableAnswer(str(error), call) from error


def text_of(call: Call) -> str:
    """Return the answer of a call, without the thoughts before it.

    Raises:
        CutOff: it is cut off.
    """
    return read_answer(call, without_thoughts)
