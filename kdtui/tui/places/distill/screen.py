"""The place Distill: distillations that run in the background, and the calls to teachers."""

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Input, Static

from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.places.distill.call_ledger import CallLedger
from kdtui.tui.places.distill.distillation import Distillation, DistillationActivity
from kdtui.tui.places.distill.distillation_work import TeacherNote
from kdtui.tui.places.distill.fields import fields_of_request
from kdtui.tui.places.distill.form import DistillationForm, TeacherForm, remembered_values
from kdtui.tui.places.distill.history import Distillations
from kdtui.tui.places.distill.ledger_screen import LedgerScreen
from kdtui.tui.places.distill.panel import DistillationPanel
from kdtui.tui.places.distill.request import DistillationRequest
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.top_bar import TopBar

_PLACE = "distill"

_REDRAW = 0.25
"""Seconds between two updates of the progress."""

_NEWER = 2.0
"""Seconds between two searches for newer calls while a distillation runs."""


class DistillScreen(LedgerScreen):
    """The distillations, and all calls to teachers."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("distill", "screen", "search")
    AUTO_FOCUS = "#calls"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._distillations = Distillations()
        self._activities: dict[Activity, Distillation] = {}

    def compose(self) -> ComposeResult:
        yield TopBar("distill")
        with Container(id="work"):
            with VerticalScroll(id="side", can_focus=False):
                yield DistillationPanel(id="progress")
                yield Static(id="totals", markup=False)
            yield CallLedger(self.database, self.remembered(_PLACE), id="ledger")
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Read the store after the first paint, and set up the timers for running distillations."""
        self.show_instead("Looking for calls…")
        self.show_progress()
        self._redraw = self.set_interval(_REDRAW, self._update_progress, pause=True)
        self._renew = self.set_interval(_NEWER, self.ledger.find_newer, pause=True)
        self.call_after_refresh(self.action_reload)

    @property
    def is_distilling(self) -> bool:
        return self._distillations.are_active

    # A new distillation

    def action_new(self) -> None:
        """Ask what to distil, and from which teacher."""
        assert self.facts is not None
        memory = self.remembered(_PLACE)
        remembered = memory.get("form")
        last = remembered.get("dataset") if isinstance(remembered, dict) else None
        [dataset, *_] = self.datasets_to_begin_with(self.facts.datasets, last)
        before, named = remembered_values(remembered, dataset), self.named_database

        def begin(request: DistillationRequest | None) -> None:
            if request is not None:
                # The user chooses each time whether to delete.
                memory["form"] = {**before, **fields_of_request(request), "replace": ""}
                self._begin(request)

        def ask_for_options(request: DistillationRequest | None) -> None:
            if request is None:
                return
            form = TeacherForm(request, named)
            if form.fields:
                self.app.push_screen(FormDialog(form), begin)
            else:
                begin(request)

        facts = self.facts
        form = DistillationForm(facts.datasets, before, self._distillations.clash, facts.replaceable, named)
        self.app.push_screen(FormDialog(form), ask_for_options)

    # Running distillations

    @property
    def current(self) -> Distillation | None:
        """The distillation that is shown."""
        return self._distillations.current

    def _begin(self, request: DistillationRequest) -> None:
        """Begin a distillation, with an estimate first if it costs money or deletes knowledge."""
        if problem := self._distillations.clash(request):
            self.say(problem)
            return
        self._start(self._distillations.add(request))

    def _start(self, distillation: Distillation) -> None:
        activity = DistillationActivity(distillation, self.database, self.post_message)
        self._activities[activity] = distillation
        self.kdtui.begin(activity)
        self._redraw.resume()
        self._renew.resume()
        self.show_progress()
        self.show_notice()
        self.refresh_bindings()

    def on_happened(self, message: Happened) -> None:
        """Note an event of a distillation."""
        distillation = self._activities[message.activity]
        if distillation.state == "estimating":
            # The only event is the estimate.
            distillation.estimate = message.event  # type: ignore[assignment]
        else:
            distillation.add(message.event)
            if isinstance(message.event, TeacherNote):
                self.say(message.event.text, error=False)
        self.show_progress()

    def on_ended(self, message: Ended) -> None:
        """Ask for consent after an estimate, or report how a distillation ended."""
        distillation = self._activities.pop(message.activity)
        estimate = distillation.estimate
        if distillation.state == "estimating" and message.problem is None and estimate is not None:
            distillation.state = "confirming" if estimate.needs_consent else "running"
            if estimate.needs_consent:
                self._ask_for_consent()
            else:
                self._start(distillation)
        else:
            distillation.end(message.problem)
            self._report(distillation, message.details)
            self.kdtui.data_changed.publish(None)
        if not self._distillations.are_active:
            self._redraw.pause()
            self._renew.pause()
        self.show_progress()
        self.refresh_bindings()

    def _report(self, distillation: Distillation, details: str) -> None:
        """Report how a distillation ended, wherever the user is."""
        sentence, reasons, is_well = distillation.outcome
        self.say(sentence, error=not is_well, details=details or reasons)

    def _ask_for_consent(self) -> None:
        """Ask for consent to the first waiting distillation, if this screen is visible."""
        waiting = self._distillations.waiting
        if waiting is None or not self.is_current:
            return
        self._distillations.show(waiting)
        self.show_progress()

        def answer(has_consent: bool | None) -> None:
            if waiting.state != "confirming":
                return
            if has_consent:
                waiting.state = "running"
                waiting.work.step = None
                self._start(waiting)
            else:
                waiting.state = "stopped"
                self.show_progress()
                self.refresh_bindings()
                self.say("nothing was asked or changed", error=False)
            self._ask_for_consent()

        command = waiting.request.command(self.named_database)
        verb = waiting.verb
        question = f"{verb} {'for ' if verb == 'Ask' else ''}{waiting.request.title}?"
        self.app.push_screen(ConfirmDialog(question, waiting.consequence, verb, command), answer)

    def on_screen_resume(self) -> None:
        """Ask for consent to distillations that began to wait while the user was away."""
        self._ask_for_consent()

    def action_pause(self) -> None:
        """Pause: make no new calls."""
        if (current := self.current) is not None:
            current.gate.hold()
            current.state = "pausing"
            self.show_progress()
            self.refresh_bindings()

    def action_resume(self) -> None:
        """Resume a paused distillation, or begin an ended one again."""
        current = self.current
        if current is None:
            return
        if current.is_active:
            current.state = "running"
            current.gate.release()
            self.show_progress()
            self.refresh_bindings()
        else:
            self._begin(current.request)

    def action_cancel(self) -> None:
        """Stop: make no new calls; pending ones are finished and kept."""
        if (current := self.current) is not None:
            # A distillation that waits for consent does not run, so it ends at once.
            current.state = "stopped" if current.state == "confirming" else "stopping"
            current.gate.close()
            self.show_progress()
            self.refresh_bindings()

    def action_next_run(self) -> None:
        """Show the next distillation."""
        self._distillations.show_next()
        self.show_progress()
        self.refresh_bindings()

    def _update_progress(self) -> None:
        """Show the progress, and which distillations have paused."""
        if self._distillations.update_paused():
            self.refresh_bindings()
        self.show_progress()

    def show_progress(self) -> None:
        panel = self.query_one("#progress", DistillationPanel)
        if (current := self.current) is not None:
            command = current.request.command(self.named_database) if self.has_class("-wide") else ""
            panel.show(current, of=(self._distillations.position + 1, len(self._distillations)), command=command)
        elif self.facts is None or self.facts.datasets:
            panel.show_text(
                f"Nothing is being distilled. Press {self.kdtui.key_of('distill.new')} to begin: you see the cost "
                "before anything is asked."
            )
        else:
            panel.show_text("Nothing can be distilled yet.")

    # Availability of actions

    def why_not(self, action: str) -> str | None:
        current = self.current
        match action:
            case "new":
                if self.facts is None:
                    return "the store is still being read"
                return None if self.facts.datasets else self.no_dataset
            case "pause":
                # While a distillation is paused, the key resumes it.
                if self._resumes:
                    return None
                return "nothing is running" if current is None else current.why_not_paused
            case "resume":
                return self._why_not_resume()
            case "cancel":
                if current is None or not current.is_active:
                    return "nothing is running"
                return "it is being stopped already" if current.state == "stopping" else current.why_not_stopped
            case "next_run":
                return None if len(self._distillations) > 1 else "there is only one"
        return super().why_not(action)

    @property
    def _resumes(self) -> bool:
        """Whether the key for a pause resumes the current distillation, or begins it again."""
        current = self.current
        return current is not None and current.can_resume

    def _why_not_resume(self) -> str | None:
        current = self.current
        if current is None or current.is_active:
            return None
        if current.state == "done" and not current.lost:
            return "it is done"
        return self._distillations.clash(current.request)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Give the key that pausing and resuming share to one of them."""
        if action == "leave_search":
            return isinstance(self.focused, Input)
        if action in ("pause", "resume") and self._resumes != (action == "resume"):
            return False
        return super().check_action(action, parameters)
