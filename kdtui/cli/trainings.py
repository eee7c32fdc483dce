"""Start, stop, follow and fetch trainings, and show their messages; shared by commands of `kdtui sft`."""

from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

from kdtui.cli.options import next_command
from kdtui.cli.output import print_json, print_text, progress_bar, say, waiting_line
from kdtui.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kdtui.workflows.job_state import Training
    from kdtui.workflows.training.estimate import TrainingEstimate
    from kdtui.workflows.training.plan import TrainingPlan
    from kdtui.workflows.training.source_adapters import Terms
    from models.sft.state import State
    from store.jobs import StoredJob
    from store.sqlite import Database

_LONGEST_LINE = 1 << 20
"""Characters of a line of a log that are collected before they are printed."""

_BARS = "▁▂▃▄▅▆▇█"


def start_training(store: "Database", name: str) -> None:
    """Start or resume a training on its machine."""
    from kdtui.errors import KdtuiError
    from kdtui.hosts.transport import TransportError
    from kdtui.workflows.job_state import known_status
    from kdtui.workflows.training import service
    from kdtui.workflows.training.backend import Started
    from kdtui.workflows.training.launch_on_host import Launched, SendingFiles, Submitting
    from kdtui.workflows.training.on_host import HostSeen
    from store.jobs import get_job

    job = get_job(store, name)
    try:
        for event in service.start_training(store, name):
            match event:
                case Started(pid):
                    shown = next_command("sft", "logs", name, "--follow")
                    stops = next_command("sft", "cancel", name)
                    say(f"it runs as process {pid}; {shown} shows it, and {stops} stops it")
                case SendingFiles(what, size):
                    say(f"copying {what} to {job.host} ({size / 1e6:,.1f} MB), once")
                case Submitting(script):
                    for line in script.rstrip().splitlines():
                        say(f"  {line}")
                case Launched(host, number, launcher):
                    what = f"Slurm job {number}" if launcher == "slurm" else f"process {number}"
                    shown = next_command("sft", "logs", name, "--follow")
                    say(f"it runs on {host} as {what}; {shown} shows it")
                case HostSeen(_, problem) if problem is not None:
                    _say_cached(problem)
    except KdtuiError as problem:
        if isinstance(problem, TransportError):
            _say_in_doubt(job)
        elif known_status(get_job(store, name)).state == "created":
            say(f"training {name} is prepared but not started; {next_command('sft', 'resume', name)} starts it")
        raise
    except BaseException:
        _say_in_doubt(job)
        raise


def _say_in_doubt(job: "StoredJob") -> None:
    if job.host is not None:
        resume = next_command("sft", "resume", job.name)
        say(f"training {job.name} may not have been started; {resume} starts or resumes it")


def say_estimate(store: "Database", plan: "TrainingPlan", *, as_json: bool) -> None:
    """Print the estimate of a prepared training; if there is none, say why. The training starts in any case."""
    from kdtui.errors import KdtuiError
    from kdtui.workflows.training.estimate import estimate_training, training_estimate_in_words
    from models.errors import ModelError

    try:
        estimate = estimate_training(store, plan)
    except (KdtuiError, ModelError) as problem:
        say(f"kdtui: the time and memory cannot be estimated: {problem}")
        return
    if as_json:
        print_estimate(estimate, plan, as_json=True)
    for line in training_estimate_in_words(estimate, plan):
        say(line)


def say_about_source(store: "Database", plan: "TrainingPlan", given: "Terms") -> None:
    """Say what a training changes about its source adapter; without a source and with few sessions, propose one."""
    from kdtui.workflows.training.source_adapters import count_training_sessions, proposed_source, what_changes

    if plan.source is not None:
        if (changes := what_changes(plan.source, plan.settings)) is not None:
            say(f"kdtui: {changes}")
    elif (better := proposed_source(store, plan.settings, given.form, given.base)) is not None:
        named = [word for each in plan.settings.datasets for word in ("--dataset", each)]
        proposed = next_command("sft", "launch", "--name", plan.name, *named, "--from", better)
        sessions = counted(count_training_sessions(store, plan.settings), "training session")
        say(f"kdtui: {sessions} teach little from the base alone; begin from an adapter with: {proposed}")


def print_estimate(estimate: "TrainingEstimate", plan: "TrainingPlan", *, as_json: bool) -> None:
    """Print the estimate of a training."""
    from dataclasses import asdict

    from kdtui.workflows.training.estimate import training_estimate_in_words

    if as_json:
        print_json({"name": plan.name, "host": plan.host, **asdict(estimate)})
        return
    print_text("\n".join(training_estimate_in_words(estimate, plan)))


_SECONDS_BETWEEN_LINES = 10.0
"""Seconds between two lines about a training that stops, if stderr is not a terminal."""


def stop_training(store: "Database", name: str, *, now: bool) -> None:
    """Stop a training, and print the progress and the result."""
    from kdtui.errors import KdtuiError
    from kdtui.workflows.job_state import known_training
    from kdtui.workflows.training.service import cancel_training, how_it_stopped
    from models.sft.processes import HasStopped, Stopping

    left: tuple[str, ...] = ()
    has_begun = False
    said_at = 0.0
    try:
        with waiting_line() as show:
            for event in cancel_training(store, name, now=now):
                match event:
                    case HasStopped():
                        left = event.left
                    case Stopping() if not has_begun:
                        has_begun = True
                        say(
                            f"training {name} was asked to stop: if it has begun, it finishes its step and writes a "
                            f"checkpoint; processes left after {event.grace:,.0f} seconds are killed"
                        )
                    case Stopping():
                        waited = f"{event.seconds:,.0f} s of {event.grace:,.0f}"
                        waits = f"waiting for {name} to stop: {waited}; {event.log_line}"
                        if show is not None:
                            show(waits)
                        elif event.seconds >= said_at + _SECONDS_BETWEEN_LINES:
                            said_at = event.seconds
                            say(waits)
    except KeyboardInterrupt:
        if has_begun:
            say(f"training {name} is still stopping; {next_command('sft', 'cancel', name, '--now')} kills it")
        raise
    training = known_training(store, name)
    for each in left:
        say(f"training {name}: {each}")
    if training.status.state not in ("stopped", "done"):
        raise KdtuiError(how_it_stopped(training, left))
    how_to_resume = f"; {next_command('sft', 'resume', name)} resumes it" if training.status.state == "stopped" else ""
    say(f"{how_it_stopped(training, left)}{how_to_resume}")


def refresh_training(store: "Database", name: str) -> None:
    """Update the state of a training on a host; say so if the host cannot be reached."""
    from kdtui.workflows.training.on_host import check_trainings

    for seen in check_trainings(store, {name}):
        if seen.problem is not None:
            _say_cached(seen.problem)


def _say_cached(problem: str) -> None:
    say(f"kdtui: {problem}; its last known state is shown")


def try_to_fetch(store: "Database", name: str) -> None:
    """Fetch the adapter of a finished training. A failure is only a message."""
    from kdtui.errors import KdtuiError

    try:
        fetch_adapter(store, name)
    except KdtuiError as problem:
        say(f"kdtui: {problem}")


def fetch_adapter(store: "Database", name: str, *, checkpoints: bool = False) -> None:
    """Fetch the adapter of a training from its host and register it under the name of the training."""
    from kdtui.workflows.training.service import fetch_training

    done = fetch_training(store, name, checkpoints=checkpoints)
    say(fetched_message(name, done.files, done.training.status.state))


def fetched_message(name: str, files: int, state: "State" = "done") -> str:
    """Return the message about a training whose files were fetched."""
    use = f"; use it with: --adapter {name}" if state == "done" else f" ({state})"
    return f"fetched {counted(files, 'file')} of training {name}{use}"


def evaluate_adapter(store: "Database", name: str, database: "Path | None") -> None:
    """Score the adapter of a training on the validation splits of its datasets, and record that this is done."""
    from kdtui.cli.evaluation import run_evaluation
    from kdtui.cli.student_messages import StudentMessages
    from kdtui.workflows.finish_jobs import finish_job
    from kdtui.workflows.runs.session_selection import SessionSelection
    from kdtui.workflows.training.evaluate import settings_of_training
    from store.jobs import remember_evaluation

    training = finish_job(store, name)
    settings = settings_of_training(store, training)
    for dataset in training.job.settings.datasets:
        with StudentMessages() as tell:
            selection = SessionSelection.among(store, dataset, "valid", None, None)
            run_evaluation(store, selection, settings, tell, database=database)
    remember_evaluation(store, name)


class _LogLines:
    """Divides a log that arrives in chunks into lines.

    A very long line is cut: a host can send one that never ends.
    """

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._partial = ""

    def take(self, chunk: bytes) -> list[str]:
        """Return the lines that are complete with this chunk."""
        *lines, self._partial = (self._partial + self._decoder.decode(chunk)).split("\n")
        if len(self._partial) > _LONGEST_LINE:
            lines.append(self._partial)
            self._partial = ""
        return lines

    def end(self) -> list[str]:
        """Return the last line if it is incomplete, and expect the beginning of another log."""
        lines = [self._partial] if self._partial else []
        self._decoder.reset()
        self._partial = ""
        return lines


def print_log(chunks: "Iterable[bytes]") -> None:
    """Print a log while it is read, in whole lines."""
    log = _LogLines()
    for chunk in chunks:
        if lines := log.take(chunk):
            print_text("\n".join(lines))
    for line in log.end():
        print_text(line)


def say_if_to_evaluate(training: "Training") -> None:
    """Say how to evaluate the adapter of a finished training, if it was launched with --evaluate."""
    name = training.job.name
    if training.status.state == "done" and training.job.evaluate:
        command = next_command(
            *(("sft", "logs", name, "--follow") if training.job.host is None else ("sft", "fetch", name))
        )
        say(f"training {name} is done, and its adapter is still to be evaluated, with: {command}")


def follow_training(store: "Database", name: str, database: "Path | None") -> None:
    """Print the log of a training as it grows, with a progress bar. An interrupt does not stop the training.

    When the training is done, its adapter is fetched, and evaluated if it was launched with --evaluate.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.finish_jobs import finish_job
    from kdtui.workflows.job_state import is_to_fetch
    from kdtui.workflows.training import service
    from kdtui.workflows.training.follow_on_host import ConnectionLost
    from kdtui.workflows.training.on_this_machine import LogGrew

    events = service.follow_training(store, name)
    log = _LogLines()
    with progress_bar() as progress:
        task = progress.add_task("steps", total=None)
        for event in events:
            if isinstance(event, LogGrew):
                for line in [*(log.end() if event.restarts else ()), *log.take(event.text)]:
                    say(line)
                continue
            if isinstance(event, ConnectionLost):
                say(f"kdtui: {event.problem}; trying again")
                continue
            status = event.status
            shown = f"{curve(status.curve[-30:])} loss {status.loss:.3f}" if status.loss is not None else status.state
            values = [value for _, _, value in status.evaluations if value is not None]
            quality = f"  {curve(values[-30:])} pair F1 {values[-1]:.3f}" if values else ""
            progress.update(task, completed=status.step or 0, total=status.steps, description=shown + quality)
    for line in log.end():
        say(line)
    training = finish_job(store, name)
    if is_to_fetch(training):
        fetch_adapter(store, name)
        training = finish_job(store, name)
    if training.status.state == "failed":
        raise KdtuiError(f"training {name!r} has failed: {training.status.reason}")
    if training.status.state == "done":
        say(f"training {name} is done; use it with: --adapter {name}")
        if training.job.evaluate:
            evaluate_adapter(store, name, database)
        say_outcome(store, training)
    else:
        why = f": {training.status.reason}" if training.status.reason else ""
        say(f"training {name} is {training.status.state}{why}")


def say_outcome(store: "Database", training: "Training") -> None:
    """Say whether a finished training helped; if that cannot be computed, say why."""
    from kdtui.errors import KdtuiError
    from kdtui.workflows.training.find_outcome import find_outcome
    from kdtui.workflows.training.outcome import outcome_problem
    from models.errors import ModelError

    try:
        outcome = find_outcome(store, training)
    except (KdtuiError, ModelError) as problem:
        say(f"kdtui: {outcome_problem(problem)}")
        return
    for line in outcome.in_words if outcome is not None else ():
        say(line)


def curve(values: "Sequence[float]") -> str:
    """Draw values as a line of bars."""
    low, high = min(values), max(values)
    return "".join(_BARS[round((value - low) / ((high - low) or 1) * (len(_BARS) - 1))] for value in values)
