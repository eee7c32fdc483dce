"""What is in a sample, beside the list of them."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from kdtui.text import counted, one_line
from kdtui.tui.places.samples.overlap import overlap_in_full
from kdtui.tui.places.samples.rows import named_by, when
from kdtui.tui.widgets.bars import Bars, side_by_side
from kdtui.workflows.knowledge.sample_summary import how_drawn

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.sample import Overlap, SampleShape
    from store.samples import Sample, SampleUses


class SamplePanel(Static):
    """One sample in full, and above it what two that are compared have in common."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)

    def show(
        self,
        sample: "Sample",
        found: "tuple[SampleShape, SampleUses] | None",
        *,
        compared: "tuple[tuple[str, str], Overlap | None] | None",
        abreast: bool,
    ) -> None:
        """Show what is known so far.

        Args:
            found: what is in the sample, and what names it; None while that is counted.
            compared: the names of two samples, and what they have in common; None while that is counted.
            abreast: whether the charts stand beside one another, and not below.
        """
        parts: list[RenderableType] = []
        if compared is not None:
            pair, overlap = compared
            parts += [Text("comparing…", style="dim") if overlap is None else overlap_in_full(pair, overlap), Text()]
        shape, uses = found or (None, None)
        if shape is None:
            parts += [Text("counting…", style="dim"), Text()]
        else:
            charts = _charts(shape)
            for chart in [side_by_side(charts)] if abreast else charts:
                parts += [chart, Text()]
        self.update(Group(*parts, _about(sample, shape, uses)))


def _about(sample: "Sample", shape: "SampleShape | None", uses: "SampleUses | None") -> RenderableType:
    """What numbers do not say."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_row("sample", Text(one_line(sample.name, 1000), style="bold"))
    grid.add_row("drawn", Text(f"{one_line(how_drawn(sample), 1000)}, at {when(sample.created_at)} UTC"))
    if uses is not None:
        grid.add_row("used by", Text(one_line(named_by(uses) or "no run and no training yet", 1000)))
    grid.add_row("tokens", Text("are counted roughly, as one for three characters"))
    if shape is not None and shape.without_session:
        named = counted(shape.without_session, "piece names", "pieces name")
        grid.add_row("", Text(f"{named} no session here: patterns come from too many"))
    return grid


def _charts(shape: "SampleShape") -> list[Bars]:
    return [
        Bars("Pieces by format", shape.formats.items()),
        Bars("Pieces by tokens (≈)", ((each.label, each.count) for each in shape.lengths)),
        Bars("Sessions by products", ((each.label, each.count) for each in shape.products)),
    ]
