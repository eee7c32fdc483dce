"""A call to a teacher in full, which several places show."""

from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.text import counted, one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import TextDialog

if TYPE_CHECKING:
    from store.sqlite import Database

_SHOWN = 30_000
"""Maximum number of characters of a call that are shown; to wrap more would take long."""


class CallRead(Message):
    """A call was read; its text is safe to display."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__()
        self.number, self.text = number, text


def read_call(number: int, db: "Database") -> CallRead:
    """Read a call with its prompt and its answer; for worker threads.

    Raises:
        NotFound: there is no call of that number.
    """
    from kdtui.workflows.calls.call_report import call_text
    from store.calls import call_details

    return CallRead(number, call_text(call_details(db, number)))


def call_dialog(call: CallRead, named_database: Path | None) -> TextDialog:
    """Return the dialog that shows a call; it copies the whole call, however long.

    Args:
        named_database: the store, if commands have to name it.
    """
    shown, more = call.text[:_SHOWN], len(call.text) - _SHOWN
    if more > 0:
        command = command_line(("knowledge", "calls"), str(call.number), database=named_database)
        shown += f"\n\n… {counted(more, 'character')} more; c copies the whole call, like: {one_line(command)}"
    return TextDialog(f"Call {call.number}", shown, copies=call.text)
