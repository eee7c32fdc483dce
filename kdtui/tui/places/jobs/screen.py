"""The place Jobs: trainings and hosts, watched while the user sees them, and work on them in the background."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.binding import BindingType
from textual.message import Message

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Ended, Happened
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.services import RowWanted
from kdtui.tui.places.jobs import host_rows
from kdtui.tui.places.jobs.background_work import Work
from kdtui.tui.places.jobs.form import TrainingForm
from kdtui.tui.places.jobs.host_dialog import HostDialog
from kdtui.tui.places.jobs.list_screen import JobListScreen, JobsOverview, read_overview
from kdtui.tui.places.jobs.training_actions import TrainingActions
from kdtui.tui.places.jobs.training_choices import TrainingChoices, training_choices
from kdtui.tui.places.jobs.training_request import TrainingRequest
from kdtui.tui.places.jobs.training_screen import TrainingScreen
from kdtui.tui.places.jobs.training_work import (
    EvaluationDue,
    HostActivity,
    TrainingDeleted,
    WorkDone,
    WorkProgress,
    evaluate_and_report,
    prepare_and_start,
)
from kdtui.tui.widgets.row_table import RowTable

if TYPE_CHECKING:
    from kdtui.workflows.training.hosts import HostFinding
    from store.sqlite import Database

_TICK = 1.0
"""Seconds between two checks of the folders of trainings on this machine."""

_ASK = 5.0
"""Seconds between two questions to a host with active trainings."""

_ASK_AGAIN = 30.0
"""Seconds before a host is asked again that did not answer."""


class OverviewRead(Message):
    """The trainings and hosts were read."""

    def __init__(self, overview: JobsOverview) -> None:
        super().__init__()
        self.overview = overview


class TrainingChoicesFound(Message):
    """The choices for a new training were read."""

    def __init__(self, choices: TrainingChoices) -> None:
        super().__init__()
        self.choices = choices


class JobsScreen(JobListScreen):
    """All trainings as they were last seen, which are shown at once, and then in their current state."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("jobs", "training", "rows", "screen")
    AUTO_FOCUS = "#jobs"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        # The training that could not be started, to fill in the form again.
        self._failed_request: TrainingRequest | None = None
        self._opened: TrainingScreen | None = None
        # The name of the training that another place wants to open.
        self._requested: str | None = None

    def on_mount(self) -> None:
        """Show the remembered hosts, and watch trainings while the screen is visible."""
        jobs = self.query_one("#jobs")
        self.show_content(jobs, unless="Looking for trainings…", focus=jobs)
        for id in ("#hosts", "#no-hosts", "#doing"):
            self.query_one(id).display = False
        self.health = host_rows.from_memory(self.remembered("jobs").get("hosts"))
        self.set_interval(_TICK, self._tick)

    def on_screen_resume(self) -> None:
        """Update the trainings whenever the screen is shown."""
        self.call_after_refresh(self._load, is_ready=self.overview is not None)

    def action_reload(self) -> None:
        """Read the folders of trainings again, and ask the hosts that have trainings."""
        for health in self.health.values():
            health.next_question_at = 0.0
        self._load(is_ready=False)

    def on_row_wanted(self, message: RowWanted) -> None:
        """Open a training that another place wants to show, as soon as it is loaded."""
        self._requested = message.key
        self._load()

    def see_other_data(self) -> None:
        self._load()

    # The current state

    def _load(self, *, is_ready: bool = True) -> None:
        def question(db: "Database") -> JobsOverview:
            return read_overview(db, self.database, is_ready=is_ready)

        self.ask(question, OverviewRead, group="overview")

    def on_overview_read(self, message: OverviewRead) -> None:
        """Show the trainings and hosts, ask the hosts, and make finished adapters ready."""
        self.show_overview(message.overview)
        self._ask_hosts()
        requested, self._requested = self._requested, None
        if requested in self.trainings:
            self.query_one("#jobs", RowTable).move_to(list(self.trainings).index(requested))
            if self.is_current:
                self._open(requested)
        elif requested is not None:
            self.say(f"there is no training {requested!r} any more")
        if not message.overview.is_ready:
            self._load()

    def _tick(self) -> None:
        """Update what can change by itself, if the user sees it."""
        if not self.is_current or self.overview is None:
            return
        active = [training for training in self.trainings.values() if training.is_active]
        if any(training.job.host is None for training in active):
            self._load()
        self._ask_hosts()

    def _ask_hosts(self) -> None:
        """Ask each host once about all its trainings, and then about the active ones."""
        for host, health in self.health.items():
            trainings = [training for training in self.trainings.values() if training.job.host == host]
            names = {training.name for training in trainings if training.is_active or not health.next_question_at}
            if names and monotonic() >= health.next_question_at:
                health.next_question_at = monotonic() + _ASK_AGAIN
                self._ask_host(host, names)

    def _ask_host(self, host: str, names: set[str]) -> None:
        """Ask a host about trainings, unless it is being asked."""
        if self.works.is_asking(host):
            return

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.training.on_host import check_trainings

            yield from check_trainings(db, names)

        self._begin(Work(f"asking {host}", asks=host), work)

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if nothing else is shown."""
        if self.overview is None:
            self.show_text("#notice", Text(one_line(message.sentence)))

    # Opening

    @on(RowTable.RowSelected, "#jobs")
    def open_training(self, event: RowTable.RowSelected) -> None:
        """Open a training, with its log and plots."""
        self._open(event.key)

    def _open(self, name: str) -> None:
        training = self.trainings.get(name)
        if training is not None and self.overview is not None:
            self._opened = TrainingScreen(self, training, self.overview.named_database)
            self.app.push_screen(self._opened)

    @on(RowTable.RowSelected, "#hosts")
    def open_host(self, event: RowTable.RowSelected) -> None:
        """Show the details of a host."""
        self.app.push_screen(HostDialog(event.key, self.host_details(event.key)))

    def action_new(self) -> None:
        """Read the choices for a new training; the form follows."""
        self.ask(lambda db: training_choices(db, self.database), TrainingChoicesFound, group="offer")

    def on_training_choices_found(self, message: TrainingChoicesFound) -> None:
        """Ask for the new training."""

        def start(request: TrainingRequest | None) -> None:
            if request is not None:
                self._failed_request = request
                self.begin_work(
                    f"preparing {request.name}",
                    lambda db: prepare_and_start(db, self.database, request),
                    training=request.name,
                )

        datasets = self.datasets_to_begin_with(message.choices.datasets)
        form = TrainingForm(message.choices, datasets, self.database, self._failed_request)
        self.app.push_screen(FormDialog(form), start)

    def action_check(self) -> None:
        """Check the host under the cursor."""
        name = self.host
        if name is None:
            return
        self.health[name].findings = []

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.training.hosts import check_host_for
            from models.embedded import NAME

            yield from check_host_for(db, name, NAME)

        self._begin(Work(f"checking {name}", checks=name), work)
        if self.has_class("-narrow"):
            self.app.push_screen(HostDialog(name, self.host_details(name)))
        else:
            self.set_focus(self.query_one("#hosts"))

    def why_not(self, action: str) -> str | None:
        match action:
            case "new" if self.overview is None:
                return "the trainings are not read yet"
            case "new" if self.overview is not None and not self.overview.has_dataset:
                return self.no_dataset
            case "check" if self.host is None:
                return "there is no host; kdtui host add NAME --ssh ALIAS adds one"
            case "check" if self.works.is_checking(self.host):
                return f"host {self.host} is being checked already"
        return super().why_not(action)

    # Work in the background

    def begin_work(
        self,
        label: str,
        work: "Callable[[Database], Iterator[object]]",
        *,
        training: str | None = None,
        stops: bool = False,
    ) -> None:
        self._begin(Work(label, training, stops=stops), work)

    def is_stopping(self, name: str) -> bool:
        return self.works.is_stopping(name)

    def work_on(self, name: str) -> str | None:
        return self.works.label_for(name)

    def _begin(self, work: Work, events: "Callable[[Database], Iterator[object]]") -> None:
        activity = HostActivity(work.label, self.database, events, self.post_message)
        self.works.add(activity, work)
        self.kdtui.begin(activity)
        self._show_work()

    def on_happened(self, message: Happened) -> None:
        """Show the progress of work."""
        from kdtui.workflows.training.hosts import HostFinding
        from kdtui.workflows.training.on_host import HostSeen

        activity: Any = message.activity
        work = self.works.get(activity)
        match message.event:
            case WorkProgress(sentence) if work is not None:
                self.works.relabel(activity, sentence)
                self._show_work()
            case WorkDone(sentence):
                self.say(sentence, error=False)
            case TrainingDeleted(name):
                self.say(f"deleted training {name}", error=False)
                if self._opened is not None and self._opened.training_name == name:
                    self._opened.close_deleted()
            case EvaluationDue(name):
                self._begin(
                    Work(f"waiting for {name} to finish, to evaluate it"), lambda db: evaluate_and_report(db, name)
                )
            case HostSeen(host, problem) if host in self.health:
                health = self.health[host]
                health.next_question_at = monotonic() + (_ASK if problem is None else _ASK_AGAIN)
                health.problem, health.reached = problem, problem is None
            case HostFinding() as finding if work is not None and work.checks in self.health:
                self._note_finding(work.checks or "", finding)

    def _note_finding(self, host: str, finding: "HostFinding") -> None:
        self.health[host].note(finding)
        self.remembered("jobs")["hosts"] = host_rows.to_memory(self.health)
        self._show_host(host)

    def _show_host(self, host: str) -> None:
        self.show_hosts()
        if self.training is None:
            self.show_details()
        top = self.app.screen
        if isinstance(top, HostDialog) and top.host == host:
            top.show(self.host_details(host))

    def on_ended(self, message: Ended) -> None:
        """Report why work failed, and update the trainings."""
        work = self.works.pop(message.activity)
        if work is None:
            return
        is_done = message.problem is None and not message.activity.is_cancelled
        if is_done and self._failed_request is not None and work.training == self._failed_request.name:
            self._failed_request = None
        if message.problem is not None and not message.activity.is_cancelled:
            if work.checks in self.health:
                self.health[work.checks or ""].problem = message.problem
            if work.asks is None:
                self.say(message.problem, details=message.details)
        self._show_work()
        if work.checks is not None and work.checks in self.health:
            self._show_host(work.checks)
        self._load()
        if isinstance(top := self.app.screen, TrainingScreen) and work.training == top.training_name:
            top.update_now()

    def _show_work(self) -> None:
        text = one_line(" · ".join(f"… {label}" for label in self.works.labels), 400)
        for screen in (self, self.app.screen):
            if isinstance(screen, TrainingActions):
                screen.show_text("#doing", Text(text))
                screen.query_one("#doing").display = bool(text)
                screen.show_availability()
        if self.overview is not None:
            self.show_hosts()
