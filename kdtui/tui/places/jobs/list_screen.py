"""The lists of trainings and hosts, and details of the selected one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Static

from kdtui.text import one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.jobs import host_rows, training_rows
from kdtui.tui.places.jobs.background_work import BackgroundWork
from kdtui.tui.places.jobs.curves import show_loss, show_quality
from kdtui.tui.places.jobs.host_rows import HostHealth, host_row
from kdtui.tui.places.jobs.training_actions import TrainingActions
from kdtui.tui.places.jobs.training_rows import TrainingTable, training_row
from kdtui.tui.places.jobs.training_snapshot import TrainingSnapshot, read_training
from kdtui.tui.places.jobs.training_text import training_details
from kdtui.tui.widgets.curve import Curve
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Row
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from store.hosts import Host
    from store.sqlite import Database

_MOST_HOSTS = 6
"""Most hosts that are visible at once."""


@dataclass(frozen=True, slots=True)
class JobsOverview:
    """The trainings and hosts that the store and the folders of trainings have.

    Attributes:
        named_database: the path by which a command names the store, or None for the default.
        is_ready: whether the adapters of finished trainings were made ready for use.
    """

    trainings: tuple[TrainingSnapshot, ...]
    hosts: "tuple[Host, ...]"
    has_dataset: bool
    named_database: Path | None
    is_ready: bool


def read_overview(db: "Database", database: Path, *, is_ready: bool) -> JobsOverview:
    """Read the trainings and hosts; for worker threads.

    Args:
        is_ready: whether to make the adapters of finished trainings ready for use, which takes longer.
    """
    from kdtui.workflows.finish_jobs import finish_jobs
    from kdtui.workflows.job_state import known_trainings
    from store.datasets import dataset_names
    from store.default_adapters import default_adapters
    from store.hosts import list_hosts

    trainings = finish_jobs(db) if is_ready else known_trainings(db)
    defaults = default_adapters(db)
    return JobsOverview(
        tuple(read_training(training, defaults) for training in trainings),
        tuple(list_hosts(db)),
        bool(dataset_names(db)),
        named_database(database),
        is_ready,
    )


class JobListScreen(TrainingActions):
    """All trainings and hosts.

    Attributes:
        overview: the trainings and hosts; None before they are read.
        trainings: the trainings by name.
        health: the health of hosts by name.
        works: the work in the background.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self.overview: JobsOverview | None = None
        self.trainings: dict[str, TrainingSnapshot] = {}
        self.health: dict[str, HostHealth] = {}
        self.works = BackgroundWork()
        self._rows: dict[RowTable, list[Row]] = {}

    def compose(self) -> ComposeResult:
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

    # The lists

    def show_overview(self, overview: JobsOverview) -> None:
        """Show the trainings and hosts."""
        self.overview = overview
        self.trainings = {training.name: training for training in overview.trainings}
        self.health = {host.name: self.health.get(host.name, HostHealth()) for host in overview.hosts}
        self._show_trainings(overview)
        self.show_hosts()
        self.show_details()
        self.show_availability()

    def _show_trainings(self, overview: JobsOverview) -> None:
        table = self.query_one("#jobs", RowTable)
        self._put_rows(table, [training_row(each) for each in overview.trainings])
        self.show_content(table, unless="" if overview.trainings else self._first_steps(overview), focus=table)

    def _first_steps(self, overview: JobsOverview) -> str:
        named = overview.named_database
        if not overview.has_dataset:
            return self.first_steps(named)
        launch = command_line(("sft", "launch"), None, {"--dataset": "NAME", "--name": "NAME"}, database=named)
        return (
            f"There is no training yet. {self.kdtui.key_of('jobs.new')} starts one; in a shell:\n\n"
            f"    {one_line(launch)}"
        )

    def show_hosts(self) -> None:
        """Show the hosts and their states."""
        assert self.overview is not None
        table, none = self.query_one("#hosts", RowTable), self.query_one("#no-hosts", Static)
        hosts = self.overview.hosts
        table.display, none.display = bool(hosts), not hosts
        # Two more lines for the titles and the border.
        table.styles.height = min(len(hosts), _MOST_HOSTS) + 2
        self._put_rows(table, [host_row(host, self.health[host.name], self._host_state(host.name)) for host in hosts])
        if not hosts:
            add = command_line(("host", "add"), "NAME", {"--ssh": "ALIAS"}, database=self.overview.named_database)
            notice = f"There is no host; trainings run on this machine. {one_line(add)} adds one."
            self.show_text("#no-hosts", Text(notice))

    def _put_rows(self, table: RowTable, rows: list[Row]) -> None:
        """Show rows if they have changed."""
        if self._rows.get(table) != rows:
            self._rows[table] = rows
            table.show_rows(rows, keep=True)

    def _host_state(self, name: str) -> str:
        if (state := self.works.host_state(name)) is not None:
            return state
        jobs = [each.job for each in self.trainings.values() if each.job.host == name]
        return self.health[name].state(job.seen_at for job in jobs if job.seen_at)

    # The selected training or host

    @property
    def training(self) -> TrainingSnapshot | None:
        """The training under the cursor; None while the cursor is on a host."""
        return None if self.is_at_hosts else self.trainings.get(self.query_one("#jobs", RowTable).cursor_key or "")

    @property
    def no_training(self) -> str:
        """Why there is no training to act on."""
        return "the cursor is on a host" if self.is_at_hosts else super().no_training

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The datasets of the training under the cursor."""
        return self.training.job.settings.datasets if self.training is not None else ()

    @property
    def host(self) -> str | None:
        """The host under the cursor."""
        return self.query_one("#hosts", RowTable).cursor_key

    @property
    def is_at_hosts(self) -> bool:
        """Whether the list of hosts has the focus."""
        return self.focused is self.query_one("#hosts")

    @on(RowTable.RowHighlighted)
    def show_selection(self) -> None:
        """Show the details of the row under the cursor, and the actions on it."""
        self.show_details()
        self.show_availability()

    def on_descendant_focus(self) -> None:
        """Show the details of the row under the cursor of the other list, and the actions on it."""
        self.show_details()
        self.show_availability()

    def show_details(self) -> None:
        """Show the details of the selected training or host, and its command."""
        loss, quality = self.query_one("#loss", Curve), self.query_one("#quality", Curve)
        named = self.overview.named_database if self.overview is not None else None
        training, host = self.training, self.host
        if host is not None and training is None:
            heading = Text().append(f"{one_line(host, 100)}\n", style="bold")
            self.show_text("#about", heading.append_text(self.host_details(host)))
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

    def host_details(self, name: str) -> Text:
        """Return what is known of a host, in lines."""
        return host_rows.host_details(self.health[name], self._host_state(name), self.kdtui.key_of("jobs.check"))
