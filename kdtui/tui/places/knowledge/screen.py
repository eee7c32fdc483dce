"""The place Knowledge: search pieces of knowledge, read one, and change them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import BindingType
from textual.widgets import Input

from kdtui.tui.actions import bindings
from kdtui.tui.core.call_dialog import CallRead, call_dialog
from kdtui.tui.places.knowledge import store_queries
from kdtui.tui.places.knowledge.marking_view import KnowledgeMarkingView
from kdtui.tui.places.knowledge.messages import PieceLoaded, PieceSearch, PieceToOpenLoaded
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.steady import Pane

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.about_piece import PieceDetails

_PAUSE = 0.05
"""Seconds that the cursor has to rest on a piece before its details are loaded."""


class KnowledgeScreen(KnowledgeMarkingView):
    """All knowledge: a search with facets, the list of matches, and the piece under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("knowledge", "screen", "search")

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._details: PieceDetails | None = None

    def matches_shown(self, search: PieceSearch) -> None:  # noqa: ARG002
        """Forget the piece if nothing matches."""
        if not self._count:
            self._details = None

    @on(RowTable.RowHighlighted, "#knowledge")
    def load_piece(self, event: RowTable.RowHighlighted) -> None:
        """Load the piece under the cursor, if the cursor stays there."""
        self.ask(partial(store_queries.load_details, int(event.key)), PieceLoaded, group="piece", after=_PAUSE)

    def on_piece_loaded(self, message: PieceLoaded) -> None:
        """Show the piece."""
        from kdtui.tui.places.knowledge.piece import piece_text

        details = message.details
        if self._table.cursor_key != str(details.piece.id):
            return
        before, has_call = self._details, details.piece.call_id is not None
        changes_keys = before is None or (before.piece.call_id is not None) != has_call
        self._details = details
        self.query_one(Pane).show(piece_text(details))
        if changes_keys:
            self.refresh_bindings()

    @on(RowTable.RowSelected, "#knowledge")
    def open_piece(self, event: RowTable.RowSelected) -> None:
        """Open the piece in full."""
        if self._details is not None and str(self._details.piece.id) == event.key:
            self._open(self._details)
        else:
            self.ask(partial(store_queries.load_details, int(event.key)), PieceToOpenLoaded, group="open")

    def on_piece_to_open_loaded(self, message: PieceToOpenLoaded) -> None:
        self._open(message.details)

    def _open(self, details: "PieceDetails") -> None:
        from kdtui.tui.places.knowledge.piece import PieceDialog

        def open_session(session: str | None) -> None:
            if session is not None:
                self.kdtui.open_session(details.piece.dataset, session)

        self.app.push_screen(PieceDialog(self.database, details), open_session)

    def action_call(self) -> None:
        """Load the call that the piece under the cursor comes from."""
        if (key := self._table.cursor_key) is not None:
            self.ask(partial(store_queries.load_call, int(key)), lambda call: call, group="call")

    def on_call_read(self, message: CallRead) -> None:
        """Show the prompt of the teacher, and its answer."""
        if self.is_current:
            self.app.push_screen(call_dialog(message, self._named_database))

    @property
    def _has_call(self) -> bool:
        """Whether a call can be shown; True until the details of the piece under the cursor are loaded."""
        key, details = self._table.cursor_key, self._details
        if key is None or details is None:
            return False
        return str(details.piece.id) != key or details.piece.call_id is not None

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now."""
        match action:
            case "call" if not self._has_call:
                return store_queries.NO_CALL
            case "facets" | "sort" | "reverse" if not self._has_rows:
                return "no knowledge is listed"
            case "clear_search" if not self._text:
                return "the search is empty"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of the two actions on `escape`, offer the one that applies now."""
        is_typing = isinstance(self.focused, Input)
        if action == "leave_search":
            return is_typing
        if action == "clear_search":
            return not is_typing and bool(self._text)
        return super().check_action(action, parameters)
