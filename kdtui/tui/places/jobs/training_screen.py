"""The screen of one training: its log, its curves, and actions on it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Ended, Happened
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.finders import Finder
from kdtui.tui.places.jobs.curves import show_loss, show_quality
from kdtui.tui.places.jobs.log_view import LogFinder, LogView
from kdtui.tui.places.jobs.training_actions import TrainingActions
from kdtui.tui.places.jobs.training_snapshot import TrainingSnapshot, read_training
from kdtui.tui.places.jobs.training_text import training_details
from kdtui.tui.places.jobs.training_work import HostActivity
from kdtui.tui.widgets.curve import Curve
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.workflows.training.watch import Watch
    from store.sqlite import Database


_LONGEST = 300
"""Characters of a problem that are shown."""

_ROOM_FOR_BOTH = 30
"""Lines of a screen that shows the plots, and in words what the training was worth."""


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """It cannot be computed whether a training helped; the sentence says why."""

    sentence: str


class TrainingScreen(TrainingActions):
    """A training, followed while its screen is open.

    Args:
        jobs: the list of trainings, which runs work in the background that outlives this screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("job", "training", "screen")
    AUTO_FOCUS = "#log"

    def __init__(self, jobs: TrainingActions, training: TrainingSnapshot, named_database: Path | None) -> None:
        super().__init__(jobs.database)
        self._jobs = jobs
        self._training = training
        self._named_database = named_database
        self._watch: Watch | None = None
        self._following: HostActivity | None = None
        # Why nothing new is seen, and what happens next.
        self._problem = ""
        self._with_plots = True
        self._is_judged = False
        self._is_deleted = False

    def compose(self) -> ComposeResult:
        yield TopBar("jobs")
        yield Static(id="title", markup=False)
        with Container(id="body"):
            with Container(id="curves"):
                yield Curve(id="loss")
                yield Curve(id="quality")
            yield LogView(id="log")
        yield Static(id="doing", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Show the training as last seen, and follow it."""
        self.query_one("#doing").display = False
        self._show()
        self.show_command(
            command_line(("sft", "logs"), self._training.name, {}, database=self._named_database) + " --follow"
        )
        self._follow()

    def on_unmount(self) -> None:
        """Stop following, which closes the connection."""
        self._stop_following()

    def _stop_following(self) -> None:
        if self._following is not None:
            self._following.cancel()

    def close_deleted(self) -> None:
        """Close, because the training is deleted; under another screen, close when the user returns."""
        self._is_deleted = True
        self._stop_following()
        self.dismiss(None)

    def on_screen_resume(self) -> None:
        """Close if the training was deleted while another screen covered this one."""
        if self._is_deleted:
            self.dismiss(None)

    def _follow(self) -> None:
        from kdtui.workflows.training.watch import Watch

        watch = Watch(self._training.name)

        def work(db: "Database") -> Iterator[object]:
            from kdtui.errors import KdtuiError
            from kdtui.workflows.finish_jobs import finish_job
            from kdtui.workflows.training.find_outcome import find_outcome
            from kdtui.workflows.training.on_this_machine import StatusSeen
            from kdtui.workflows.training.outcome import outcome_problem
            from models.errors import ModelError
            from store.default_adapters import default_adapters

            for event in watch.events(db):
                if not isinstance(event, StatusSeen):
                    yield event
                    continue
                row = finish_job(db, watch.name)
                yield read_training(row, default_adapters(db))
                try:
                    is_judged = row.job.outcome is None and find_outcome(db, row) is not None
                except (KdtuiError, ModelError) as problem:
                    yield OutcomeUnknown(outcome_problem(problem))
                    continue
                if is_judged:
                    yield read_training(finish_job(db, watch.name), default_adapters(db))

        self._watch = watch
        self._following = HostActivity(f"following {watch.name}", self.database, work, self.post_message)
        self.kdtui.begin(self._following)

    def update_now(self) -> None:
        """Read the state of the training at once."""
        if self._following is not None and self._following.is_running and self._watch is not None:
            self._watch.look()
        else:
            self._follow()

    @property
    def training_name(self) -> str:
        return self._training.name

    @property
    def training(self) -> TrainingSnapshot | None:
        """The training as last seen."""
        return self._training

    def begin_work(
        self,
        label: str,
        work: "Callable[[Database], Iterator[object]]",
        *,
        training: str | None = None,
        stops: bool = False,
    ) -> None:
        self._jobs.begin_work(label, work, training=training, stops=stops)

    def is_stopping(self, name: str) -> bool:
        return self._jobs.is_stopping(name)

    def work_on(self, name: str) -> str | None:
        return self._jobs.work_on(name)

    def on_happened(self, message: Happened) -> None:
        """Show the new state, or a new part of the log."""
        from kdtui.workflows.training.follow_on_host import ConnectionLost
        from kdtui.workflows.training.watch import LogRead, TextFound

        match message.event:
            case TrainingSnapshot() as training:
                self._training = training
                # A lost host answers again.
                self._problem = ""
                self._show()
                self.show_availability()
            case LogRead(offset, data, size):
                self.query_one(LogView).put(offset, data, size)
            case TextFound(search, found):
                self.query_one(LogView).show_match(search, found)
            case ConnectionLost(problem):
                self._problem = f"{one_line(problem, _LONGEST)}; retrying"
                self._show()
            case OutcomeUnknown(sentence):
                self.say(sentence)

    def on_ended(self, message: Ended) -> None:
        """Report why the training cannot be followed any more."""
        if message.activity is self._following and not message.activity.is_cancelled and message.problem is not None:
            self._problem = f"{one_line(message.problem, _LONGEST)}; {self.kdtui.key_of('screen.reload')} tries again"
            self._show()
            # While it is being deleted, that is no news.
            if self.work_on(self.training_name) is None:
                self.say(message.problem, details=message.details)

    @on(LogView.FindWanted)
    def find(self, event: LogView.FindWanted) -> None:
        """Find a text in the log."""
        if self._watch is not None:
            self._watch.find(event.search)

    @on(LogView.PartsWanted)
    def read(self, event: LogView.PartsWanted) -> None:
        """Read the parts of the log that become visible."""
        if self._watch is not None:
            self._watch.want(event.parts)

    def _show(self) -> None:
        if self._training.worth and not self._is_judged:
            self._is_judged = True
            # On a small screen, what the training was worth needs the lines of the plots.
            self._with_plots = self.app.size.height >= _ROOM_FOR_BOTH
        text = Text().append(f"{one_line(self._training.name, 60)} ", style="bold")
        text.append_text(training_details(self._training))
        if self._problem:
            text.append("\n✗ ", style="bold")
            text.append(self._problem)
        self.show_text("#title", text)
        show_loss(self.query_one("#loss", Curve), self._training.status)
        show_quality(self.query_one("#quality", Curve), self._training.status)
        self.query_one("#curves").display = self._with_plots and self._has_plots

    @property
    def _has_plots(self) -> bool:
        return any(curve.display for curve in self.query(Curve))

    def why_not(self, action: str) -> str | None:
        if action == "plots" and not self._has_plots:
            return "there is nothing to plot yet"
        return super().why_not(action)

    def action_back(self) -> None:
        self.dismiss(None)

    def finder(self) -> Finder:
        """Return what finds text in the log."""
        return LogFinder(self.query_one(LogView))

    def action_plots(self) -> None:
        """Show or hide the plots; the log gets their room."""
        self._with_plots = not self._with_plots
        self._show()

    def action_reload(self) -> None:
        """Read the state of the training at once."""
        self.update_now()
