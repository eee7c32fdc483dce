"""Samples: named subsets of knowledge, what is in them, and what two of them have in common."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from kdtui.text import counted, one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.samples.form import SampleForm
from kdtui.tui.places.samples.overlap import shared_in_full
from kdtui.tui.places.samples.panel import SamplePanel
from kdtui.tui.places.samples.rows import COLUMNS, named_by, row_of
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Row
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.knowledge.query import quoted

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.sample import Overlap, SampleShape
    from store.samples import Sample, SampledPiece, SampleUses
    from store.sqlite import Database

_PAUSE = 0.05
"""Seconds that the cursor has to rest on a sample before it is looked into."""

_SHOWN = 1000
"""Shared pieces that are listed; `kdtui sample compare --shared` lists them all."""

_NOTHING_TO_DRAW_FROM = "there is no knowledge to draw from"


@dataclass(frozen=True, slots=True)
class Listing:
    """The samples, and what the store has to draw some from; `drawn_from` is a dataset with knowledge."""

    samples: "list[Sample]"
    datasets: list[str]
    drawn_from: str | None
    named_database: Path | None


class SamplesFound(Message):
    """The samples have come from the store."""

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self.listing = listing


class FormatsCounted(Message):
    """How many pieces of each format a sample has."""

    def __init__(self, counted: "tuple[Sample, dict[str, int]]") -> None:
        super().__init__()
        self.sample, self.formats = counted


class ShapeFound(Message):
    """What is in a sample, and what names it."""

    def __init__(self, found: "tuple[Sample, SampleShape, SampleUses]") -> None:
        super().__init__()
        self.sample, self.shape, self.uses = found


class OverlapFound(Message):
    """How much two samples have in common."""

    def __init__(self, pair: tuple[str, str], found: "Overlap") -> None:
        super().__init__()
        self.pair, self.found = pair, found


class SharedFound(Message):
    """The pieces that two samples have in common."""

    def __init__(self, pair: tuple[str, str], pieces: "list[SampledPiece]", found: "Overlap") -> None:
        super().__init__()
        self.pair, self.pieces, self.found = pair, pieces, found


class SourcesFound(Message):
    """What samples can be drawn from: for each dataset the number of pieces of each format."""

    def __init__(self, kept: dict[str, dict[str, int]]) -> None:
        super().__init__()
        self.kept = kept


class UsesFound(Message):
    """What names a sample that is to be deleted."""

    def __init__(self, name: str, uses: "SampleUses") -> None:
        super().__init__()
        self.name, self.uses = name, uses


class Deleted(Message):
    """A sample has been deleted."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class SamplesScreen(StoreScreen[None]):
    """All samples, and beside them what is in the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("samples", "rows", "screen")
    AUTO_FOCUS = "#samples"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._listing = Listing([], [], drawn_from=None, named_database=None)
        self._formats: dict[Sample, dict[str, int]] = {}
        self._shapes: dict[Sample, tuple[SampleShape, SampleUses]] = {}
        self._overlaps: dict[tuple[str, str], Overlap] = {}
        # The one that was marked last is the last.
        self._marks: list[str] = []
        self._drawing: str | None = None
        self._wanted: object = None
        # The sample that another place has asked for.
        self._asked_for: str | None = None

    def compose(self) -> ComposeResult:
        """The list, a sample in full, and what to say when there is none."""
        yield TopBar("samples")
        with Container(id="halves"):
            yield RowTable(COLUMNS, id="samples")
            with VerticalScroll(id="inside"):
                yield SamplePanel(id="shape")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Nothing is there to be shown yet."""
        self._show_notice("Looking for samples…")
        self._wanted = self.remembered("samples").get("sample")

    def on_screen_resume(self) -> None:
        """Look for samples, after the first paint, and again for those that were made elsewhere meanwhile."""
        self.call_after_refresh(self._load)

    def on_resize(self) -> None:
        """Draw what is in the sample in the room that there is now."""
        self.call_after_refresh(self._show_inside)

    def action_reload(self) -> None:
        """Look again, and count again."""
        self._formats.clear()
        self._shapes.clear()
        self._overlaps.clear()
        self._load()

    def on_row_wanted(self, message: RowWanted) -> None:
        """Go to a sample."""
        self._asked_for = message.key
        self._load()

    def see_other_data(self) -> None:
        """Look again."""
        self._load()

    # The list

    def _load(self) -> None:
        def question(db: "Database") -> Listing:
            from store.datasets import dataset_names
            from store.samples import dataset_to_draw_from, list_samples

            named = named_database(self.database)
            return Listing(list_samples(db), dataset_names(db), dataset_to_draw_from(db), named)

        self.ask(question, SamplesFound, group="samples")

    def on_samples_found(self, message: SamplesFound) -> None:
        """Show them, and have counted what has not been counted yet."""
        self._listing = message.listing
        there = {sample.name for sample in self._listing.samples}
        self._marks = [name for name in self._marks if name in there]
        asked_for, self._asked_for = self._asked_for, None
        if asked_for in there:
            self._wanted = asked_for
        elif asked_for is not None:
            self.say(f"there is no sample {asked_for!r} any more")
        if not there:
            self._show_notice(self._first_steps())
            return
        self.show_content(self.query_one("#halves"), unless="", focus=self._table)
        self._table.show_rows(map(self._row, self._listing.samples), keep=True)
        self._table.show_marks(self._marks)
        self._go_to(self._wanted)
        self._wanted = None
        self._show_inside()
        self._count_formats()
        self.refresh_bindings()

    def _first_steps(self) -> str:
        listing = self._listing
        named, datasets = listing.named_database, listing.datasets

        def which(dataset: str) -> dict[str, str | None]:
            # Where there are several, a command has to say which.
            return {"--dataset": dataset if len(datasets) > 1 else None}

        if listing.drawn_from is not None:
            options = {**which(listing.drawn_from), "--ratio": "0.5"}
            create = command_line(("sample", "create"), "NAME", options, database=named)
            return (
                "There is no sample yet. A sample is a named share of the knowledge, to show to a student or to train "
                f"on.\n\nPress {self.kdtui.key_of('samples.create')} to draw one, or in a shell:\n\n    "
                + one_line(create)
            )
        if datasets:
            [dataset, *_] = self.datasets_to_begin_with(datasets)
            mine = command_line(("knowledge", "mine"), options=which(dataset), database=named)
            return (
                "There is no knowledge yet that a sample could be drawn from. Mine patterns of a dataset, in a "
                f"shell:\n\n    {one_line(mine)}\n\nor have a teacher asked in the place Distill. {self.look_again()}"
            )
        return self.first_steps(named)

    def _show_notice(self, sentence: str) -> None:
        """Show a sentence in place of the list. It must be fit to be shown."""
        self.show_content(self.query_one("#halves"), unless=sentence, focus=self._table)
        self._table.show_rows(())
        self.show_command("")
        self.refresh_bindings()

    def _row(self, sample: "Sample") -> Row:
        return row_of(sample, self._formats.get(sample))

    def _count_formats(self) -> None:
        """Count, one sample after the other, since large ones take a second."""
        missing = [sample for sample in self._listing.samples if sample not in self._formats]
        if not missing:
            return
        sample = missing[0]

        def question(db: "Database") -> "tuple[Sample, dict[str, int]]":
            from store.errors import NotFound
            from store.samples import count_formats

            try:
                return sample, count_formats(db, sample.name)
            except NotFound:
                # Deleted by another program: the next look at the list will not find it.
                return sample, {}

        self.ask(question, FormatsCounted, group="formats")

    def on_formats_counted(self, message: FormatsCounted) -> None:
        """Show them in the list."""
        self._formats[message.sample] = message.formats
        for number, sample in enumerate(self._listing.samples):
            if sample == message.sample:
                self._table.put_row(number, self._row(sample))
        self._count_formats()

    @property
    def _table(self) -> RowTable:
        return self.query_one("#samples", RowTable)

    @property
    def _chosen(self) -> "Sample | None":
        """The sample under the cursor."""
        key = self._table.cursor_key
        return next((sample for sample in self._listing.samples if sample.name == key), None)

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The datasets that the sample under the cursor was drawn from."""
        sample = self._chosen
        return () if sample is None else list(dict.fromkeys(draw.dataset for draw in sample.draws))

    @property
    def _pair(self) -> tuple[str, str] | None:
        """The two samples that are marked."""
        return (self._marks[0], self._marks[1]) if len(self._marks) == 2 else None

    def _go_to(self, name: object) -> None:
        for number, sample in enumerate(self._listing.samples):
            if sample.name == name:
                self._table.move_to(number)

    # What is in one, and what two have in common

    @on(RowTable.RowHighlighted, "#samples")
    def look_inside(self, event: RowTable.RowHighlighted) -> None:
        """Show what is in the sample under the cursor."""
        self.remembered("samples")["sample"] = event.key
        self.query_one("#inside").scroll_home(animate=False)
        self._show_inside()

    def _show_inside(self) -> None:
        """Show what is known, and have found out what is not."""
        sample = self._chosen
        if sample is None:
            return
        if sample not in self._shapes:

            def question(db: "Database") -> "tuple[Sample, SampleShape, SampleUses]":
                from kdtui.workflows.knowledge.sample import sample_shape
                from store.samples import uses_of

                return sample, sample_shape(db, sample.name), uses_of(db, sample.name)

            self.ask(question, ShapeFound, group="shape", after=_PAUSE)
        pair = self._pair
        if pair is not None and pair not in self._overlaps:

            def compare(db: "Database") -> "Overlap":
                from kdtui.workflows.knowledge.sample import overlap

                return overlap(db, *pair)

            self.ask(compare, partial(OverlapFound, pair), group="overlap")
        self._draw(sample)
        self._show_command()

    def on_shape_found(self, message: ShapeFound) -> None:
        """Show it, if the cursor is still there."""
        self._shapes[message.sample] = (message.shape, message.uses)
        if message.sample == self._chosen:
            self._draw(message.sample)

    def on_overlap_found(self, message: OverlapFound) -> None:
        """Show it, if the two are still marked."""
        self._overlaps[message.pair] = message.found
        if message.pair == self._pair and (sample := self._chosen) is not None:
            self._draw(sample)

    def _draw(self, sample: "Sample") -> None:
        pair = self._pair
        self.query_one(SamplePanel).show(
            sample,
            self._shapes.get(sample),
            compared=None if pair is None else (pair, self._overlaps.get(pair)),
            # Beside one another there is room for all three below a short list; a tall column has it by itself.
            abreast=self.has_class("-narrow"),
        )

    def _show_command(self) -> None:
        named = self._listing.named_database
        if (pair := self._pair) is not None:
            self.show_command(command_line(("sample", "compare"), pair, database=named))
        elif (sample := self._chosen) is not None:
            self.show_command(command_line(("sample", "show"), sample.name, database=named))

    def action_mark(self) -> None:
        """Mark the sample for a comparison, or not any more; a third one takes the place of the first."""
        sample = self._chosen
        assert sample is not None
        if sample.name in self._marks:
            self._marks.remove(sample.name)
        else:
            self._marks = [*self._marks[-1:], sample.name]
        self._table.show_marks(self._marks)
        self._show_inside()
        self.refresh_bindings()

    def action_overlap(self) -> None:
        """Show what the two marked samples have in common, with the pieces."""
        pair = self._pair
        assert pair is not None

        def question(db: "Database") -> "tuple[list[SampledPiece], Overlap]":
            from kdtui.workflows.knowledge.sample import overlap
            from store.samples import shared_pieces

            return list(shared_pieces(db, *pair, limit=_SHOWN)), overlap(db, *pair)

        self.ask(question, lambda answer: SharedFound(pair, *answer), group="shared")

    def on_shared_found(self, message: SharedFound) -> None:
        """Show it over the list."""
        one, other = message.pair
        content = shared_in_full(message.pair, message.found, message.pieces)
        copies = "\n".join(f"{piece.number}\t{one_line(piece.statement)}" for piece in message.pieces)
        self.app.push_screen(TextDialog(f"{one} and {other}", content, copies=copies))

    # What can be done with them

    @on(RowTable.RowSelected, "#samples")
    def action_pieces(self) -> None:
        """Show the pieces of the sample where all knowledge is."""
        sample = self._chosen
        assert sample is not None
        self.kdtui.show_knowledge(f"sample:{quoted(sample.name)}")

    def action_create(self) -> None:
        """Ask what to draw, once it is known what there is to draw from."""

        def question(db: "Database") -> dict[str, dict[str, int]]:
            from store.samples import count_kept

            return count_kept(db)

        self.ask(question, SourcesFound, group="sources")

    def on_sources_found(self, message: SourcesFound) -> None:
        """Show the form."""
        if not message.kept:
            # All of it was deleted after this place last looked.
            self.say(_NOTHING_TO_DRAW_FROM)
            self._load()
            return
        taken = [sample.name for sample in self._listing.samples]
        datasets = self.datasets_to_begin_with(list(message.kept))
        form = SampleForm(message.kept, datasets, taken, self._listing.named_database)

        def draw(values: dict[str, str] | None) -> None:
            if values is not None:
                self._create(form.name_of(values), form.drawing(values))

        self.app.push_screen(form.dialog(), draw)

    def _create(self, name: str, draw: "Callable[[Database], Iterator[int]]") -> None:
        self._drawing = name
        self.refresh_bindings()
        work = Activity(f"drawing sample {name}", self.database, draw, self.post_message)
        self.kdtui.begin(work)

    def on_happened(self, message: Happened) -> None:
        """Say that the sample is drawn, and show it."""
        assert isinstance(message.event, int)
        self.say(f"sample {self._drawing} has {counted(message.event, 'piece')} of knowledge", error=False)
        self._wanted = self._drawing

    def on_ended(self, message: Ended) -> None:
        """Say why there is no sample, if there is none."""
        name, self._drawing = self._drawing, None
        if message.problem is not None:
            self.say(f"sample {name} cannot be drawn: {message.problem}", details=message.details)
        self.refresh_bindings()
        self._load()

    def action_delete(self) -> None:
        """Ask whether to, once it is known what names the sample."""
        sample = self._chosen
        assert sample is not None

        def question(db: "Database") -> "SampleUses":
            from store.samples import uses_of

            return uses_of(db, sample.name)

        self.ask(question, partial(UsesFound, sample.name), group="uses")

    def on_uses_found(self, message: UsesFound) -> None:
        """Ask."""
        lost = "How it was drawn is forgotten; its pieces stay."
        if users := named_by(message.uses):
            lost += f" It is named by {users}: what they found stays, but they cannot be done again in the same way."

        def answer(yes: bool | None) -> None:
            if yes:
                self.ask(partial(_delete, message.name), Deleted, group="delete")

        command = command_line(("sample", "rm"), message.name, database=self._listing.named_database)
        self.app.push_screen(ConfirmDialog(f"Delete sample {message.name}?", lost, "Delete it", command), answer)

    def on_deleted(self, message: Deleted) -> None:
        """Show what is left."""
        self.say(f"sample {message.name} is deleted", error=False)
        self._load()

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        if not self._table.row_count:
            self._show_notice(one_line(message.sentence))

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        if action == "create" and self._drawing is not None:
            return f"sample {self._drawing} is being drawn"
        if action == "create" and self._listing.drawn_from is None:
            return _NOTHING_TO_DRAW_FROM
        if action in ("mark", "pieces", "delete") and not self._listing.samples:
            return "there is no sample"
        if action == "overlap" and self._pair is None:
            return f"mark two samples first, with {self.kdtui.key_of('samples.mark')}"
        return super().why_not(action)


def _delete(name: str, db: "Database") -> str:
    from store.samples import delete_sample

    delete_sample(db, name)
    return name
