"""A training in words: its state, its numbers, its settings, and its files."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from kdtui.text import ago, counted, duration, one_line
from kdtui.tui.places.jobs.training_snapshot import TrainingSnapshot
from models.sft.job_files import ADAPTER, JOB
from models.sft.state import State

if TYPE_CHECKING:
    from models.sft.state import JobStatus

SIGNS: dict[State, str] = {
    "created": "○",
    "queued": "◔",
    "running": "▶",
    "stalled": "!",
    "stopped": "■",
    "failed": "✗",
    "done": "✓",
}
"""A sign for each state, so that colour is not the only mark."""

STYLES: dict[State, str] = {"running": "green", "stalled": "yellow", "failed": "red", "queued": "cyan"}


def state_text(training: TrainingSnapshot) -> Text:
    """Return the state of a training, with its sign."""
    state = training.status.state
    return Text(f"{SIGNS.get(state, '?')} {state}", style=STYLES.get(state, ""))


def step_text(status: "JobStatus") -> str:
    """Return the current step, of how many."""
    return "–" if status.step is None else f"{status.step:,} of {status.steps or '?'}"


def three_decimals(value: float | None) -> str:
    """Format a number with three decimals; None as a dash."""
    return "–" if value is None else f"{value:.3f}"


def training_details(training: TrainingSnapshot) -> Text:
    """Return the numbers and the settings of a training, in a few lines."""
    job, status = training.job, training.status
    text = Text().append_text(state_text(training))
    parts = [
        f"step {step_text(status)}",
        f"loss {three_decimals(status.loss)}",
        f"pair F1 {three_decimals(status.pair_f1)}",
        *([] if status.tokens_per_second is None else [f"{status.tokens_per_second:,.0f} tokens/s"]),
        *([] if status.eta_seconds is None else [f"{duration(status.eta_seconds)} left"]),
        *([counted(training.checkpoints, "checkpoint")] if training.checkpoints else []),
    ]
    text.append(f" · {' · '.join(parts)}\n")
    if status.reason:
        text.append("why: ", style="bold")
        text.append(f"{one_line(status.reason, 300)}\n")
    settings = job.settings
    facts = [
        f"on {training.where}" if job.host else "here",
        f"of {', '.join(settings.datasets) or 'unknown datasets'}",
        settings.form,
        *([f"with {', '.join(settings.knowledge)}"] if settings.knowledge else []),
        *(["to be written"] if settings.target else []),
        *([f"of sample {settings.sample}"] if settings.sample else []),
        counted(settings.epochs, "epoch"),
        *([f"from {settings.began_from}"] if settings.began_from else []),
        *([f"after {job.after}"] if job.after else []),
        *([f"seen {ago(job.seen_at)}"] if job.seen_at else []),
        *([f"its adapter is still on {training.where}"] if training.is_away else []),
    ]
    text.append(one_line(" · ".join(facts), 300))
    for line in training.worth:
        text.append(f"\n{one_line(line, 300)}")
    if training.default_of:
        text.append(f"\ndefault adapter of {one_line(', '.join(training.default_of), 200)}")
    return text


def manifest_text(folder: Path, no_adapter: str) -> str:
    """Return the manifest of the adapter of a training, and its job file, which describes the training as planned.

    Args:
        no_adapter: why there is no adapter; empty if there should be one.
    """
    from models.adapters.peft_settings import MANIFEST

    path = folder / ADAPTER / MANIFEST
    adapter = f"{one_line(no_adapter)}\n" if no_adapter and not path.exists() else _json_file("adapter", path)
    return f"{adapter}\n{_json_file('job', folder / JOB)}"


def _json_file(title: str, path: Path) -> str:
    """Return the contents of a JSON file, or why it cannot be read."""
    import json

    from models.errors import ModelError
    from models.files.json_files import read_object

    try:
        # Non-ASCII characters are escaped, so that no text in the file can control the terminal.
        return f"{title}: {one_line(str(path))}\n\n{json.dumps(read_object(path), indent=2)}\n"
    except ModelError as problem:
        return f"{title}: {one_line(str(problem))}\n"
