"""The progress of a distillation, in a few lines."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from kdtui.text import counted, duration, one_line
from kdtui.tui.places.distill.distillation import Distillation, State
from kdtui.workflows.calls.costs import cost_text

if TYPE_CHECKING:
    from kdtui.workflows.calls.tally import Tally

_STATES: dict[State, str] = {
    "estimating": "… estimating",
    "confirming": "? to be confirmed",
    "running": "▶ running",
    "pausing": "‖ pausing",
    "paused": "‖ paused",
    "stopping": "■ stopping",
    "done": "✓ done",
    "stopped": "■ stopped",
    "ended early": "! ended early",
    "failed": "✗ failed",
}


class DistillationPanel(Static):
    """The progress of one distillation, or a text if there is none."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)

    def show(self, distillation: Distillation, *, of: tuple[int, int], command: str = "") -> None:
        """Show a distillation.

        Args:
            of: its number, and the number of all distillations.
            command: the command that does the same, if there is room for it.
        """
        self.update(_progress(distillation, of, command))

    def show_text(self, text: str) -> None:
        """Show a text, which must be clean of control characters."""
        self.update(Text(text))


def _progress(distillation: Distillation, of: tuple[int, int], command: str) -> RenderableType:
    head = Table.grid(expand=True, padding=(0, 1, 0, 0))
    head.add_column(ratio=1, no_wrap=True)
    head.add_column(no_wrap=True, justify="right")
    number = f"{of[0]} of {of[1]}: " if of[1] > 1 else ""
    head.add_row(
        Text(one_line(f"{number}{distillation.request.title}", 200), style="bold", overflow="ellipsis"),
        Text(_STATES[distillation.state], style="bold"),
    )
    lines: list[RenderableType] = [head, _bar(distillation)]
    lines += [Text(one_line(line, 600)) for line in _lines(distillation)]
    if distillation.lost:
        # The reason from a server can be long; the app keeps it in full among its messages.
        last = f"{counted(distillation.lost, 'session')} gave no knowledge; the last: {distillation.reasons[-1]}"
        lines.append(Text(one_line(last, 300), no_wrap=True, overflow="ellipsis"))
    if command:
        lines.append(Text.assemble(("$ ", "dim"), one_line(command, 1000)))
    return Group(*lines)


def _bar(distillation: Distillation) -> RenderableType:
    step = distillation.step
    share = 1.0 if distillation.state == "done" else 0.0 if step is None else step.share
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right")
    done = "" if step is None else f"  {step.sessions:,} of {step.of:,} {step.label}"
    table.add_row(ProgressBar(total=1.0, completed=share), Text(f"{share:>4.0%}{done}"))
    return table


def _lines(distillation: Distillation) -> list[str]:
    step, state = distillation.step, distillation.state
    lines = []
    if state in ("estimating", "confirming"):
        lines += _expected(distillation)
    elif step is not None and step.tally is not None:
        tally = step.tally
        lines += [
            f"calls: {tally.hits:,} answered before · {tally.paid:,} paid · {tally.failed:,} failed"
            + (f" · {step.pending:,} pending" if distillation.is_active else "")
            + _rate(distillation, tally),
            f"{tally.prompt_tokens:,} + {tally.completion_tokens:,} tokens · cost {_cost(tally)}"
            + _left(distillation, tally),
        ]
    else:
        free = "; it costs nothing" if distillation.is_free else ""
        lines.append(f"{duration(distillation.seconds)}{free}")
    if state in ("pausing", "stopping"):
        most = ", for a minute at most" if state == "stopping" and distillation.pending_calls else ""
        lines.append(f"no new calls; pending ones are finished and kept{most}")
    if distillation.results:
        results = distillation.results
        lines.append(
            " · ".join(f"{counted(each.kept, each.format)} kept, {each.rejected:,} rejected" for each in results)
        )
        lines += [f"{each.format}s: {each.aftermath}" for each in distillation.results if each.aftermath]
    if distillation.problem:
        lines.append(distillation.problem)
    return lines


def _expected(distillation: Distillation) -> list[str]:
    tally = distillation.step.tally if distillation.step is not None else None
    if tally is None:
        return [f"looking up what was {'answered' if distillation.request.is_paid else 'found'} before"]
    return [
        f"calls: {tally.hits:,} answered before · {tally.paid:,} to be paid",
        f"about {tally.prompt_tokens:,} + {tally.completion_tokens:,} tokens · cost {_expected_cost(tally)}",
    ]


def _rate(distillation: Distillation, tally: "Tally") -> str:
    asked = tally.paid + tally.failed
    return f" · {60 * asked / distillation.seconds:,.0f} a minute" if asked and distillation.seconds > 0 else ""


def _left(distillation: Distillation, tally: "Tally") -> str:
    """Return the remaining calls, time and cost, estimated from the calls so far."""
    expected, asked = distillation.expected, tally.paid + tally.failed
    left = expected.paid - asked if expected is not None else 0
    if expected is None or not distillation.is_active or left <= 0 or not asked:
        return ""
    time = duration(distillation.seconds * left / asked)
    cost = "" if tally.cost is None else f", cost {cost_text(left * tally.cost / asked)}"
    return f" · left: about {counted(left, 'call')}, {time}{cost}"


def _cost(tally: "Tally") -> str:
    return cost_text(tally.cost, is_estimated=tally.estimated > 0, unknown="unknown (no prices)")


def _expected_cost(tally: "Tally") -> str:
    if tally.cost is None:
        return "unknown (no prices)"
    return f"about {cost_text(tally.cost)}, at most about {cost_text(tally.most_cost)}"
