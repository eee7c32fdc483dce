"""Samples as rows of a table, and their uses in words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdtui.tui.widgets.rows import Column, Row
from kdtui.workflows.knowledge.sample_summary import draws_in_words
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


def sample_row(sample: "Sample", formats: Mapping[str, int] | None) -> Row:
    """Return the table row of a sample; `formats` is None while its pieces are counted."""
    return Row(
        sample.name,
        (
            sample.name,
            f"{sample.pieces:,}",
            *("…" if formats is None else f"{formats.get(format, 0):,}" for format in FORMATS),
            draws_in_words(sample),
            minute_of(sample.created_at),
        ),
    )


def minute_of(at: str) -> str:
    """Format a time to the minute."""
    return at[:16].replace("T", " ")


def uses_text(uses: "SampleUses") -> str:
    """Return the runs and trainings that use a sample; empty if there are none."""
    return ", ".join((*(f"run {run}" for run in uses.runs), *(f"training {name}" for name in uses.trainings)))
