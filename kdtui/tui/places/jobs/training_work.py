"""Background work on a training: prepare, start, stop and evaluate it, with progress in words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.text import counted, one_line
from kdtui.tui.core.activity import Activity
from kdtui.tui.places.jobs.training_request import TrainingRequest

if TYPE_CHECKING:
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """An activity has reached a new step; the sentence is shown while the step lasts."""

    sentence: str


@dataclass(frozen=True, slots=True)
class WorkDone:
    """An activity has finished something."""

    sentence: str


@dataclass(frozen=True, slots=True)
class TrainingDeleted:
    """An activity has deleted a training."""

    name: str


@dataclass(frozen=True, slots=True)
class EvaluationDue:
    """The adapter of a training is to be evaluated when the training is done."""

    name: str


class HostActivity(Activity):
    """An activity that can wait for a host. A cancelled one ends at once, even if the host does not answer."""

    def __init__(
        self,
        name: str,
        database: Path,
        work: "Callable[[Database], Iterator[object]]",
        post: Callable[[Message], object],
    ) -> None:
        self._stop: Callable[[], None] | None = None

        def interruptible(db: "Database") -> Iterator[object]:
            # Imported in the thread, since that takes as long as a paint.
            from kdtui.workflows.async_events import Interrupt

            interrupt = Interrupt()
            # With a stop, the activity runs on to its end instead of breaking off between two events.
            self._stop = interrupt.set
            if self.is_cancelled:
                return
            with interrupt.in_force():
                yield from work(db)

        super().__init__(name, database, interruptible, post)

    def cancel(self) -> None:
        """Stop without waiting for the host."""
        super().cancel()
        if self._stop is not None:
            self._stop()


def prepare_and_start(db: "Database", database: Path, request: TrainingRequest) -> Iterator[object]:
    """Write the training set of a new training, and start it; for worker threads."""
    from kdtui.workflows.training.plan import jobs_folder, prepare_training

    plan = request.plan(db)
    name = plan.name
    yield WorkProgress(f"preparing {name}: writing its training set")
    ready = prepare_training(db, plan, jobs_folder(database))
    sessions = counted(ready.examples, "session")
    yield WorkProgress(f"starting {name}: {sessions} an epoch, {ready.valid:,} to validate on")
    yield from start_and_report(db, name)
    if request.evaluate:
        yield EvaluationDue(name)


def start_and_report(db: "Database", name: str) -> Iterator[object]:
    """Start or resume a training, and yield its progress."""
    from kdtui.workflows.training.backend import Started
    from kdtui.workflows.training.launch_on_host import Launched, SendingFiles, Submitting
    from kdtui.workflows.training.service import start_training

    for event in start_training(db, name):
        match event:
            case Started(pid):
                yield WorkDone(f"training {name} runs as process {pid}")
            case SendingFiles(label, size):
                yield WorkProgress(f"starting {name}: copying {label} to its host ({size / 1e6:,.1f} MB), once")
            case Submitting():
                yield WorkProgress(f"starting {name}: submitting it to Slurm")
            case Launched(host, number, launcher):
                kind = "Slurm job" if launcher == "slurm" else "process"
                yield WorkDone(f"training {name} runs on {host} as {kind} {number}")
            case _:
                yield event


def stop_and_report(db: "Database", name: str, *, now: bool) -> Iterator[object]:
    """Stop a training, and yield what it waits for.

    Args:
        now: whether to kill it without waiting for a checkpoint.
    """
    from kdtui.workflows.job_state import known_training
    from kdtui.workflows.training.service import cancel_training, how_it_stopped
    from models.sft.processes import Stopping

    left: tuple[str, ...] = ()
    for event in cancel_training(db, name, now=now):
        if isinstance(event, Stopping):
            yield WorkProgress(
                f"waiting for {name} to stop: {event.seconds:,.0f} s of {event.grace:,.0f}, then it is killed; "
                f"{one_line(event.log_line, 100)}"
            )
        else:
            left = event.left
    training = known_training(db, name)
    yield WorkDone("; ".join([how_it_stopped(training, left), *left]))


def evaluate_and_report(db: "Database", name: str) -> Iterator[object]:
    """Evaluate the adapter of a training when the training is done, and yield the progress; for worker threads."""
    from kdtui.workflows.job_state import Training
    from kdtui.workflows.runs.evaluate import RunBegun, ScoreRow
    from kdtui.workflows.student.generate import SessionAnswered
    from kdtui.workflows.training.evaluate import evaluate_when_done

    answered, sessions, run = 0, 0, 0
    for event in evaluate_when_done(db, name):
        match event:
            case Training():
                yield WorkProgress(f"waiting for {name} to finish, to evaluate it: it is {event.status.state}")
            case RunBegun():
                answered, sessions, run = 0, event.sessions, event.run.id
            case SessionAnswered():
                answered += 1
                yield WorkProgress(f"evaluating {name}: {answered:,} of {counted(sessions, 'session')} answered")
            case ScoreRow():
                f1 = event.scores.pair_f1
                yield WorkDone(f"{name} has a pair F1 of {f1:.3f} on the validation split: run {run}")
