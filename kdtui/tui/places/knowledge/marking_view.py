"""The part of the place Knowledge that marks pieces, and that samples, exports, deletes and restores them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.screen import Failed
from kdtui.tui.places.knowledge import store_queries
from kdtui.tui.places.knowledge.forms import ExportPiecesForm, ExportRequest, SamplePiecesForm, SampleRequest
from kdtui.tui.places.knowledge.marks import Marks
from kdtui.tui.places.knowledge.messages import DependentsLoaded, KnowledgeChanged, PieceSearch
from kdtui.tui.places.knowledge.search_view import KnowledgeSearchView
from kdtui.workflows.knowledge.query import write_query
from kdtui.workflows.number_ranges import write_numbers
from store.records import KnowledgeQuery

if TYPE_CHECKING:
    from store.knowledge_removal import RemovedKnowledge
    from store.sqlite import Database

_MOST_RESTORABLE = 20_000
"""Deleted pieces that can be restored: they stay in memory until the app ends."""

_MARKED_AT_ONCE = 50_000
"""Rows that are marked before the event loop gets a turn."""


class KnowledgeMarkingView(KnowledgeSearchView):
    """Marks pieces, and changes the marked pieces or the one under the cursor."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._marks = Marks()
        # The query whose matches are the marked pieces, if the user marked them all.
        self._marked_query: KnowledgeQuery | None = None
        # The search whose matches are marked as soon as all are known.
        self._search_to_mark: PieceSearch | None = None
        self._removed: list[RemovedKnowledge] = []
        self._is_changing = False

    def on_mount(self) -> None:
        """Show the marks in the list."""
        self._table.show_marks(self._marks)

    # Marks

    def remark(self) -> str:
        """Return the number of marked pieces."""
        return f"{len(self._marks):,} marked" if self._marks else ""

    def action_mark(self) -> None:
        """Mark or unmark the piece under the cursor, and move to the next."""
        key = self._table.cursor_key
        assert key is not None
        self._marks.toggle(int(key))
        self._marked_query = None
        self._show_marks()
        self._table.action_down()

    def action_mark_all(self) -> None:
        """Mark all matches; if they are marked, unmark everything."""
        assert self._shown is not None
        if self._marked_query == self._shown.query:
            self._clear_marks()
            self._show_marks()
        elif self._table.is_whole:
            self.run_worker(self._mark_all(self._shown.query), exclusive=True, group="mark")
        else:
            self._search_to_mark = self._shown
            self._table.find_all()

    def all_matches_known(self) -> None:
        """Mark the matches if the user asked for that."""
        if self._search_to_mark is not None and self._search_to_mark == self._shown:
            self.run_worker(self._mark_all(self._search_to_mark.query), exclusive=True, group="mark")

    async def _mark_all(self, query: KnowledgeQuery) -> None:
        from asyncio import sleep

        self._search_to_mark = None
        ids = self._table.ids
        had_no_marks = not self._marks
        for first in range(0, len(ids), _MARKED_AT_ONCE):
            self._marks.add(ids[first : first + _MARKED_AT_ONCE])
            await sleep(0)
        self._marked_query = query if had_no_marks or len(self._marks) == len(ids) else None
        self._show_marks()

    def _clear_marks(self) -> None:
        self._marks.clear()
        self._marked_query = None

    def _show_marks(self) -> None:
        self._table.show_marks(self._marks)
        self._show_state()
        self.refresh_bindings()

    @property
    def _chosen(self) -> list[int]:
        """The pieces that an action is about: the marked ones, or the one under the cursor."""
        if self._marks:
            return self._marks.numbers
        key = self._table.cursor_key
        return [] if key is None else [int(key)]

    def _options_for(self, numbers: list[int]) -> dict[str, str | None]:
        """Return the options that name the chosen pieces in a command."""
        if self._marked_query is not None:
            return {"--query": write_query(self._marked_query)}
        return {"--pieces": write_numbers(numbers)}

    # Samples and exports

    def action_sample(self) -> None:
        """Make a sample of the pieces."""
        numbers = self._chosen

        def create(request: SampleRequest | None) -> None:
            if request is not None:
                name, with_rejected = request.name, request.with_rejected
                self._change(partial(store_queries.make_sample, numbers, name, with_rejected, request.replace))

        with_rejected = self._marked_query is not None and "rejected" in self._marked_query.statuses
        options = self._options_for(numbers)
        form = SamplePiecesForm(len(numbers), options, self._named_database, with_rejected=with_rejected)
        self.app.push_screen(FormDialog(form), create)

    def action_export(self) -> None:
        """Export the pieces."""
        numbers = self._chosen

        def export(request: ExportRequest | None) -> None:
            if request is None:
                return
            folder = request.folder
            assert folder is not None
            self._change(
                partial(store_queries.export_pieces, numbers, folder, request.kind, request.licence, request.replace)
            )

        form = ExportPiecesForm(len(numbers), self._options_for(numbers), self._named_database)
        self.app.push_screen(FormDialog(form), export)

    # Deleting and restoring

    def action_delete(self) -> None:
        """Find what depends on the pieces, then ask whether to delete them."""
        self.ask(partial(store_queries.load_dependents, self._chosen), lambda message: message, group="dependents")

    def on_dependents_loaded(self, message: DependentsLoaded) -> None:
        """Ask whether to delete the pieces."""
        numbers, count = message.numbers, message.dependents.pieces
        can_undo = count <= _MOST_RESTORABLE
        key = self.kdtui.key_of("knowledge.undo")
        undo = f"{key} restores them until you quit." if can_undo else "That number of pieces cannot be restored."
        # Marked pieces can be out of sight; a single piece is named.
        row = self._table.row_at(self._table.cursor_row)
        statement = f"“{row.cells[2]}” " if row is not None and numbers == [int(row.key)] else ""
        question = f"Delete {store_queries.pieces_in_words(count)}?"
        consequence = f"{statement}{message.consequence} {undo}"

        def delete(yes: bool | None) -> None:
            if yes:
                self._change(partial(store_queries.delete_pieces, numbers, can_undo))

        self.app.push_screen(ConfirmDialog(question, consequence, "Delete", self._deletion_command(numbers)), delete)

    def _deletion_command(self, numbers: list[int]) -> str:
        if self._marked_query is not None:
            query = {"--query": write_query(self._marked_query)}
            return command_line(("knowledge", "rm"), None, query, database=self._named_database)
        ranges = write_numbers(numbers).split(",")
        return command_line(("knowledge", "rm"), ranges, database=self._named_database)

    def action_undo(self) -> None:
        """Restore the pieces that were deleted last."""
        self._change(partial(store_queries.restore_pieces, self._removed[-1]))

    # Changes

    def _change(self, change: "Callable[[Database], KnowledgeChanged]") -> None:
        """Start a change; no other one starts until it ends."""
        self._is_changing = True
        self.refresh_bindings()
        self.write(change)

    def on_knowledge_changed(self, message: KnowledgeChanged) -> None:
        """Say what has changed, and reload the list."""
        self._is_changing = False
        self.say(message.sentence, error=False)
        if message.restored:
            self._removed.pop()
        if message.removed is not None:
            if message.removed.knowledge:
                self._removed.append(message.removed)
            self._clear_marks()
            self._table.show_marks(self._marks)
        self.action_reload()
        self.refresh_bindings()

    def on_failed(self, _: Failed) -> None:
        """Allow changes again."""
        if self._is_changing:
            self._is_changing = False
            self.refresh_bindings()

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now."""
        match action:
            case "mark" | "sample" | "export" | "delete" if not self._has_rows or not self._chosen:
                return "there is no piece to do this with"
            case "sample" | "export" | "delete" | "undo" if self._is_changing:
                return "another change of pieces is running"
            case "mark_all" if not self._has_rows:
                return "there is no piece to mark"
            case "undo" if not self._removed:
                return "nothing was deleted since the program started"
        return super().why_not(action)
