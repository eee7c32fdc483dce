"""The curves of a training: its loss, and the quality of its answers."""

from kdtui.tui.widgets.curve import Curve, Points
from models.sft.state import JobStatus


def show_loss(curve: Curve, status: JobStatus) -> None:
    """Draw the loss of a training, and that on its validation sessions."""
    parts, last = len(status.curve), status.step or len(status.curve)
    # Each value is the mean of a part of the steps, and stands at its end.
    steps = [last * number / parts for number in range(1, parts + 1)]
    valid = Points([step for step, *_ in status.evaluations], [loss for _, loss, _ in status.evaluations], "x")
    title = "loss (line), on validation (x)" if valid.values else "loss"
    curve.show(title, [Points(steps, status.curve), valid])


def show_quality(curve: Curve, status: JobStatus) -> None:
    """Draw the pair F1 on the validation sessions."""
    found = [(step, value) for step, _, value in status.evaluations if value is not None]
    steps, values = [step for step, _ in found], [value for _, value in found]
    curve.show("pair F1 on validation", [Points(steps, values), Points(steps, values, "x")])
