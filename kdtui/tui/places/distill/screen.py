"""Distill: teachers are asked here, and everything that they were ever asked can be looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static

from kdtui.text import counted, fit_lines, one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.distill.call_ledger import CallLedger
from kdtui.tui.places.distill.call_rows import totals_table, totals_text
from kdtui.tui.places.distill.distillation import Distillation, Remark
from kdtui.tui.places.distill.form import DistillationForm
from kdtui.tui.places.distill.history import Distillations
from kdtui.tui.places.distill.panel import DistillationPanel
from kdtui.tui.places.distill.plan import DistillationPlan
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from store.calls import TeacherTotals
    from store.sqlite import Database

_PLACE = "distill"

ANNOTATIONS = "annotations"
"""The teacher of what is mined, and of what is composed from what people did."""

_REDRAW = 0.25
"""Seconds between two looks at what is at work."""

_NEWER = 2.0
"""Seconds between two looks for new calls while something is at work."""

_SHOWN = 30_000
"""Characters of a call that are shown; a terminal takes long to wrap more."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the store has to do with distilling.

    Attributes:
        named_database: how a command has to name the store.
        totals: what teachers were asked in all.
        there: how many pieces of the annotations could be replaced, by dataset and format.
    """

    datasets: list[str]
    named_database: Path | None
    totals: "list[TeacherTotals]"
    there: dict[tuple[str, str], int]


class SurroundingsFound(Message):
    """They have come from the store."""

    def __init__(self, found: Surroundings) -> None:
        super().__init__()
        self.found = found


class CallFound(Message):
    """A call has come from the store: its number, and all of it in words."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__()
        self.number, self.text = number, text


class DistillScreen(StoreScreen[None]):
    """What is being distilled, and the ledger of all calls."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("distill", "screen", "search")
    AUTO_FOCUS = "#calls"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._found: Surroundings | None = None
        self._distillations = Distillations()
        self._activities: dict[Activity, Distillation] = {}

    def compose(self) -> ComposeResult:
        """What is at work and what it was in all, and the calls."""
        yield TopBar("distill")
        with Container(id="work"):
            with VerticalScroll(id="side", can_focus=False):
                yield DistillationPanel(id="progress")
                yield Static(id="totals", markup=False)
            yield CallLedger(self.database, self.remembered(_PLACE), id="ledger")
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Look at the store after the first paint, and now and then at what is at work."""
        self._notice("Looking for calls…")
        self._show_progress()
        self._redraw = self.set_interval(_REDRAW, self._look_at_work, pause=True)
        self._renew = self.set_interval(_NEWER, self._ledger.find_newer, pause=True)
        self.call_after_refresh(self.action_reload)

    def action_reload(self) -> None:
        """Look again at all there is."""
        self._ask_surroundings()
        self._ledger.find(row=self._table.cursor_row)

    def see_other_data(self) -> None:
        """Look again."""
        self.action_reload()

    @property
    def _ledger(self) -> CallLedger:
        return self.query_one(CallLedger)

    @property
    def _table(self) -> HitsTable:
        return self._ledger.table

    @property
    def _named_database(self) -> Path | None:
        return self._found.named_database if self._found is not None else None

    # What is stored

    def _ask_surroundings(self) -> None:
        def question(db: "Database") -> Surroundings:
            from store.calls import totals_by_teacher
            from store.datasets import dataset_names
            from store.knowledge_renewal import count_replaceable

            return Surroundings(
                dataset_names(db),
                named_database(self.database),
                totals_by_teacher(db),
                count_replaceable(db, ANNOTATIONS),
            )

        self.ask(question, SurroundingsFound, group="surroundings")

    def on_surroundings_found(self, message: SurroundingsFound) -> None:
        """Show the totals, and what can be done."""
        self._found = message.found
        self.query_one("#totals", Static).update(totals_table(message.found.totals) if message.found.totals else "")
        self._show_progress()
        self._show_notice()
        self.refresh_bindings()

    @on(Input.Submitted, "#search")
    def action_leave_search(self) -> None:
        """Go from the search to the list."""
        self.set_focus(self._table if self._table.display else None)

    @on(HitsTable.Found)
    def show_found(self, message: HitsTable.Found) -> None:
        """Show the table, or say why there is nothing in it."""
        if message.first or message.done:
            self._show_notice()

    @on(HitsTable.Failed)
    def show_failure(self, message: HitsTable.Failed) -> None:
        """Say what went wrong."""
        self.on_failed(Failed(message.sentence))

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        if not self._table.row_count:
            self._notice(one_line(message.sentence))

    def _show_notice(self) -> None:
        """Where there are no calls, say what to do first."""
        if self._table.row_count:
            self._notice("")
        elif self._found is None or (query := self._ledger.query_now) is None:
            self._notice("Looking for calls…")
        elif not self._found.datasets:
            self._notice(self.first_steps(self._named_database))
        elif query.text.strip() or query.failed:
            self._notice("No call is like that.")
        elif self._distillations.are_active:
            self._notice("Calls are listed here as they are answered.")
        else:
            [dataset, *_] = self.datasets_to_begin_with(self._found.datasets)
            command = command_line(
                ("knowledge", "distill", "--dry-run"),
                None,
                {"--dataset": dataset, "--teacher": "http://HOST/v1#MODEL"},
                database=self._named_database,
            )
            self._notice(
                f"No model has been asked yet. Press {self.kdtui.key_of('distill.new')} to choose a dataset, a format "
                "and a teacher, and to see what it costs before anything is asked; "
                f"or in a shell:\n\n    {one_line(command)}"
            )

    def _notice(self, sentence: str) -> None:
        """Show a sentence in place of the table, or the table. It must be fit to be shown."""
        self.show_content(self._table, unless=sentence, focus=self._table)
        if sentence:
            self.show_command("")

    @on(RowTable.RowHighlighted, "#calls")
    def show_command_of_call(self, event: RowTable.RowHighlighted) -> None:
        """Show the command for the call under the cursor."""
        self.show_command(command_line(("knowledge", "calls"), event.key, database=self._named_database))

    @on(RowTable.RowSelected, "#calls")
    def open_call(self, event: RowTable.RowSelected) -> None:
        """Show the call under the cursor in full."""
        number = int(event.key)

        def question(db: "Database") -> str:
            from kdtui.workflows.calls.call_report import call_text
            from store.calls import call_details

            return fit_lines(call_text(call_details(db, number)))

        self.ask(question, partial(CallFound, number), group="call")

    def on_call_found(self, message: CallFound) -> None:
        """Show a call in full."""
        if not self.is_current:
            return
        shown, more = message.text[:_SHOWN], len(message.text) - _SHOWN
        if more > 0:
            command = command_line(("knowledge", "calls"), str(message.number), database=self._named_database)
            shown += f"\n\n… {counted(more, 'character')} more; c copies all of it, and so does: {one_line(command)}"
        self.app.push_screen(TextDialog(f"Call {message.number}", shown, copies=message.text))

    def action_search(self) -> None:
        """Go to the search."""
        self.set_focus(self.query_one("#search", Input))

    def action_failed_only(self) -> None:
        """List the calls that failed, or all."""
        self._ledger.toggle_failed()

    def action_totals(self) -> None:
        """Show what each teacher was asked."""
        assert self._found is not None
        totals = self._found.totals
        self.app.push_screen(
            TextDialog("What teachers were asked in all", totals_table(totals), copies=fit_lines(totals_text(totals)))
        )

    # What is to be done

    def action_new(self) -> None:
        """Ask what is to be distilled, from whom, and for how much."""
        assert self._found is not None
        memory = self.remembered(_PLACE)
        before = memory.get("form")
        last = before.get("dataset") if isinstance(before, dict) else None
        [dataset, *_] = self.datasets_to_begin_with(self._found.datasets, last)
        form = DistillationForm(
            self._found.datasets, dataset, before, self._distillations.clash, self._found.there, self._named_database
        )

        def begin(*values: Mapping[str, str]) -> None:
            plan = form.plan(*values)
            # What deletes is chosen anew each time.
            memory["form"] = {**plan.values, "replace": ""}
            self._begin(plan)

        def ask_further(what: Mapping[str, str] | None) -> None:
            if what is None:
                return
            if (further := form.how(what)) is None:
                begin(what)
            else:
                self.app.push_screen(further, lambda how: begin(what, how) if how is not None else None)

        self.app.push_screen(form.what(), ask_further)

    # What is at work

    @property
    def _current(self) -> Distillation | None:
        return self._distillations.current

    def _begin(self, plan: DistillationPlan) -> None:
        """See what it costs where somebody is paid, and what goes where that is wanted; begin where neither is."""
        if problem := self._distillations.clash(plan):
            self.say(problem)
            return
        self._start(self._distillations.add(plan))

    def _start(self, distillation: Distillation) -> None:
        work = distillation.estimate if distillation.state == "estimating" else distillation.work
        activity = Activity("distil", self.database, work, self.post_message, stop=distillation.gate.close)
        self._activities[activity] = distillation
        self.kdtui.begin(activity)
        self._redraw.resume()
        self._renew.resume()
        self._show_progress()
        self._show_notice()
        self.refresh_bindings()

    def on_happened(self, message: Happened) -> None:
        """Note what has come of something that is at work."""
        distillation = self._activities[message.activity]
        if distillation.state == "estimating":
            # What it yields is the estimate.
            distillation.estimated = message.event  # type: ignore[assignment]
        else:
            distillation.add(message.event)
            if isinstance(message.event, Remark):
                self.say(message.event.text, error=False)
        self._show_progress()

    def on_ended(self, message: Ended) -> None:
        """Ask whether to pay, or say what has come of it."""
        distillation = self._activities.pop(message.activity)
        estimated = distillation.estimated
        if distillation.state == "estimating" and message.problem is None and estimated is not None:
            distillation.state = "asking" if estimated.asks_for_consent else "running"
            if estimated.asks_for_consent:
                self._ask_for_consent()
            else:
                self._start(distillation)
        else:
            distillation.settle(message.problem)
            self._tell(distillation, message.details)
            self._ask_surroundings()
            self._ledger.find(row=self._table.cursor_row)
        if not self._distillations.are_active:
            self._redraw.pause()
            self._renew.pause()
        self._show_progress()
        self.refresh_bindings()

    def _tell(self, distillation: Distillation, details: str) -> None:
        """Say how it ended, wherever the user is."""
        sentence, reasons, is_well = distillation.outcome
        self.say(sentence, error=not is_well, details=details or reasons)

    def _ask_for_consent(self) -> None:
        """Ask whether to pay, or to delete, for what waits for that, if this screen is looked at; else when it is."""
        waiting = self._distillations.waiting
        if waiting is None or not self.is_current:
            return
        self._distillations.look_at(waiting)
        self._show_progress()

        def answer(yes: bool | None) -> None:
            if waiting.state != "asking":
                return
            if yes:
                waiting.state = "running"
                waiting.step = None
                self._start(waiting)
            else:
                waiting.state = "cancelled"
                self._show_progress()
                self.refresh_bindings()
                self.say("nothing has been asked or changed", error=False)
            self._ask_for_consent()

        command = waiting.plan.command(self._named_database)
        verb = waiting.verb
        question = f"{verb} {'for ' if verb == 'Ask' else ''}{waiting.plan.title}?"
        self.app.push_screen(ConfirmDialog(question, waiting.consequence, verb, command), answer)

    def on_screen_resume(self) -> None:
        """Ask what has come up meanwhile."""
        self._ask_for_consent()

    def action_pause(self) -> None:
        """Ask nothing more for now."""
        if (current := self._current) is not None:
            current.gate.hold()
            current.state = "pausing"
            self._show_progress()
            self.refresh_bindings()

    def action_resume(self) -> None:
        """Go on; what has ended is begun again."""
        current = self._current
        if current is None:
            return
        if current.is_active:
            current.state = "running"
            current.gate.release()
            self._show_progress()
            self.refresh_bindings()
        else:
            self._begin(current.plan)

    def action_cancel(self) -> None:
        """Ask nothing more; what is under way is finished and kept."""
        if (current := self._current) is not None:
            # What waits for consent is not at work.
            current.state = "cancelled" if current.state == "asking" else "stopping"
            current.gate.close()
            self._show_progress()
            self.refresh_bindings()

    def action_next_run(self) -> None:
        """Show the next distillation."""
        self._distillations.look_at_next()
        self._show_progress()
        self.refresh_bindings()

    def _look_at_work(self) -> None:
        """See whether what is to be held is still, and show how far all is."""
        if self._distillations.see_whether_held():
            self.refresh_bindings()
        self._show_progress()

    def _show_progress(self) -> None:
        panel = self.query_one("#progress", DistillationPanel)
        if (current := self._current) is not None:
            command = current.plan.command(self._named_database) if self.has_class("-wide") else ""
            panel.show(current, of=(self._distillations.at + 1, len(self._distillations)), command=command)
        elif self._found is None or self._found.datasets:
            panel.show_text(
                f"Nothing is being distilled. Press {self.kdtui.key_of('distill.new')} to begin: you see what it costs "
                "before anything is asked."
            )
        else:
            panel.show_text("Nothing can be distilled yet.")

    # What can be done

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        current = self._current
        match action:
            case "new":
                if self._found is None:
                    return "the store is still being read"
                return None if self._found.datasets else self.no_dataset
            case "pause":
                if self._goes_on:
                    # The key does that then.
                    return None
                return "nothing is at work" if current is None else current.why_not_held
            case "resume":
                return self._why_not_resume()
            case "cancel":
                if current is None or not current.is_active:
                    return "nothing is at work"
                return "it is being cancelled already" if current.state == "stopping" else current.why_not_cancelled
            case "totals":
                return None if self._found is not None and self._found.totals else "no model has been asked yet"
            case "next_run":
                return None if len(self._distillations) > 1 else "there is no other one"
        return super().why_not(action)

    @property
    def _goes_on(self) -> bool:
        """Whether the key for a pause ends one, or begins again."""
        current = self._current
        return current is not None and current.can_go_on

    def _why_not_resume(self) -> str | None:
        current = self._current
        if current is None or current.is_active:
            return None
        if current.state == "done" and not current.lost:
            return "it is done"
        return self._distillations.clash(current.plan)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now; pausing and going on share a key."""
        if action == "leave_search":
            return isinstance(self.focused, Input)
        if action in ("pause", "resume") and self._goes_on != (action == "resume"):
            return False
        return super().check_action(action, parameters)
