"""The details of a model, as the place Models shows and copies them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kdtui.text import one_line

if TYPE_CHECKING:
    from kdtui.workflows.student.describe_model import Fit, ModelDetails


def full_details(details: "ModelDetails", fits: "list[Fit] | None", hint: str = "") -> RenderableType:
    """Return all details of a model, to be shown.

    Args:
        fits: the bases that an adapter fits; None while they are not known.
        hint: a sentence to show above them.
    """
    from kdtui.workflows.student.describe_model import detail_lines

    heading = "What its file says" if details.adapter is None else "Its manifest"
    parts: list[RenderableType] = [
        _grid(_summary(details, fits)),
        Text(),
        Text(heading, style="bold"),
        _grid(detail_lines(details)),
    ]
    return Group(*[Text(hint), Text(), *parts] if hint else parts)


def details_to_copy(details: "ModelDetails", fits: "list[Fit] | None") -> str:
    """Return the same details as plain text."""
    from kdtui.workflows.student.describe_model import detail_lines

    lines = [*_summary(details, fits), *detail_lines(details)]
    return "\n".join(f"{label}: {one_line(value)}" for label, value in lines)


def _summary(details: "ModelDetails", fits: "list[Fit] | None") -> list[tuple[str, str]]:
    from kdtui.workflows.student.describe_model import summary_lines

    # The list shows the name and the kind.
    lines = [(label, value) for label, value in summary_lines(details) if label not in ("name", "kind")]
    if details.adapter is not None:
        lines += [("fits", "trying…")] if fits is None else [("fits", f"{fit.base}: {fit.answer}") for fit in fits]
    return lines


def _grid(lines: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(style="dim", max_width=28, overflow="fold")
    grid.add_column(ratio=1, overflow="fold")
    for label, value in lines:
        grid.add_row(Text(one_line(label, 100)), Text(one_line(value, 1000)))
    return grid
