"""Curves of a training: its loss, and the quality of its answers."""

from kdtui.tui.widgets.curve import Curve, Points
from models.sft.state import JobStatus


def show_loss(curve: Curve, status: JobStatus) -> None:
    """Draw the training loss and the validation loss."""
    parts, last = len(status.curve), status.step or len(status.curve)
    # Each value is the mean of one part of the steps, drawn at the end of the part.
    steps = [last * number / parts for number in range(1, parts + 1)]
    valid = Points([step for step, *_ in status.evaluations], [loss for _, loss, _ in status.evaluations], "x")
    title = "loss (line), on validation (x)" if valid.values else "loss"
    curve.show(title, [Points(steps, status.curve), valid])


def show_quality(curve: Curve, status: JobStatus) -> None:
    """Draw the pair F1 on the validation split."""
    measured = [(step, value) for step, _, value in status.evaluations if value is not None]
    steps, values = [step for step, _ in measured], [value for _, value in measured]
    curve.show("pair F1 on validation", [Points(steps, values), Points(steps, values, "x")])
