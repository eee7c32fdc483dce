"""Read the answers of calls."""

from collections.abc import Callable
from typing import TypeVar

from models.endpoint.json_in_text import without_thoughts
from models.errors import ModelError
from store.calls import Call

T = TypeVar("T")


class FailedBefore(ModelError):
    """A call has failed for good in an earlier run, and is not paid for again."""

    def __init__(self, call: Call) -> None:
        super().__init__(f"{call.error} (call {call.id}, before; --retry-failed asks again)")


class UnusableAnswer(ModelError):
    """The answer of a call is of no use."""

    def __init__(self, problem: str, call: Call) -> None:
        super().__init__(problem)
        self.call = call


def read_answer(call: Call, read: Callable[[str], T]) -> T:
    """What is made of the answer of a call.

    Raises:
        Unusable: it is cut off, or nothing can be made of it.
    """
    if call.finish_reason == "length":
        problem = f"the answer of call {call.id} is cut off; allow longer ones with --answer-tokens"
        raise UnusableAnswer(problem, call)
    try:
        return read(call.response or "")
    except ModelError as error:
        raise UnusableAnswer(str(error), call) from error


def text_of(call: Call) -> str:
    """The answer of a call, without the thoughts before it.

    Raises:
        Unusable: it is cut off.
    """
    return read_answer(call, without_thoughts)
