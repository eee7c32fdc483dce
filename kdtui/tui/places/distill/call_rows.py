"""Calls to teachers as rows of a table, and the totals of each teacher."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kdtui.text import one_line
from kdtui.tui.widgets.rows import Column, Row
from kdtui.workflows.calls.costs import cost_text, tokens_text

if TYPE_CHECKING:
    from store.calls import CallRow, TeacherTotals
    from store.sqlite import Database

COLUMNS = (
    Column("Call", 7, right=True),
    Column("Step", 7),
    Column("Teacher", 10, share=1),
    Column("Status", 8),
    Column("Tokens", 10, right=True),
    Column("Cost", 7, right=True),
    Column("Sec.", 6, right=True),
    Column("When", 11),
)


def read_call_rows(db: "Database", numbers: Sequence[int]) -> list[Row]:
    """Return the table rows of calls, by their numbers."""
    from store.calls import call_rows

    return [_row(row) for row in call_rows(db, numbers)]


def _row(row: "CallRow") -> Row:
    tokens = tokens_text(row.prompt_tokens, is_estimated=row.is_estimated, unknown="–")
    if row.prompt_tokens is not None:
        tokens += f"+{row.completion_tokens or 0:,}"
    return Row(
        str(row.id),
        (
            str(row.id),
            row.step,
            row.teacher,
            Text("✗ failed", style="red") if row.status == "failed" else "answered",
            tokens,
            cost_text(row.cost, is_estimated=row.is_estimated, unknown="–"),
            f"{row.seconds:.2f}",
            row.created_at[5:16].replace("T", " "),
        ),
    )


def totals_table(totals: "Sequence[TeacherTotals]") -> Table:
    """Return a table of calls, tokens and cost for each teacher."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(title, style="bold") for title in ("Teacher", "Calls", "Failed", "Tokens", "Cost")))
    for each in totals:
        table.add_row(
            Text(one_line(each.teacher, 200)),
            f"{each.answered + each.failed:,}",
            f"{each.failed:,}",
            f"{each.prompt_tokens:,}+{each.completion_tokens:,}",
            _cost(each),
        )
    return table


def _cost(each: "TeacherTotals") -> str:
    """Return the cost of all calls to a teacher, some of which can be unknown."""
    known = cost_text(each.cost, is_estimated=each.estimated > 0)
    return f"{known} + {each.unknown:,} unknown" if each.unknown and each.cost is not None else known


def totals_text(totals: "Sequence[TeacherTotals]") -> str:
    """Return the totals as text, to be copied."""
    return "\n".join(
        f"{each.teacher}: {each.answered} answered, {each.failed} failed, {each.prompt_tokens} + "
        f"{each.completion_tokens} tokens, cost {_cost(each)}"
        for each in totals
    )
