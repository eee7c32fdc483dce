"""The list of calls to teachers: search, open and sum up calls."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message
from textual.widgets import Input, Static

from kdtui.text import fit_lines, one_line
from kdtui.tui.core.call_dialog import CallRead, call_dialog, read_call
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.distill.call_ledger import CallLedger
from kdtui.tui.places.distill.call_rows import totals_table, totals_text
from kdtui.tui.widgets.row_table import RowTable

if TYPE_CHECKING:
    from store.calls import TeacherTotals
    from store.sqlite import Database

_ANNOTATIONS = "annotations"
"""The teacher of mined patterns, and of knowledge composed from annotations."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a distillation needs to know of the store.

    Attributes:
        named_database: the path by which a command names the store, or None for the default.
        totals: the totals of all calls by teacher.
        replaceable: number of pieces from the annotations that can be replaced, by dataset and format.
    """

    datasets: list[str]
    named_database: Path | None
    totals: "list[TeacherTotals]"
    replaceable: dict[tuple[str, str], int]


class StoreFactsRead(Message):
    """The facts about the store were read."""

    def __init__(self, facts: StoreFacts) -> None:
        super().__init__()
        self.facts = facts


class LedgerScreen(StoreScreen[None]):
    """A screen with a `CallLedger` and the totals of all calls.

    Attributes:
        facts: what the store has; None before it is read.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self.facts: StoreFacts | None = None

    @property
    def is_distilling(self) -> bool:
        """Whether a distillation is active, which adds calls."""
        raise NotImplementedError

    def show_progress(self) -> None:
        """Show the progress of the current distillation."""
        raise NotImplementedError

    def action_reload(self) -> None:
        """Read the facts about the store, and search for calls again."""
        self.read_facts()
        self.ledger.find(row=self.table.cursor_row)

    def see_other_data(self) -> None:
        self.action_reload()

    @property
    def ledger(self) -> CallLedger:
        """The calls and their search."""
        return self.query_one(CallLedger)

    @property
    def table(self) -> HitsTable:
        return self.ledger.table

    @property
    def named_database(self) -> Path | None:
        """The path by which a command names the store, or None for the default."""
        return self.facts.named_database if self.facts is not None else None

    def read_facts(self) -> None:
        """Read the facts about the store."""

        def question(db: "Database") -> StoreFacts:
            from store.calls import totals_by_teacher
            from store.datasets import dataset_names
            from store.knowledge_renewal import count_replaceable

            return StoreFacts(
                dataset_names(db),
                named_database(self.database),
                totals_by_teacher(db),
                count_replaceable(db, _ANNOTATIONS),
            )

        self.ask(question, StoreFactsRead, group="facts")

    def on_store_facts_read(self, message: StoreFactsRead) -> None:
        """Show the totals, and update what depends on the store."""
        self.facts = message.facts
        self.query_one("#totals", Static).update(totals_table(message.facts.totals) if message.facts.totals else "")
        self.show_progress()
        self.show_notice()
        self.refresh_bindings()

    @on(Input.Submitted, "#search")
    def action_leave_search(self) -> None:
        """Go from the search to the list."""
        self.set_focus(self.table if self.table.display else None)

    @on(HitsTable.Found)
    def show_found(self, message: HitsTable.Found) -> None:
        """Show the table, or why it is empty."""
        if message.first or message.done:
            self.show_notice()

    @on(HitsTable.Failed)
    def show_failure(self, message: HitsTable.Failed) -> None:
        """Show why the search failed."""
        self.post_message(Failed(message.sentence))

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if nothing else is shown."""
        if not self.table.row_count:
            self.show_instead(one_line(message.sentence))

    def show_notice(self) -> None:
        """Show the table, or in place of an empty one what to do first."""
        if self.table.row_count:
            self.show_instead("")
        elif self.facts is None or (query := self.ledger.call_query) is None:
            self.show_instead("Looking for calls…")
        elif not self.facts.datasets:
            self.show_instead(self.first_steps(self.named_database))
        elif query.text.strip() or query.failed:
            self.show_instead("No call matches.")
        elif self.is_distilling:
            self.show_instead("Calls are listed here as they are answered.")
        else:
            [dataset, *_] = self.datasets_to_begin_with(self.facts.datasets)
            command = command_line(
                ("knowledge", "distill", "--dry-run"),
                None,
                {"--dataset": dataset, "--teacher": "http://HOST/v1#MODEL"},
                database=self.named_database,
            )
            self.show_instead(
                f"No model has been asked yet. Press {self.kdtui.key_of('distill.new')} to choose a dataset, a format "
                "and a teacher, and to see the cost before anything is asked; "
                f"or in a shell:\n\n    {one_line(command)}"
            )

    def show_instead(self, sentence: str) -> None:
        """Show a sentence in place of the table, or the table if the sentence is empty."""
        self.show_content(self.table, unless=sentence, focus=self.table)
        if sentence:
            self.show_command("")

    @on(RowTable.RowHighlighted, "#calls")
    def show_command_of_call(self, event: RowTable.RowHighlighted) -> None:
        """Show the command for the selected call."""
        self.show_command(command_line(("knowledge", "calls"), event.key, database=self.named_database))

    @on(RowTable.RowSelected, "#calls")
    def open_call(self, event: RowTable.RowSelected) -> None:
        """Show the selected call in full."""
        self.ask(partial(read_call, int(event.key)), lambda call: call, group="call")

    def on_call_read(self, message: CallRead) -> None:
        if self.is_current:
            self.app.push_screen(call_dialog(message, self.named_database))

    def action_search(self) -> None:
        """Go to the search."""
        self.set_focus(self.query_one("#search", Input))

    def action_failed_only(self) -> None:
        """List only failed calls, or all."""
        self.ledger.toggle_failed()

    def action_totals(self) -> None:
        """Show the totals of all calls by teacher."""
        assert self.facts is not None
        totals = self.facts.totals
        self.app.push_screen(
            TextDialog("All calls by teacher", totals_table(totals), copies=fit_lines(totals_text(totals)))
        )

    def why_not(self, action: str) -> str | None:
        if action == "totals":
            return None if self.facts is not None and self.facts.totals else "no model has been asked yet"
        return super().why_not(action)
