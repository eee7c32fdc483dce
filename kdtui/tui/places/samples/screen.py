"""The place Samples: all samples, and how to draw, compare and delete them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message

from kdtui.text import counted, one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.store_worker import StoreChanged
from kdtui.tui.places.samples.form import DrawForm, DrawRequest
from kdtui.tui.places.samples.list_screen import SampleListScreen
from kdtui.tui.places.samples.overlap import overlap_with_pieces
from kdtui.tui.places.samples.rows import uses_text
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.knowledge.query import quoted

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.sample import Overlap
    from store.samples import SampledPiece, SampleUses
    from store.sqlite import Database

_SHOWN = 1000
"""Most shared pieces that are listed; `kdtui sample compare --shared` lists them all."""

_NO_KNOWLEDGE = "there is no knowledge to draw from"


class SharedPiecesFound(Message):
    """The pieces that two samples share were read."""

    def __init__(self, pair: tuple[str, str], pieces: "list[SampledPiece]", overlap: "Overlap") -> None:
        super().__init__()
        self.pair, self.pieces, self.overlap = pair, pieces, overlap


class SourcesFound(Message):
    """The pieces that samples can be drawn from were counted, by dataset and format."""

    def __init__(self, kept: dict[str, dict[str, int]]) -> None:
        super().__init__()
        self.kept = kept


class UsesFound(Message):
    """The runs and trainings that name a sample to delete were read."""

    def __init__(self, name: str, uses: "SampleUses") -> None:
        super().__init__()
        self.name, self.uses = name, uses


class SampleDeleted(StoreChanged):
    """A sample was deleted."""


class SamplesScreen(SampleListScreen):
    """All samples, and the actions on them."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("samples", "rows", "screen")
    AUTO_FOCUS = "#samples"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        # The name of the sample that is being drawn.
        self._drawing: str | None = None

    def action_overlap(self) -> None:
        """Show the overlap of the two marked samples, with the shared pieces."""
        pair = self.pair
        assert pair is not None

        def question(db: "Database") -> "tuple[list[SampledPiece], Overlap]":
            from kdtui.workflows.knowledge.sample import count_overlap
            from store.samples import shared_pieces

            return list(shared_pieces(db, *pair, limit=_SHOWN)), count_overlap(db, *pair)

        self.ask(question, lambda answer: SharedPiecesFound(pair, *answer), group="shared")

    def on_shared_pieces_found(self, message: SharedPiecesFound) -> None:
        """Show the overlap over the list."""
        one, other = message.pair
        content = overlap_with_pieces(message.pair, message.overlap, message.pieces)
        copies = "\n".join(f"{piece.number}\t{one_line(piece.statement)}" for piece in message.pieces)
        self.app.push_screen(TextDialog(f"{one} and {other}", content, copies=copies))

    @on(RowTable.RowSelected, "#samples")
    def action_pieces(self) -> None:
        """Show the pieces of the sample in the place Knowledge."""
        sample = self.selected
        assert sample is not None
        self.kdtui.show_knowledge(f"sample:{quoted(sample.name)}")

    # Drawing

    def action_create(self) -> None:
        """Count the pieces to draw from; the form follows."""

        def question(db: "Database") -> dict[str, dict[str, int]]:
            from store.samples import count_kept

            return count_kept(db)

        self.ask(question, SourcesFound, group="sources")

    def on_sources_found(self, message: SourcesFound) -> None:
        """Ask what to draw."""
        if not message.kept:
            # All knowledge was deleted after the samples were loaded.
            self.say(_NO_KNOWLEDGE)
            self.load()
            return
        taken = [sample.name for sample in self.listing.samples]
        datasets = self.datasets_to_begin_with(list(message.kept))

        def draw(request: DrawRequest | None) -> None:
            if request is not None:
                self._drawing = request.name
                self.refresh_bindings()
                label = f"drawing sample {request.name}"
                self.kdtui.begin(Activity(label, self.database, request.draw, self.post_message))

        form = DrawForm(message.kept, datasets, taken, self.listing.named_database)
        self.app.push_screen(FormDialog(form), draw)

    def on_happened(self, message: Happened) -> None:
        """Report that the sample is drawn."""
        assert isinstance(message.event, int)
        self.say(f"sample {self._drawing} has {counted(message.event, 'piece')} of knowledge", error=False)
        self.cursor_target = self._drawing

    def on_ended(self, message: Ended) -> None:
        """Load the samples, and report why none was drawn, if so."""
        name, self._drawing = self._drawing, None
        if message.problem is not None:
            self.say(f"sample {name} cannot be drawn: {message.problem}", details=message.details)
        self.refresh_bindings()
        self.load()

    # Deletion

    def action_delete(self) -> None:
        """Read what uses the sample; a question follows."""
        sample = self.selected
        assert sample is not None

        def question(db: "Database") -> "SampleUses":
            from store.samples import sample_uses

            return sample_uses(db, sample.name)

        self.ask(question, partial(UsesFound, sample.name), group="uses")

    def on_uses_found(self, message: UsesFound) -> None:
        """Ask whether to delete the sample."""
        if not self.is_current:
            return
        consequence = "The record of how it was drawn is lost; its pieces stay."
        if uses := uses_text(message.uses):
            consequence += f" It is used by {uses}: their results stay, but they cannot be repeated in the same way."

        def delete(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self.write(partial(_delete, message.name))

        command = command_line(("sample", "rm"), message.name, database=self.listing.named_database)
        question = f"Delete sample {message.name}?"
        self.app.push_screen(ConfirmDialog(question, consequence, "Delete it", command), delete)

    def on_sample_deleted(self, message: SampleDeleted) -> None:
        """Report the deletion, and load the samples again."""
        self.say(message.sentence, error=False)
        self.load()

    # Availability of actions

    def why_not(self, action: str) -> str | None:
        if action == "create" and self._drawing is not None:
            return f"sample {self._drawing} is being drawn"
        if action == "create" and self.listing.source is None:
            return _NO_KNOWLEDGE
        if action in ("mark", "pieces", "delete") and not self.listing.samples:
            return "there is no sample"
        if action == "overlap" and self.pair is None:
            return f"mark two samples first, with {self.kdtui.key_of('samples.mark')}"
        return super().why_not(action)


def _delete(name: str, db: "Database") -> SampleDeleted:
    from store.samples import delete_sample

    delete_sample(db, name)
    return SampleDeleted(f"sample {name} is deleted")
