"""What two samples have in common, as it is shown."""

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


def overlap_in_full(pair: tuple[str, str], found: "Overlap") -> RenderableType:
    """How many pieces two samples share, as a chart and as shares of each."""
    rows = (
        ("in both", found.common),
        *(
            (f"only in {one_line(name, 30)}", size - found.common)
            for name, size in zip(pair, _sizes(found), strict=True)
        ),
    )
    shares = ", ".join(
        f"{found.common / size:.1%} of {one_line(name, 30)}" if size else f"none of {one_line(name, 30)}"
        for name, size in zip(pair, _sizes(found), strict=True)
    )
    return Group(Bars("Overlap", rows), Text(f"shared: {shares}; Jaccard index {found.jaccard:.3f}"))


def shared_in_full(pair: tuple[str, str], found: "Overlap", pieces: "Sequence[SampledPiece]") -> RenderableType:
    """The same with the pieces that they share, or the first of them."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for piece in pieces:
        dataset, statement = one_line(piece.dataset, 30), one_line(piece.statement, 300)
        grid.add_row(Text(str(piece.number)), Text(piece.format), Text(dataset), Text(statement))
    shown = len(pieces)
    title = "The pieces that they share"
    if shown < found.common:
        title += f" ({shown:,} of {found.common:,}; the command with --shared lists them all)"
    return Group(
        overlap_in_full(pair, found),
        Text(),
        Text(title, style="bold"),
        grid if pieces else Text("none", style="dim"),
    )


def _sizes(found: "Overlap") -> tuple[int, int]:
    return found.first, found.second
