"""Hold conversations in which some answers may be unusable."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from kdtui.workflows.calls.answers import UnusableAnswer
from kdtui.workflows.calls.asker import PaidCalls
from kdtui.workflows.calls.rehearsal import Rehearsal

_T = TypeVar("_T")


async def hold_conversation(converse: Callable[[], Awaitable[_T]], asker: PaidCalls | Rehearsal) -> _T:
    """Have a conversation and return its result. If an answer is unusable and may be asked for again, repeat it once.

    Raises:
        ModelError: it has no result.
    """
    while True:
        try:
            return await converse()
        except UnusableAnswer as error:
            if asker.gives_up(error.call):
                raise
