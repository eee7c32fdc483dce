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
        super().__init__(f"{call.error} (earlier, in call {call.id}; --retry-failed asks again)")


class UnusableAnswer(ModelError):
    """The answer of a call cannot be used."""

    def __init__(self, problem: str, call: Call) -> None:
        super().__init__(problem)
        self.call = call


def read_answer(call: Call, read: Callable[[str], T]) -> T:
    """Parse the answer of a call.

    Raises:
        UnusableAnswer: it is cut off, or cannot be parsed.
    """
    if call.finish_reason == "length":
        problem = f"the answer of call {call.id} is cut off; allow longer ones with --answer-tokens"
        raise UnusableAnswer(problem, call)
    try:
        return read(call.response or "")
    except ModelError as error:
        raise UnusableAnswer(str(error), call) from error


def text_of(call: Call) -> str:
    """Return the answer of a call, without the thoughts before it.

    Raises:
        UnusableAnswer: it is cut off.
    """
    return read_answer(call, without_thoughts)
