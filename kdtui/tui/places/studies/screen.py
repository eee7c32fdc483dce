"""Studies: grids of students that are planned, run, paused and looked at."""

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
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_version import store_version
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.studies.actions import StudyActions, StudyDeleted
from kdtui.tui.places.studies.form import Offer, StudyForm, offer
from kdtui.tui.places.studies.rows import COLUMNS, row_of, spec_text
from kdtui.tui.places.studies.study_run import StudyRun
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.steady import Pane
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.workflows.studies.overview import StudyRow
    from store.sqlite import Database

_TICK = 1.0
"""Seconds between two looks whether another process has changed the store."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The studies, and what each asks, where that can be read."""

    rows: "list[StudyRow]"
    specs: dict[str, Text]
    datasets: list[str]
    named_database: Path | None


class StudiesFound(Message):
    """The studies have come from the store."""

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self.listing = listing


class OfferFound(Message):
    """What a study can be made of."""

    def __init__(self, found: Offer) -> None:
        super().__init__()
        self.found = found


class StudiesScreen(StudyActions):
    """All studies, and what the one under the cursor asks."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("studies", "study", "rows", "screen")
    AUTO_FOCUS = "#studies"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._listing: Listing | None = None
        self._problem = ""
        self._seen: tuple[object, ...] = ()
        self._changes = 0
        # The study that another place has asked to be opened.
        self._wanted: str | None = None

    def compose(self) -> ComposeResult:
        """The list, and what the study under the cursor is about."""
        yield TopBar("studies")
        with Container(id="halves"):
            yield RowTable(COLUMNS, id="studies")
            yield Pane(id="about")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Load the studies after the first paint, and again when the store has changed."""
        self.show_content(self.query_one("#halves"), unless="Looking for studies…", focus=self.query_one(RowTable))
        self.call_after_refresh(self.look)
        self.set_interval(_TICK, self._tick)

    def on_screen_resume(self) -> None:
        """Look again when the place is come back to."""
        if self._listing is not None:
            self.look()

    def on_row_wanted(self, message: RowWanted) -> None:
        """Open a study as soon as it is known."""
        self._wanted = message.key
        self.look()

    def see_other_data(self) -> None:
        """Look again."""
        self.look()

    def action_reload(self) -> None:
        """Look again."""
        self.look()

    def _tick(self) -> None:
        # What is run here tells by itself.
        if self.is_current and self.work is None and store_version(self.database) != self._seen:
            self.look()

    def look(self) -> None:
        """Look for the studies."""
        self._seen = store_version(self.database)

        def question(db: "Database") -> Listing:
            # What opening one needs: no screen waits for its import.
            import kdtui.tui.places.studies.study  # noqa: F401
            from kdtui.errors import KdtuiError
            from kdtui.workflows.studies.overview import study_rows
            from kdtui.workflows.studies.spec import parsed
            from store.datasets import dataset_names
            from store.studies import list_studies

            specs = {}
            for study in list_studies(db):
                try:
                    specs[study.name] = spec_text(parsed(study.spec, f"study {study.name}"))
                except KdtuiError as problem:
                    specs[study.name] = Text(one_line(str(problem)))
            return Listing(study_rows(db)[::-1], specs, dataset_names(db), named_database(self.database))

        self.ask(question, StudiesFound, group="studies")

    def on_studies_found(self, message: StudiesFound) -> None:
        """Show the studies, the newest first."""
        self._listing, self._problem = message.listing, ""
        self._show()
        wanted, self._wanted = self._wanted, None
        names = [row.name for row in message.listing.rows]
        if wanted in names:
            self.query_one(RowTable).move_to(names.index(wanted))
            if self.is_current:
                self.open_study()
        elif wanted is not None:
            self.say(f"there is no study {wanted!r} any more")

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        self._problem = message.sentence
        if self._listing is None:
            self._show()

    # How it is shown

    def show_work(self, work: StudyRun) -> None:
        """Show how far the study is that is run here."""
        if work.is_over or work.changes != self._changes:
            self._changes = work.changes
            self.look()
        elif self._listing is not None:
            self._show()

    def _show(self) -> None:
        table = self.query_one(RowTable)
        rows = [] if self._listing is None else [row_of(study, self.work) for study in self._listing.rows]
        table.show_rows(rows, keep=True)
        self.show_content(self.query_one("#halves"), unless=self._notice(), focus=table)
        self.show_selection()
        self.show_availability()

    def _notice(self) -> str:
        """What to say in place of the list; nothing where there are studies."""
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
        """Show what the study under the cursor asks, and its command."""
        study, listing = self.study, self._listing
        about = Text()
        if study is not None and listing is not None:
            about.append(f"{one_line(study.name, 200)}\n", style="bold")
            if study.problem is not None:
                about.append(f"! {one_line(study.problem, 600)}\n")
            if self.is_run_here and self.work is not None:
                for line in (self.work.state, *self.work.under_way):
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
        from kdtui.tui.places.studies.study import StudyScreen

        self.app.push_screen(StudyScreen(self.database, self.study.name))

    # A new one

    def action_new(self) -> None:
        """Look for what a study can be made of; the form follows."""
        self.ask(lambda db: offer(db, self.database), OfferFound, group="offer")

    def on_offer_found(self, message: OfferFound) -> None:
        """Ask what is to be studied."""
        if not self.is_current:
            return
        memory = self.remembered("studies")
        datasets = self.datasets_to_begin_with(message.found.datasets)
        form = StudyForm(message.found, datasets, memory.get("form"), self.database)

        def then(values: dict[str, str] | None) -> None:
            if values is not None:
                # A name is of one study.
                memory["form"] = {**values, "name": ""}
                self.prepare(
                    lambda db: form.spec(values, db),
                    form.source(values),
                    command_of=lambda replace: form.command(values, replace=replace),
                )

        self.app.push_screen(form.dialog(), then)

    def on_study_deleted(self, message: StudyDeleted) -> None:
        """Say so, and look again."""
        self.say(f"study {message.name} is deleted", error=False)
        self.look()

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        if action == "new":
            if self._listing is None:
                return "the store is still being read"
            if not self._listing.datasets:
                return self.no_dataset
            if self.work is not None:
                stops = self.kdtui.key_of("study.cancel")
                return f"study {self.work.study} is at work; {stops} stops it, and one runs at a time"
        return super().why_not(action)
