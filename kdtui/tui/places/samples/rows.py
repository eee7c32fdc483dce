"""Samples as rows, and in words: when they were drawn, and what names them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdtui.tui.widgets.rows import Column, Row
from kdtui.workflows.knowledge.sample_summary import how_drawn
from store.records import FORMATS

if TYPE_CHECKING:
    from store.samples import Sample, SampleUses

COLUMNS = (
    Column("Sample", 12, share=1),
    Column("Pieces", 8, right=True),
    *(Column(f"{format.capitalize()}s", 8, right=True) for format in FORMATS),
    Column("How drawn", 20, share=3),
    Column("When", 16, wide=True),
)


def row_of(sample: "Sample", formats: Mapping[str, int] | None) -> Row:
    """A sample as cells; how many pieces of each format it has may not be counted yet."""
    return Row(
        sample.name,
        (
            sample.name,
            f"{sample.pieces:,}",
            *("…" if formats is None else f"{formats.get(format, 0):,}" for format in FORMATS),
            how_drawn(sample),
            when(sample.created_at),
        ),
    )


def when(at: str) -> str:
    """A time to the minute."""
    return at[:16].replace("T", " ")


def named_by(uses: "SampleUses") -> str:
    """The runs and trainings that name a sample; empty where there are none."""
    return ", ".join((*(f"run {run}" for run in uses.runs), *(f"training {name}" for name in uses.trainings)))
