"""The list of samples, the contents of the selected one, and the overlap of two marked ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from kdtui.text import one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.samples.panel import SamplePanel
from kdtui.tui.places.samples.rows import COLUMNS, sample_row
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Row
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.sample import Overlap, SampleShape
    from store.samples import Sample, SampleUses
    from store.sqlite import Database

_PAUSE = 0.05
"""Seconds that the cursor has to rest on a sample before its contents are counted."""


@dataclass(frozen=True, slots=True)
class SampleListing:
    """The samples of the store, and what new ones can be drawn from.

    Attributes:
        source: a dataset with knowledge; None if there is none.
        named_database: the path by which a command names the store, or None for the default.
    """

    samples: "list[Sample]"
    datasets: list[str]
    source: str | None
    named_database: Path | None


class SamplesFound(Message):
    """The samples were read from the store."""

    def __init__(self, listing: SampleListing) -> None:
        super().__init__()
        self.listing = listing


class FormatsCounted(Message):
    """The pieces of each format in a sample were counted."""

    def __init__(self, sample: "Sample", formats: dict[str, int]) -> None:
        super().__init__()
        self.sample, self.formats = sample, formats


class ShapeFound(Message):
    """The contents and the uses of a sample were read."""

    def __init__(self, sample: "Sample", shape: "SampleShape", uses: "SampleUses") -> None:
        super().__init__()
        self.sample, self.shape, self.uses = sample, shape, uses


class OverlapFound(Message):
    """The overlap of two samples was counted."""

    def __init__(self, pair: tuple[str, str], overlap: "Overlap") -> None:
        super().__init__()
        self.pair, self.overlap = pair, overlap


class SampleListScreen(StoreScreen[None]):
    """All samples, and the contents of the selected one.

    Attributes:
        listing: the samples of the store.
        cursor_target: the name of the sample that the cursor goes to when the list comes.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self.listing = SampleListing([], [], source=None, named_database=None)
        self.cursor_target: object = None
        self._formats: dict[Sample, dict[str, int]] = {}
        self._shapes: dict[Sample, tuple[SampleShape, SampleUses]] = {}
        self._overlaps: dict[tuple[str, str], Overlap] = {}
        # The sample that was marked last is the last.
        self._marks: list[str] = []
        # The name of the sample that another place wants to show.
        self._requested: str | None = None

    def compose(self) -> ComposeResult:
        yield TopBar("samples")
        with Container(id="halves"):
            yield RowTable(COLUMNS, id="samples")
            with VerticalScroll(id="inside"):
                yield SamplePanel(id="shape")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._show_instead("Looking for samples…")
        self.cursor_target = self.remembered("samples").get("sample")

    def on_screen_resume(self) -> None:
        """Load the samples after the first paint, and again whenever the screen is shown."""
        self.call_after_refresh(self.load)

    def on_resize(self) -> None:
        """Draw the contents in the new space."""
        self.call_after_refresh(self._show_contents)

    def action_reload(self) -> None:
        """Load the samples, and count their contents again."""
        self._formats.clear()
        self._shapes.clear()
        self._overlaps.clear()
        self.load()

    def on_row_wanted(self, message: RowWanted) -> None:
        """Move to a sample that another place wants to show."""
        self._requested = message.key
        self.load()

    def see_other_data(self) -> None:
        self.load()

    # The list

    def load(self) -> None:
        """Load the samples."""

        def question(db: "Database") -> SampleListing:
            from store.datasets import dataset_names
            from store.samples import dataset_to_draw_from, list_samples

            named = named_database(self.database)
            return SampleListing(list_samples(db), dataset_names(db), dataset_to_draw_from(db), named)

        self.ask(question, SamplesFound, group="samples")

    def on_samples_found(self, message: SamplesFound) -> None:
        """Show the samples, and count the contents of new ones."""
        self.listing = message.listing
        names = {sample.name for sample in self.listing.samples}
        self._marks = [name for name in self._marks if name in names]
        requested, self._requested = self._requested, None
        if requested in names:
            self.cursor_target = requested
        elif requested is not None:
            self.say(f"there is no sample {requested!r} any more")
        if not names:
            self._show_instead(self._first_steps())
            return
        self.show_content(self.query_one("#halves"), unless="", focus=self._table)
        self._table.show_rows(map(self._row, self.listing.samples), keep=True)
        self._table.show_marks(self._marks)
        self._move_to(self.cursor_target)
        self.cursor_target = None
        self._show_contents()
        self._count_formats()
        self.refresh_bindings()

    def _first_steps(self) -> str:
        listing = self.listing
        named, datasets = listing.named_database, listing.datasets

        def dataset_option(dataset: str) -> dict[str, str | None]:
            # With a single dataset, a command does not have to name it.
            return {"--dataset": dataset if len(datasets) > 1 else None}

        if listing.source is not None:
            options = {**dataset_option(listing.source), "--ratio": "0.5"}
            create = command_line(("sample", "create"), "NAME", options, database=named)
            return (
                "There is no sample yet. A sample is a named share of the knowledge, to show to a student or to train "
                f"on.\n\nPress {self.kdtui.key_of('samples.create')} to draw one, or in a shell:\n\n    "
                + one_line(create)
            )
        if datasets:
            [dataset, *_] = self.datasets_to_begin_with(datasets)
            mine = command_line(("knowledge", "mine"), options=dataset_option(dataset), database=named)
            return (
                "There is no knowledge to draw a sample from yet. Mine patterns of a dataset, in a "
                f"shell:\n\n    {one_line(mine)}\n\nor ask a teacher in the place Distill. {self.look_again()}"
            )
        return self.first_steps(named)

    def _show_instead(self, sentence: str) -> None:
        """Show a sentence in place of the list."""
        self.show_content(self.query_one("#halves"), unless=sentence, focus=self._table)
        self._table.show_rows(())
        self.show_command("")
        self.refresh_bindings()

    def _row(self, sample: "Sample") -> Row:
        return sample_row(sample, self._formats.get(sample))

    def _count_formats(self) -> None:
        """Count the formats of one sample at a time, since a large one takes a second."""
        missing = [sample for sample in self.listing.samples if sample not in self._formats]
        if not missing:
            return
        sample = missing[0]

        def question(db: "Database") -> dict[str, int]:
            from store.errors import NotFound
            from store.samples import count_formats

            try:
                return count_formats(db, sample.name)
            except NotFound:
                # Another program has deleted it, so it is not in the next list.
                return {}

        self.ask(question, partial(FormatsCounted, sample), group="formats")

    def on_formats_counted(self, message: FormatsCounted) -> None:
        """Show the counts in the list."""
        self._formats[message.sample] = message.formats
        for number, sample in enumerate(self.listing.samples):
            if sample == message.sample:
                self._table.put_row(number, self._row(sample))
        self._count_formats()

    @property
    def _table(self) -> RowTable:
        return self.query_one("#samples", RowTable)

    @property
    def selected(self) -> "Sample | None":
        """The sample under the cursor."""
        key = self._table.cursor_key
        return next((sample for sample in self.listing.samples if sample.name == key), None)

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The datasets that the selected sample was drawn from."""
        sample = self.selected
        return () if sample is None else list(dict.fromkeys(draw.dataset for draw in sample.draws))

    @property
    def pair(self) -> tuple[str, str] | None:
        """The names of the two marked samples."""
        return (self._marks[0], self._marks[1]) if len(self._marks) == 2 else None

    def _move_to(self, name: object) -> None:
        for number, sample in enumerate(self.listing.samples):
            if sample.name == name:
                self._table.move_to(number)

    # Contents and overlap

    @on(RowTable.RowHighlighted, "#samples")
    def show_selection(self, event: RowTable.RowHighlighted) -> None:
        """Show the contents of the selected sample."""
        self.remembered("samples")["sample"] = event.key
        self.query_one("#inside").scroll_home(animate=False)
        self._show_contents()

    def _show_contents(self) -> None:
        """Show the known contents of the selected sample, and count the others."""
        sample = self.selected
        if sample is None:
            return
        if sample not in self._shapes:

            def question(db: "Database") -> "tuple[SampleShape, SampleUses]":
                from kdtui.workflows.knowledge.sample import sample_shape
                from store.samples import sample_uses

                return sample_shape(db, sample.name), sample_uses(db, sample.name)

            self.ask(question, lambda answer: ShapeFound(sample, *answer), group="shape", after=_PAUSE)
        pair = self.pair
        if pair is not None and pair not in self._overlaps:

            def compare(db: "Database") -> "Overlap":
                from kdtui.workflows.knowledge.sample import count_overlap

                return count_overlap(db, *pair)

            self.ask(compare, partial(OverlapFound, pair), group="overlap")
        self._draw(sample)
        self._show_command()

    def on_shape_found(self, message: ShapeFound) -> None:
        """Show the contents, if the sample is still selected."""
        self._shapes[message.sample] = (message.shape, message.uses)
        if message.sample == self.selected:
            self._draw(message.sample)

    def on_overlap_found(self, message: OverlapFound) -> None:
        """Show the overlap, if the two samples are still marked."""
        self._overlaps[message.pair] = message.overlap
        if message.pair == self.pair and (sample := self.selected) is not None:
            self._draw(sample)

    def _draw(self, sample: "Sample") -> None:
        pair = self.pair
        self.query_one(SamplePanel).show(
            sample,
            self._shapes.get(sample),
            compared=None if pair is None else (pair, self._overlaps.get(pair)),
            # On a narrow screen the panel is below the list, and has room for all three charts side by side.
            are_side_by_side=self.has_class("-narrow"),
        )

    def _show_command(self) -> None:
        named = self.listing.named_database
        if (pair := self.pair) is not None:
            self.show_command(command_line(("sample", "compare"), pair, database=named))
        elif (sample := self.selected) is not None:
            self.show_command(command_line(("sample", "show"), sample.name, database=named))

    def action_mark(self) -> None:
        """Mark or unmark the sample for a comparison; a third mark replaces the first."""
        sample = self.selected
        assert sample is not None
        if sample.name in self._marks:
            self._marks.remove(sample.name)
        else:
            self._marks = [*self._marks[-1:], sample.name]
        self._table.show_marks(self._marks)
        self._show_contents()
        self.refresh_bindings()

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if nothing else is shown."""
        if not self._table.row_count:
            self._show_instead(one_line(message.sentence))
