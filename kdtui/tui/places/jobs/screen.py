"""Trainings, and the hosts that they run on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.jobs import host_rows, training_rows
from kdtui.tui.places.jobs.curves import show_loss, show_quality
from kdtui.tui.places.jobs.form import Offer, ToEvaluate, estimated, evaluate, form, offer, prepare_and_start
from kdtui.tui.places.jobs.host_rows import Health
from kdtui.tui.places.jobs.training import (
    Asking,
    Doing,
    Done,
    Training,
    TrainingScreen,
    seen,
    training_details,
)
from kdtui.tui.places.jobs.training_screen import JobScreen
from kdtui.tui.widgets.curve import Curve
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Row
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.workflows.training.hosts import HostFinding
    from store.hosts import Host
    from store.sqlite import Database

_MOST_HOSTS = 6
"""Hosts that are in sight at once."""

_TICK = 1.0
"""Seconds between two looks at the folders of trainings that run here."""

_ASK = 5.0
"""Seconds between two questions to a host on which trainings run."""

_ASK_AGAIN = 30.0
"""The same for one that did not answer."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the store and the folders say.

    Attributes:
        is_ready: whether the adapters of those that are done have been made ready for use.
    """

    trainings: tuple[Training, ...]
    hosts: "tuple[Host, ...]"
    has_dataset: bool
    named_database: Path | None
    is_ready: bool


class OverviewFound(Message):
    """The trainings and hosts as they are known."""

    def __init__(self, found: Overview) -> None:
        super().__init__()
        self.found = found


class TrainingOffered(Message):
    """What a new training can be made of."""

    def __init__(self, found: Offer) -> None:
        super().__init__()
        self.found = found


@dataclass(frozen=True, slots=True)
class _Work:
    """What an activity does: for whom to say it, and with what."""

    doing: str
    training: str | None = None
    asks: str | None = None
    checks: str | None = None
    stops: bool = False


class HostDialog(TextDialog):
    """What a host has and lacks, as it is found out."""

    def __init__(self, host: str, content: Text) -> None:
        super().__init__(f"Host {host}", content, copies=content.plain)
        self.host = host

    def show(self, content: Text) -> None:
        """There is more of it."""
        self._copies = content.plain
        self.query_one("VerticalScroll Static", Static).update(content)


class TrainingTable(RowTable):
    """The list of trainings. What it opens is more than another view of a row, so that the footer names it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("trainings")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there is no training, there is none to open."""
        return super().check_action(action, parameters) if action != "select" or self.row_count else False


class JobsScreen(TrainingScreen):
    """All trainings as they were seen last, which is there at once, and as they are, as soon as that is known."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("jobs", "training", "rows", "screen")
    AUTO_FOCUS = "#jobs"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._overview: Overview | None = None
        self._trainings: dict[str, Training] = {}
        self._health: dict[str, Health] = {}
        self._works: dict[Activity, _Work] = {}
        # What a training was to be that could not be started.
        self._tried: Mapping[str, str] | None = None
        self._rows: dict[RowTable, list[Row]] = {}
        # The training that another place has asked to be opened.
        self._wanted: str | None = None

    def compose(self) -> ComposeResult:
        """The trainings, the hosts, and the one under the cursor."""
        yield TopBar("jobs")
        with Container(id="body"):
            with Vertical(id="lists"):
                yield Static(id="notice", markup=False)
                yield TrainingTable(training_rows.COLUMNS, id="jobs")
                yield RowTable(host_rows.COLUMNS, id="hosts")
                yield Static(id="no-hosts", markup=False)
            with VerticalScroll(id="aside", can_focus=False):
                yield Static(id="about", markup=False)
                yield Curve(id="loss")
                yield Curve(id="quality")
        yield Static(id="doing", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """What is known is shown first; then it is looked after as long as somebody sees it."""
        jobs = self.query_one("#jobs")
        self.show_content(jobs, unless="Looking for trainings…", focus=jobs)
        for id in ("#hosts", "#no-hosts", "#doing"):
            self.query_one(id).display = False
        self._recall()
        self.set_interval(_TICK, self._tick)

    def on_screen_resume(self) -> None:
        """Somebody looks: see how things are."""
        self.call_after_refresh(self._load, is_ready=self._overview is not None)

    def action_reload(self) -> None:
        """Look at the folders, and ask the hosts that have trainings."""
        for health in self._health.values():
            health.next = 0.0
        self._load(is_ready=False)

    def on_row_wanted(self, message: RowWanted) -> None:
        """Open a training as soon as it is known."""
        self._wanted = message.key
        self._load()

    def see_other_data(self) -> None:
        """Look again."""
        self._load()

    # What is known

    def _load(self, *, is_ready: bool = True) -> None:
        def question(db: "Database") -> Overview:
            # What messages are told apart by, and what opening a training needs: no screen waits for their import.
            from kdtui.workflows.job_state import all_jobs, known_jobs
            from store.datasets import dataset_names
            from store.default_adapters import default_adapters
            from store.hosts import list_hosts

            rows = all_jobs(db) if is_ready else known_jobs(db)
            defaults = default_adapters(db)
            return Overview(
                tuple(seen(row, defaults) for row in rows),
                tuple(list_hosts(db)),
                bool(dataset_names(db)),
                named_database(self.database),
                is_ready,
            )

        self.ask(question, OverviewFound, group="overview")

    def on_overview_found(self, message: OverviewFound) -> None:
        """Show it; then make ready what is done, and ask the hosts."""
        found = message.found
        self._overview = found
        self._trainings = {training.name: training for training in found.trainings}
        self._health = {host.name: self._health.get(host.name, Health()) for host in found.hosts}
        self._show_trainings()
        self._show_hosts()
        self._show_detail()
        self.show_availability()
        self._ask_hosts()
        wanted, self._wanted = self._wanted, None
        if wanted in self._trainings:
            self.query_one("#jobs", RowTable).move_to(list(self._trainings).index(wanted))
            if self.is_current:
                self._open(wanted)
        elif wanted is not None:
            self.say(f"there is no training {wanted!r} any more")
        if not found.is_ready:
            self._load()

    def _show_trainings(self) -> None:
        assert self._overview is not None
        table = self.query_one("#jobs", RowTable)
        trainings = self._overview.trainings
        self._put_rows(table, [training_rows.row_of(each) for each in trainings])
        self.show_content(table, unless="" if trainings else self._first_steps(), focus=table)

    def _first_steps(self) -> str:
        assert self._overview is not None
        named = self._overview.named_database
        if not self._overview.has_dataset:
            return self.first_steps(named)
        launch = command_line(("sft", "launch"), None, {"--dataset": "NAME", "--name": "NAME"}, database=named)
        return (
            f"There is no training yet. {self.kdtui.key_of('jobs.new')} starts one; in a shell:\n\n"
            f"    {one_line(launch)}"
        )

    def _show_hosts(self) -> None:
        assert self._overview is not None
        table, none = self.query_one("#hosts", RowTable), self.query_one("#no-hosts", Static)
        hosts = self._overview.hosts
        table.display, none.display = bool(hosts), not hosts
        # Its titles, and the line above them.
        table.styles.height = min(len(hosts), _MOST_HOSTS) + 2
        self._put_rows(
            table, [host_rows.row_of(host, self._health[host.name], self._host_state(host.name)) for host in hosts]
        )
        if not hosts:
            add = command_line(("host", "add"), "NAME", {"--ssh": "ALIAS"}, database=self._overview.named_database)
            self.show_text("#no-hosts", Text(f"There is no host; trainings run here. {one_line(add)} adds one."))

    def _put_rows(self, table: RowTable, rows: list[Row]) -> None:
        """Show rows, if they are others than before."""
        if self._rows.get(table) != rows:
            self._rows[table] = rows
            table.show_rows(rows, keep=True)

    def _host_state(self, name: str) -> str:
        for work in self._works.values():
            if name == work.checks:
                return f"… checking {name}"
            if name == work.asks:
                return f"… asking {name}"
        jobs = [each.job for each in self._trainings.values() if each.job.host == name]
        return self._health[name].state(job.seen_at for job in jobs if job.seen_at)

    # Which one is meant

    @property
    def training(self) -> Training | None:
        """The one under the cursor."""
        return self._trainings.get(self.query_one("#jobs", RowTable).cursor_key or "")

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The datasets of the training under the cursor."""
        return self.training.job.settings.datasets if self.training is not None and not self._is_at_hosts else ()

    @property
    def host(self) -> str | None:
        """The host under the cursor."""
        return self.query_one("#hosts", RowTable).cursor_key

    @property
    def _is_at_hosts(self) -> bool:
        return self.focused is self.query_one("#hosts")

    @on(RowTable.RowHighlighted)
    def look_at_row(self) -> None:
        """Show more of what is under the cursor."""
        self._show_detail()
        self.show_availability()

    def on_descendant_focus(self) -> None:
        """Show more of what is under the cursor there."""
        self._show_detail()

    def _show_detail(self) -> None:
        loss, quality = self.query_one("#loss", Curve), self.query_one("#quality", Curve)
        named = self._overview.named_database if self._overview is not None else None
        training, host = self.training, self.host
        if host is not None and (self._is_at_hosts or training is None):
            heading = Text().append(f"{one_line(host, 100)}\n", style="bold")
            self.show_text("#about", heading.append_text(self._about_host(host)))
            loss.display = quality.display = False
            command = command_line(("host", "check"), host, database=named)
        elif training is not None:
            heading = Text().append(f"{one_line(training.name, 100)}\n", style="bold")
            self.show_text("#about", heading.append_text(training_details(training)))
            show_loss(loss, training.status)
            show_quality(quality, training.status)
            command = command_line(("sft", "show"), training.name, database=named)
        else:
            self.show_text("#about", Text())
            loss.display = quality.display = False
            command = command_line(("sft", "ls"), database=named)
        if command != self.command:
            self.show_command(command)

    def _about_host(self, name: str) -> Text:
        return host_rows.host_details(self._health[name], self._host_state(name), self.kdtui.key_of("jobs.check"))

    # Opening

    @on(RowTable.RowSelected, "#jobs")
    def open_training(self, event: RowTable.RowSelected) -> None:
        """Open a training, with its log and plots."""
        self._open(event.key)

    def _open(self, name: str) -> None:
        training = self._trainings.get(name)
        if training is not None and self._overview is not None:
            self.app.push_screen(JobScreen(self, training, self._overview.named_database))

    @on(RowTable.RowSelected, "#hosts")
    def open_host(self, event: RowTable.RowSelected) -> None:
        """Show what is known of a host."""
        self.app.push_screen(HostDialog(event.key, self._about_host(event.key)))

    def action_new(self) -> None:
        """Ask for what a new training is to be."""
        self.ask(lambda db: offer(db, self.database), TrainingOffered, group="offer")

    def on_training_offered(self, message: TrainingOffered) -> None:
        """Show the form."""

        def started(values: Mapping[str, str] | None) -> None:
            if values is not None:
                self._tried = values
                self.have_done(
                    f"preparing {values['name'].strip()}",
                    lambda db: prepare_and_start(db, self.database, values),
                    training=values["name"].strip(),
                )

        datasets = self.datasets_to_begin_with(message.found.datasets)
        tell = partial(estimated, self.database)
        self.app.push_screen(form(message.found, datasets, self._tried, tell=tell), started)

    def action_check(self) -> None:
        """Check the host under the cursor."""
        name = self.host
        if name is None:
            return
        health = self._health[name]
        health.findings = []

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.training.hosts import check_for
            from models.embedded import NAME

            yield from check_for(db, name, NAME)

        self._begin(_Work(f"checking {name}", checks=name), work)
        if self.has_class("-narrow"):
            self.app.push_screen(HostDialog(name, self._about_host(name)))
        else:
            self.set_focus(self.query_one("#hosts"))

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        match action:
            case "new" if self._overview is None:
                return "the trainings are not read yet"
            case "new" if self._overview is not None and not self._overview.has_dataset:
                return self.no_dataset
            case "check" if self.host is None:
                return "there is no host; kdtui host add NAME --ssh ALIAS adds one"
            case "check" if any(work.checks == self.host for work in self._works.values()):
                return f"host {self.host} is being checked already"
        return super().why_not(action)

    # Work in the background

    def have_done(
        self,
        doing: str,
        work: "Callable[[Database], Iterator[object]]",
        *,
        training: str | None = None,
        stops: bool = False,
    ) -> None:
        """Have something done in the background."""
        self._begin(_Work(doing, training, stops=stops), work)

    def is_stopping(self, name: str) -> bool:
        """Whether a training was told to stop from here, and has not stopped yet."""
        return any(work.stops for work in self._works.values() if work.training == name)

    def doing_with(self, name: str) -> str | None:
        """What is being done with a training at the moment."""
        return next((work.doing for work in self._works.values() if work.training == name), None)

    def _begin(self, work: _Work, do: "Callable[[Database], Iterator[object]]") -> None:
        activity = Asking(work.doing, self.database, do, self.post_message)
        self._works[activity] = work
        self.kdtui.begin(activity)
        self._show_doing()

    def _refresh_host(self, host: str, names: set[str]) -> None:
        """Ask a host about trainings, unless it is being asked."""
        if any(work.asks == host for work in self._works.values()):
            return

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.training.on_host import refresh

            yield from refresh(db, names)

        self._begin(_Work(f"asking {host}", asks=host), work)

    def _tick(self) -> None:
        """Look again at what may have changed by itself, if anybody sees it."""
        if not self.is_current or self._overview is None:
            return
        active = [training for training in self._trainings.values() if training.is_active]
        if any(training.job.host is None for training in active):
            self._load()
        self._ask_hosts()

    def _ask_hosts(self) -> None:
        """Ask each host once about all its trainings, and then about those that may change by themselves."""
        for host, health in self._health.items():
            there = [training for training in self._trainings.values() if training.job.host == host]
            names = {training.name for training in there if training.is_active or not health.next}
            if names and monotonic() >= health.next:
                health.next = monotonic() + _ASK_AGAIN
                self._refresh_host(host, names)

    def on_happened(self, message: Happened) -> None:
        """Something has come a step further."""
        from kdtui.workflows.training.hosts import HostFinding
        from kdtui.workflows.training.on_host import HostSeen

        activity: Any = message.activity
        work = self._works.get(activity)
        match message.event:
            case Doing(sentence) if work is not None:
                self._works[activity] = replace(work, doing=sentence)
                self._show_doing()
            case Done(sentence):
                self.say(sentence, error=False)
            case ToEvaluate(name):
                self._begin(_Work(f"waiting for {name} to be done, to evaluate it"), lambda db: evaluate(db, name))
            case HostSeen(host, problem) if host in self._health:
                health = self._health[host]
                health.next = monotonic() + (_ASK if problem is None else _ASK_AGAIN)
                health.problem, health.reached = problem, problem is None
            case HostFinding() as finding if work is not None and work.checks in self._health:
                self._note(work.checks or "", finding)

    def _note(self, host: str, finding: "HostFinding") -> None:
        self._health[host].note(finding)
        self._remember()
        self._show_host(host)

    def _show_host(self, host: str) -> None:
        self._show_hosts()
        if self._is_at_hosts or self.training is None:
            self._show_detail()
        top = self.app.screen
        if isinstance(top, HostDialog) and top.host == host:
            top.show(self._about_host(host))

    def on_ended(self, message: Ended) -> None:
        """An activity is over: say why, if it could not be done, and see how things are."""
        work = self._works.pop(message.activity, None)
        if work is None:
            return
        is_done = message.problem is None and not message.activity.is_cancelled
        if is_done and self._tried is not None and work.training == self._tried["name"].strip():
            # What could not be started need not be typed again.
            self._tried = None
        if message.problem is not None and not message.activity.is_cancelled:
            if work.checks in self._health:
                self._health[work.checks or ""].problem = message.problem
            if work.asks is None:
                self.say(message.problem, details=message.details)
        self._show_doing()
        if work.checks is not None and work.checks in self._health:
            self._show_host(work.checks)
        self._load()
        if isinstance(top := self.app.screen, JobScreen) and work.training == top.name_of_training:
            top.look()

    def _show_doing(self) -> None:
        # Hosts are asked again and again; that stands in their rows.
        doing = [work.doing for work in self._works.values() if work.asks is None]
        text = one_line(" · ".join(f"… {each}" for each in doing), 400)
        for screen in (self, self.app.screen):
            if isinstance(screen, TrainingScreen):
                screen.show_text("#doing", Text(text))
                screen.query_one("#doing").display = bool(text)
                screen.show_availability()
        if self._overview is not None:
            self._show_hosts()

    # What is remembered

    def _recall(self) -> None:
        self._health = host_rows.from_memory(self.remembered("jobs").get("hosts"))

    def _remember(self) -> None:
        self.remembered("jobs")["hosts"] = host_rows.to_memory(self._health)

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        if self._overview is None:
            self.show_text("#notice", Text(one_line(message.sentence)))
