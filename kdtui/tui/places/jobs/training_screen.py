"""One training: its log, its curves, and what can be done with it."""

from collections.abc import Callable, Iterator
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
from kdtui.tui.places.jobs.training import Asking, Training, TrainingScreen, seen, training_details
from kdtui.tui.widgets.curve import Curve
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.workflows.training.watch import Watch
    from store.sqlite import Database


class JobScreen(TrainingScreen):
    """A training that is followed as long as its screen is open.

    Args:
        jobs: the list of trainings; what is done in the background is its affair, and outlives this screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("job", "training", "screen")
    AUTO_FOCUS = "#log"

    def __init__(self, jobs: TrainingScreen, training: Training, named_database: Path | None) -> None:
        super().__init__(jobs.database)
        self._jobs = jobs
        self._training = training
        self._named_database = named_database
        self._watch: Watch | None = None
        self._following: Asking | None = None
        self._problem = ""
        self._with_plots = True

    def compose(self) -> ComposeResult:
        """The numbers, the curves and the log."""
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
        """Show what is known, and follow."""
        self.query_one("#doing").display = False
        self._show()
        self.show_command(
            command_line(("sft", "logs"), self._training.name, {}, database=self._named_database) + " --follow"
        )
        self._follow()

    def on_unmount(self) -> None:
        """End the following, and with it the connection."""
        if self._following is not None:
            self._following.cancel()

    def _follow(self) -> None:
        from kdtui.workflows.training.watch import Watch

        watch = Watch(self._training.name)

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.finish_jobs import finish_job
            from kdtui.workflows.training.jobs import StatusSeen
            from kdtui.workflows.training.outcomes import conclude
            from store.default_adapters import default_adapters

            for event in watch.events(db):
                if not isinstance(event, StatusSeen):
                    yield event
                    continue
                row = finish_job(db, watch.name)
                yield seen(row, default_adapters(db))
                if row.job.outcome is None and conclude(db, row) is not None:
                    yield seen(finish_job(db, watch.name), default_adapters(db))

        self._watch = watch
        self._following = Asking(f"following {watch.name}", self.database, work, self.post_message)
        self.kdtui.begin(self._following)

    def look(self) -> None:
        """Look at once how it is."""
        if self._following is not None and self._following.is_running and self._watch is not None:
            self._watch.look()
        else:
            self._follow()

    @property
    def name_of_training(self) -> str:
        """Which training it is."""
        return self._training.name

    @property
    def training(self) -> Training | None:
        """The one that is followed."""
        return self._training

    def have_done(
        self,
        doing: str,
        work: "Callable[[Database], Iterator[object]]",
        *,
        training: str | None = None,
        stops: bool = False,
    ) -> None:
        """Have something done in the background."""
        self._jobs.have_done(doing, work, training=training, stops=stops)

    def is_stopping(self, name: str) -> bool:
        """Whether it was told to stop from here, and has not stopped yet."""
        return self._jobs.is_stopping(name)

    def doing_with(self, name: str) -> str | None:
        """What is being done with a training at the moment."""
        return self._jobs.doing_with(name)

    def on_happened(self, message: Happened) -> None:
        """Show how it is, and what has been read of its log."""
        from kdtui.workflows.training.follow_on_host import ConnectionLost
        from kdtui.workflows.training.watch import LogRead, TextFound

        match message.event:
            case Training() as training:
                self._training = training
                # A host that was lost answers again.
                self._problem = ""
                self._show()
                self.show_availability()
            case LogRead(offset, data, size):
                self.query_one(LogView).put(offset, data, size)
            case TextFound(search, found):
                self.query_one(LogView).show_found(search, found)
            case ConnectionLost(problem):
                self._problem = problem
                self._show()

    def on_ended(self, message: Ended) -> None:
        """It cannot be followed any more, unless that was meant."""
        if message.activity is self._following and not message.activity.is_cancelled and message.problem is not None:
            self._problem = message.problem
            self._show()
            self.say(message.problem, details=message.details)

    @on(LogView.FindWanted)
    def find(self, event: LogView.FindWanted) -> None:
        """Have a text looked for in the log."""
        if self._watch is not None:
            self._watch.find(event.search)

    @on(LogView.PartsWanted)
    def read(self, event: LogView.PartsWanted) -> None:
        """Have what comes into sight of the log read."""
        if self._watch is not None:
            self._watch.want(event.parts)

    def _show(self) -> None:
        text = Text().append(f"{one_line(self._training.name, 60)} ", style="bold")
        text.append_text(training_details(self._training))
        if self._problem:
            text.append("\n✗ ", style="bold")
            text.append(f"{one_line(self._problem, 300)}; trying again")
        self.show_text("#title", text)
        show_loss(self.query_one("#loss", Curve), self._training.status)
        show_quality(self.query_one("#quality", Curve), self._training.status)
        self.query_one("#curves").display = self._with_plots and self._has_plots

    @property
    def _has_plots(self) -> bool:
        return any(curve.display for curve in self.query(Curve))

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        if action == "plots" and not self._has_plots:
            return "there is nothing to plot yet"
        return super().why_not(action)

    def action_back(self) -> None:
        """Go back to the list."""
        self.dismiss(None)

    def finder(self) -> Finder:
        """The log."""
        return LogFinder(self.query_one(LogView))

    def action_plots(self) -> None:
        """Show the plots, or give their room to the log."""
        self._with_plots = not self._with_plots
        self._show()

    def action_reload(self) -> None:
        """Look at once how it is."""
        self.look()
