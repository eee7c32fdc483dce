"""The contents of a sample as charts and text."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from kdtui.text import counted, one_line
from kdtui.tui.places.samples.overlap import overlap_chart
from kdtui.tui.places.samples.rows import minute_of, uses_text
from kdtui.tui.widgets.bars import Bars, side_by_side
from kdtui.workflows.knowledge.sample_summary import draws_in_words

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.sample import Overlap, SampleShape
    from store.samples import Sample, SampleUses


class SamplePanel(Static):
    """The contents of a sample, and above them the overlap of two marked samples."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)

    def show(
        self,
        sample: "Sample",
        contents: "tuple[SampleShape, SampleUses] | None",
        *,
        compared: "tuple[tuple[str, str], Overlap | None] | None",
        are_side_by_side: bool,
    ) -> None:
        """Show what is known so far.

        Args:
            contents: the contents and the uses of the sample; None while they are counted.
            compared: the names of two samples, and their overlap; None while it is counted.
            are_side_by_side: whether the charts stand side by side, and not below one another.
        """
        parts: list[RenderableType] = []
        if compared is not None:
            pair, overlap = compared
            parts += [Text("comparing…", style="dim") if overlap is None else overlap_chart(pair, overlap), Text()]
        shape, uses = contents or (None, None)
        if shape is None:
            parts += [Text("counting…", style="dim"), Text()]
        else:
            charts = _charts(shape)
            for chart in [side_by_side(charts)] if are_side_by_side else charts:
                parts += [chart, Text()]
        self.update(Group(*parts, _about(sample, shape, uses)))


def _about(sample: "Sample", shape: "SampleShape | None", uses: "SampleUses | None") -> RenderableType:
    """Return the facts about a sample that the charts do not show."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_row("sample", Text(one_line(sample.name, 1000), style="bold"))
    grid.add_row("drawn", Text(f"{one_line(draws_in_words(sample), 1000)}, at {minute_of(sample.created_at)} UTC"))
    if uses is not None:
        grid.add_row("used by", Text(one_line(uses_text(uses) or "no run and no training yet", 1000)))
    grid.add_row("tokens", Text("are estimated, as one for three characters"))
    if shape is not None and shape.without_session:
        named = counted(shape.without_session, "piece names", "pieces name")
        grid.add_row("", Text(f"{named} no session, since patterns come from too many"))
    return grid


def _charts(shape: "SampleShape") -> list[Bars]:
    return [
        Bars("Pieces by format", shape.formats.items()),
        Bars("Pieces by tokens (≈)", ((each.label, each.count) for each in shape.lengths)),
        Bars("Sessions by products", ((each.label, each.count) for each in shape.products)),
    ]
