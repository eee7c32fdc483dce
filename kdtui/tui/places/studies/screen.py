"""The place Studies: the list of studies, and the questions of the selected one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.widgets import Static

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.studies.actions import StudyActions, StudyDeleted
from kdtui.tui.places.studies.form import StudyForm, StudyOptions, StudyRequest, study_options
from kdtui.tui.places.studies.rows import COLUMNS, spec_text, study_table_row
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.steady import Pane
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.workflows.studies.overview import StudyRow
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StudyListing:
    """The studies, and the questions of each as text."""

    rows: "list[StudyRow]"
    specs: dict[str, Text]
    datasets: list[str]
    named_database: Path | None


class StudiesFound(Message):
    """The studies were read from the store."""

    def __init__(self, listing: StudyListing) -> None:
        super().__init__()
        self.listing = listing


class StudyOptionsFound(Message):
    """The options of a new study were read."""

    def __init__(self, options: StudyOptions) -> None:
        super().__init__()
        self.options = options


class StudiesScreen(StudyActions):
    """All studies, and the questions of the selected one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("studies", "study", "rows", "screen")
    AUTO_FOCUS = "#studies"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._listing: StudyListing | None = None
        self._problem = ""
        # The name of the study that another place wants to open.
        self._requested: str | None = None

    def compose(self) -> ComposeResult:
        yield TopBar("studies")
        with Container(id="halves"):
            yield RowTable(COLUMNS, id="studies")
            yield Pane(id="about")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Say that the studies are being read."""
        self.show_content(self.query_one("#halves"), unless="Looking for studies…", focus=self.query_one(RowTable))

    def on_screen_resume(self) -> None:
        """Load the studies again when the user returns."""
        if self._listing is not None:
            self.load()

    def on_row_wanted(self, message: RowWanted) -> None:
        """Open a study that another place wants to show, as soon as it is loaded."""
        self._requested = message.key
        self.load()

    def read(self) -> None:
        def look_up(db: "Database") -> StudyListing:
            # Opening a study needs this module; importing it in this thread keeps the screen responsive.
            import kdtui.tui.places.studies.study_screen  # noqa: F401
            from kdtui.errors import KdtuiError
            from kdtui.workflows.studies.overview import study_rows
            from kdtui.workflows.studies.spec_files import parsed_spec
            from store.datasets import dataset_names
            from store.studies import list_studies

            specs = {}
            for study in list_studies(db):
                try:
                    specs[study.name] = spec_text(parsed_spec(study.spec, f"study {study.name}"))
                except KdtuiError as problem:
                    specs[study.name] = Text(one_line(str(problem)))
            return StudyListing(study_rows(db)[::-1], specs, dataset_names(db), named_database(self.database))

        self.ask(look_up, StudiesFound, group="studies")

    def on_studies_found(self, message: StudiesFound) -> None:
        """Show the studies, newest first."""
        self._listing, self._problem = message.listing, ""
        self._show()
        requested, self._requested = self._requested, None
        names = [row.name for row in message.listing.rows]
        if requested in names:
            self.query_one(RowTable).move_to(names.index(requested))
            if self.is_current:
                self.open_study()
        elif requested is not None:
            self.say(f"there is no study {requested!r} any more")

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if nothing else is shown."""
        self._problem = message.sentence
        if self._listing is None:
            self._show()

    # The list

    def show_loaded(self) -> None:
        if self._listing is not None:
            self._show()

    def _show(self) -> None:
        table = self.query_one(RowTable)
        studies = [] if self._listing is None else self._listing.rows
        rows = [study_table_row(study, self.study_run) for study in studies]
        table.show_rows(rows, keep=True)
        self.show_content(self.query_one("#halves"), unless=self._notice(), focus=table)
        self.show_selection()
        self.show_availability()

    def _notice(self) -> str:
        """Return the sentence to show in place of an empty list; empty if there are studies."""
        listing = self._listing
        if listing is None:
            return one_line(self._problem)
        if listing.rows:
            return ""
        if not listing.datasets:
            return self.first_steps(listing.named_database)
        [dataset, *_] = self.datasets_to_begin_with(listing.datasets)
        command = command_line(("study", "run"), "rq3", {"--dataset": dataset}, database=listing.named_database)
        return (
            f"There is no study yet. Press {self.kdtui.key_of('studies.new')} to plan one, and to see what it takes "
            f"before it begins, or in a shell:\n\n    {one_line(command)}\n\n{self.look_again()}"
        )

    @property
    def study(self) -> "StudyRow | None":
        """The study under the cursor."""
        key = self.query_one(RowTable).cursor_key
        rows = [] if self._listing is None else self._listing.rows
        return next((row for row in rows if row.name == key), None)

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The datasets of the study under the cursor."""
        return () if self.study is None else self.study.datasets

    @on(RowTable.RowHighlighted, "#studies")
    def show_selection(self) -> None:
        """Show the questions of the selected study, and its command."""
        study, listing = self.study, self._listing
        about = Text()
        if study is not None and listing is not None:
            about.append(f"{one_line(study.name, 200)}\n", style="bold")
            if study.problem is not None:
                about.append(f"! {one_line(study.problem, 600)}\n")
            if self.is_run_here and self.study_run is not None:
                for line in (self.study_run.state, *self.study_run.current_steps):
                    about.append(f"▶ {one_line(line, 300)}\n")
            about.append_text(listing.specs.get(study.name, Text()))
        self.query_one("#about", Pane).show(about)
        words = ("study", "ls") if study is None else ("study", "show")
        named = None if listing is None else listing.named_database
        has_rows = listing is not None and bool(listing.rows)
        name = None if study is None else study.name
        self.show_command(command_line(words, name, database=named) if has_rows else "")
        self.show_availability()

    @on(RowTable.RowSelected, "#studies")
    def open_study(self) -> None:
        """Show the study as a matrix."""
        if self.study is None:
            return
        from kdtui.tui.places.studies.study_screen import StudyScreen

        self.app.push_screen(StudyScreen(self.database, self.study.name))

    # A new one

    def action_new(self) -> None:
        """Read the options of a new study; the form follows."""
        self.ask(lambda db: study_options(db, self.database), StudyOptionsFound, group="offer")

    def on_study_options_found(self, message: StudyOptionsFound) -> None:
        """Ask for the new study."""
        if not self.is_current:
            return
        memory = self.remembered("studies")
        datasets = self.datasets_to_begin_with(message.options.datasets)
        form = StudyForm(message.options, datasets, memory.get("form"), self.database)

        def prepare(request: StudyRequest | None) -> None:
            if request is not None:
                memory["form"] = request.to_memory()
                self.prepare(
                    request.spec,
                    request.source,
                    command_of=lambda replace: request.command(message.options.named_database, replace=replace),
                )

        self.app.push_screen(FormDialog(form), prepare)

    def on_study_deleted(self, message: StudyDeleted) -> None:
        """Report the deletion, and load the studies again."""
        self.say(message.sentence, error=False)
        self.load()

    def why_not(self, action: str) -> str | None:
        if action == "new":
            if self._listing is None:
                return "the store is still being read"
            if not self._listing.datasets:
                return self.no_dataset
            if self.study_run is not None:
                stops = self.kdtui.key_of("study.cancel")
                return f"study {self.study_run.study} is running; {stops} stops it, and one runs at a time"
        return super().why_not(action)
