"""The columns and rows of the list of models."""

from kdtui.tui.widgets.rows import Column, Row
from kdtui.workflows.manage_models import ModelRow

COLUMNS = (
    Column("Model", 14, share=2),
    Column("Kind", 9),
    Column("Architecture", 12, wide=True),
    Column("Weights", 8, right=True),
    Column("Bits", 6),
    Column("Size", 8, right=True),
    Column("Context", 8, right=True),
    Column("From", 12, share=3),
)


def model_row(row: ModelRow, *, read: bool) -> Row:
    """Return the table row of a model; `read` says whether its file was read."""
    info = row.info
    return Row(
        row.name,
        (
            row.name,
            "quantized" if row.kind == "base" and row.made and row.source.partition(" as ")[1] else row.kind,
            info.architecture if info else "",
            f"{info.parameters / 1e6:,.0f} M" if info else "",
            info.quantization if info else "" if read else "…",
            f"{row.bytes / 1e6:,.0f} MB" if row.bytes is not None else "",
            f"{info.context:,}" if info else "",
            f"✗ {row.problem}" if row.problem else row.source,
        ),
    )
