"""The overlap of two samples as charts and text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kdtui.text import one_line
from kdtui.tui.widgets.bars import Bars

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.sample import Overlap
    from store.samples import SampledPiece


def overlap_chart(pair: tuple[str, str], overlap: "Overlap") -> RenderableType:
    """Return the number of pieces that two samples share, as a chart and as shares of each."""
    rows = (
        ("in both", overlap.common),
        *(
            (f"only in {one_line(name, 30)}", size - overlap.common)
            for name, size in zip(pair, _sizes(overlap), strict=True)
        ),
    )
    shares = ", ".join(
        f"{overlap.common / size:.1%} of {one_line(name, 30)}" if size else f"none of {one_line(name, 30)}"
        for name, size in zip(pair, _sizes(overlap), strict=True)
    )
    return Group(Bars("Overlap", rows), Text(f"shared: {shares}; Jaccard index {overlap.jaccard:.3f}"))


def overlap_with_pieces(pair: tuple[str, str], overlap: "Overlap", pieces: "Sequence[SampledPiece]") -> RenderableType:
    """Return the overlap with the shared pieces, or the first ones."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for piece in pieces:
        dataset, statement = one_line(piece.dataset, 30), one_line(piece.statement, 300)
        grid.add_row(Text(str(piece.number)), Text(piece.format), Text(dataset), Text(statement))
    shown = len(pieces)
    title = "Shared pieces"
    if shown < overlap.common:
        title += f" ({shown:,} of {overlap.common:,}; the command with --shared lists them all)"
    return Group(
        overlap_chart(pair, overlap),
        Text(),
        Text(title, style="bold"),
        grid if pieces else Text("none", style="dim"),
    )


def _sizes(overlap: "Overlap") -> tuple[int, int]:
    return overlap.first, overlap.second
