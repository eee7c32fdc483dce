"""What can be done with a training, in the list of them and in its own screen, and how it is shown."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.message import Message
from textual.widgets import Static

from kdtui.text import ago, counted, duration, one_line
from kdtui.tui.actions import ACTIONS
from kdtui.tui.core.activity import Activity
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.core.store_worker import named_database
from models.sft.job_files import ADAPTER, CHECKPOINTS, JOB
from models.sft.state import ACTIVE, State

if TYPE_CHECKING:
    from kdtui.workflows.job_state import JobRow
    from models.sft.state import JobStatus
    from store.jobs import StoredJob
    from store.records import RunSettings
    from store.sqlite import Database

SIGNS: dict[State, str] = {
    "created": "○",
    "queued": "◔",
    "running": "▶",
    "stalled": "!",
    "stopped": "■",
    "failed": "✗",
    "done": "✓",
}
"""A sign for each state: colour is never the only one."""

STYLES: dict[State, str] = {"running": "green", "stalled": "yellow", "failed": "red", "queued": "cyan"}


@dataclass(frozen=True, slots=True)
class Training:
    """A training and how it is.

    Attributes:
        is_away: whether its adapter is on a host, and not here yet.
        checkpoints: how many there are here.
        worth: whether it helped, as sentences; none until that is found out.
        default_of: the datasets that its adapter is the default of.
    """

    job: "StoredJob"
    status: "JobStatus"
    is_away: bool
    checkpoints: int
    worth: tuple[str, ...] = ()
    default_of: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return self.job.name

    @property
    def is_active(self) -> bool:
        """Whether it may change by itself."""
        return self.status.state in ACTIVE

    @property
    def where(self) -> str:
        """Its host."""
        return self.job.host or "here"


def seen(row: "JobRow", defaults: Mapping[str, str]) -> Training:
    """What there is to show of a training. Its folder is looked into, so this is for threads.

    Args:
        defaults: the default adapters, by dataset.
    """
    from kdtui.workflows.job_state import is_to_fetch

    worth: tuple[str, ...] = ()
    if row.job.outcome is not None:
        from kdtui.workflows.training.outcome import known_outcome

        outcome = known_outcome(row)
        worth = () if outcome is None else tuple(outcome.in_words)

    checkpoints = sum(not path.name.endswith(".part") for path in (row.job.folder / CHECKPOINTS).glob("step-*"))
    default_of = tuple(dataset for dataset, adapter in defaults.items() if adapter == row.job.name)
    return Training(row.job, row.status, is_to_fetch(row), checkpoints, worth, default_of)


@dataclass(frozen=True, slots=True)
class Doing:
    """What an activity is at, while it lasts."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Done:
    """What an activity has done."""

    sentence: str


class AdapterOpened(Message):
    """How a student with the adapter of a training is asked, and about which session first."""

    def __init__(self, found: "tuple[RunSettings, str, str | None]") -> None:
        super().__init__()
        self.settings, self.dataset, self.session = found


class ManifestRead(Message):
    """What a training is made of."""

    def __init__(self, found: tuple[str, str]) -> None:
        super().__init__()
        self.name, self.text = found


class Asking(Activity):
    """An activity that may wait for a host. Cancelled, it ends at once, however long the host does not answer."""

    def __init__(
        self,
        name: str,
        database: Path,
        work: "Callable[[Database], Iterator[object]]",
        post: Callable[[Message], object],
    ) -> None:
        self._stop: Callable[[], None] | None = None

        def interruptible(db: "Database") -> Iterator[object]:
            # Imported in the thread: it takes as long as a paint.
            from kdtui.workflows.async_events import Interrupt

            interrupt = Interrupt()
            self._stop = interrupt.set
            if self.is_cancelled:
                return
            with interrupt.in_force():
                yield from work(db)

        super().__init__(name, database, interruptible, post)

    def cancel(self) -> None:
        """Stop, and wait for nobody."""
        super().cancel()
        if self._stop is not None:
            self._stop()


class TrainingScreen(StoreScreen[None]):
    """A screen with a training on it that something can be done with."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._available: tuple[str | None, ...] = ()
        self._texts: dict[str, Text] = {}

    @property
    @abstractmethod
    def training(self) -> Training | None:
        """The training that is meant."""

    @abstractmethod
    def have_done(
        self,
        doing: str,
        work: "Callable[[Database], Iterator[object]]",
        *,
        training: str | None = None,
        stops: bool = False,
    ) -> None:
        """Have something done in the background, which goes on whatever screen is looked at.

        Args:
            doing: what is being done, for as long as it lasts.
            work: its events are `Doing` and `Done`, and those that the list of trainings knows.
            training: the name of the one that it is done with.
            stops: whether the training is stopped by it.
        """

    @abstractmethod
    def is_stopping(self, name: str) -> bool:
        """Whether a training was told to stop from here, and has not stopped yet."""

    @abstractmethod
    def doing_with(self, name: str) -> str | None:
        """What is being done with a training at the moment."""

    def show_text(self, selector: str, text: Text) -> None:
        """Show a text, if it is another than before: each change has all of the screen laid out anew."""
        if self._texts.get(selector) != text:
            self._texts[selector] = text
            self.query_one(selector, Static).update(text)

    def show_availability(self) -> None:
        """Show which keys work now, if those have changed: the footer is made anew by that."""
        available = tuple(
            self.why_not(action.name) for action in ACTIONS if action.place in ("jobs", "job", "training")
        )
        if available != self._available:
            self._available = available
            self.refresh_bindings()

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        if action not in ("cancel", "resume", "fetch", "adapter", "default", "remove", "manifest"):
            return super().why_not(action)
        training = self.training
        if training is None:
            return "there is no training here"
        doing = self.doing_with(training.name)
        if doing is not None and action != "manifest" and not (action == "cancel" and self.is_stopping(training.name)):
            return f"something is being done with it already: {doing}"
        return _why_not(action, training)

    def action_cancel(self) -> None:
        """Stop the training, if that is meant."""
        if (training := self.training) is None:
            return
        name, is_stopping = training.name, self.is_stopping(training.name)

        def work(db: "Database") -> Iterator[object]:
            yield from stop(db, name, now=is_stopping)

        if is_stopping:
            self._confirmed(
                f"Kill training {name}?",
                "It was told to stop, and writes its checkpoint. Killed now, it goes on from the one before, or anew.",
                "Kill it",
                ("cancel", "--now"),
                f"killing {name}{_on(training)}",
                work,
                name,
                stops=True,
            )
            return
        consequence = "It has not begun, and can be started again."
        if training.status.state != "queued":
            consequence = (
                "It writes a checkpoint first, and can go on from there; "
                "what it has not reached by then is not trained."
            )
        self._confirmed(
            f"Stop training {name}?",
            consequence,
            "Stop it",
            ("cancel",),
            f"stopping {name}{_on(training)}",
            work,
            name,
            stops=True,
        )

    def action_resume(self) -> None:
        """Go on with the training where it was."""
        if (training := self.training) is not None:
            self.have_done(
                f"starting {training.name}{_on(training)}", lambda db: start(db, training.name), training=training.name
            )

    def action_fetch(self) -> None:
        """Bring the adapter home."""
        if (training := self.training) is None:
            return
        name = training.name

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.training.service import fetch_training

            yield Done(
                f"fetched {counted(fetch_training(db, name).files, 'file')} of training {name} from {training.where}"
            )

        self.have_done(f"fetching {name} from {training.where}", work, training=name)

    def action_remove(self) -> None:
        """Delete the training, if that is meant."""
        if (training := self.training) is None:
            return
        name = training.name

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.training.service import remove_training

            remove_training(db, name)
            yield Done(f"deleted training {name}")

        away = f", here and on {training.where}" if training.job.host is not None else ""
        self._confirmed(
            f"Delete training {name}?",
            f"Its log, its checkpoints and its adapter are deleted{away}. Runs that were made with it stay.",
            "Delete it",
            ("rm",),
            f"deleting {name}{_on(training)}",
            work,
            name,
        )

    def action_adapter(self) -> None:
        """Go to the workbench with the adapter."""
        if (training := self.training) is None:
            return
        name = training.name

        def question(db: "Database") -> "tuple[RunSettings, str, str | None]":
            from kdtui.workflows.finish_jobs import finish_job
            from kdtui.workflows.training.evaluate import asked_as_trained
            from store.datasets import dataset_names
            from store.sessions import iter_sessions

            row = finish_job(db, name)
            known = dataset_names(db)
            for dataset in row.job.settings.datasets:
                if dataset in known:
                    # One that it was not trained on.
                    for split in ("valid", "test", "train"):
                        for session in iter_sessions(db, dataset, split=split, limit=1):
                            return asked_as_trained(db, row), dataset, session.id
            return asked_as_trained(db, row), "", None

        self.ask(question, AdapterOpened, group="adapter")

    def on_adapter_opened(self, message: AdapterOpened) -> None:
        """Go there."""
        choice = StudentChoice.of(message.settings)
        if message.session is not None:
            self.kdtui.open_session(message.dataset, message.session, choice)
        else:
            self.kdtui.use_choice(choice)
            self.kdtui.action_show("workbench")

    def action_default(self) -> None:
        """Have the datasets of the training answered with its adapter where none is named, or no longer."""
        if (training := self.training) is None:
            return
        name, is_default = training.name, bool(training.default_of)
        self.kdtui.forget_usual_choice()

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.adapters.defaults import drop_default, make_default

            if is_default:
                for dataset in drop_default(db, training.default_of):
                    yield Done(f"{name} is no longer the default adapter of {dataset}")
            else:
                for dataset in make_default(db, name):
                    yield Done(f"{name} is the default adapter of {dataset} now")

        self.have_done(
            f"changing what {', '.join(training.job.settings.datasets)} is answered with", work, training=name
        )

    def action_manifest(self) -> None:
        """Show what it is made of."""
        if (training := self.training) is None:
            return
        job, unless = training.job, self._no_adapter(training)

        def question(_: "Database") -> tuple[str, str]:
            return job.name, manifest(job.folder, unless)

        self.ask(question, ManifestRead, group="manifest")

    def _no_adapter(self, training: Training) -> str:
        """Why there is no adapter of a training here, and what to do; empty where there should be one."""
        state, key = training.status.state, self.kdtui.key_of
        at = "" if training.status.step is None else f", at step {steps(training.status)}"
        if training.is_away:
            return f"the adapter is on {training.where} still; {key('training.fetch')} brings it home"
        if training.is_active:
            why = f"the training is {state}{at}, and writes it at its end"
        elif state == "created":
            why = f"the training was not started; {key('training.resume')} starts it"
        elif state != "done":
            why = f"the training has {state}{at}; {key('training.resume')} goes on with it"
        else:
            return ""
        return f"there is no adapter yet: {why}"

    def on_manifest_read(self, message: ManifestRead) -> None:
        """Show it."""
        self.app.push_screen(TextDialog(f"Manifest of {message.name}", message.text))

    def _confirmed(
        self,
        question: str,
        consequence: str,
        verb: str,
        command: tuple[str, ...],
        doing: str,
        work: "Callable[[Database], Iterator[object]]",
        name: str,
        *,
        stops: bool = False,
    ) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.have_done(doing, work, training=name, stops=stops)

        same = command_line(("sft", *command), name, database=named_database(self.database))
        self.app.push_screen(ConfirmDialog(question, consequence, verb, same), answered)


def _why_not(action: str, training: Training) -> str | None:
    state, name = training.status.state, training.name
    match action:
        case "cancel" if not training.is_active:
            return f"training {name} is not running; it is {state}"
        case "resume" if training.is_active:
            return f"training {name} is at work already; it is {state}"
        case "resume" if state == "done":
            return f"training {name} is done"
        case "fetch" if training.job.host is None:
            return f"training {name} runs on no host; what it makes is here"
        case "fetch" | "adapter" | "default" if state != "done":
            return f"training {name} has no adapter yet; it is {state}"
        case "fetch" if not training.is_away:
            return f"the adapter of {name} is here already"
        case "default" if not training.job.settings.datasets:
            return f"training {name} does not say what it was trained on"
        case "adapter" | "default" if training.is_away:
            return f"the adapter of {name} is on {training.where} still; fetch it first"
        case "remove" if training.is_active:
            return f"training {name} is {state}; stop it first"
    return None


def _on(training: Training) -> str:
    """That a host is asked, where one is."""
    return f" (asking {training.where})" if training.job.host is not None else ""


def start(db: "Database", name: str) -> Iterator[object]:
    """Start a training, or go on with it, and tell how far that is."""
    from kdtui.workflows.training import service
    from kdtui.workflows.training.backend import Started
    from kdtui.workflows.training.launch_on_host import Launched, SendingFiles, Submitting

    for event in service.start_training(db, name):
        match event:
            case Started(pid):
                yield Done(f"training {name} runs as process {pid}")
            case SendingFiles(what, size):
                yield Doing(f"starting {name}: bringing {what} to its host ({size / 1e6:,.1f} MB), once")
            case Submitting():
                yield Doing(f"starting {name}: submitting it to Slurm")
            case Launched(host, number, launcher):
                kind = "Slurm job" if launcher == "slurm" else "process"
                yield Done(f"training {name} runs on {host} as {kind} {number}")
            case _:
                yield event


def stop(db: "Database", name: str, *, now: bool) -> Iterator[object]:
    """Stop a training, and tell what is waited for."""
    from kdtui.workflows.job_state import known_job
    from kdtui.workflows.training.service import cancel_training, how_it_stopped
    from models.sft.processes import Stopping

    left: tuple[str, ...] = ()
    for event in cancel_training(db, name, now=now):
        if isinstance(event, Stopping):
            yield Doing(
                f"waiting for {name} to stop: {event.seconds:,.0f} s of {event.grace:,.0f}, then it is killed; "
                f"{one_line(event.log_line, 100)}"
            )
        else:
            left = event.left
    row = known_job(db, name)
    yield Done("; ".join([how_it_stopped(row, left), *left]))


def manifest(folder: Path, no_adapter: str) -> str:
    """What a training is made of: the manifest of its adapter, and its job file, which has that as it is planned.

    Args:
        no_adapter: why there is no adapter; empty where there should be one.
    """
    from models.adapters.peft_settings import MANIFEST

    path = folder / ADAPTER / MANIFEST
    adapter = f"{one_line(no_adapter)}\n" if no_adapter and not path.exists() else _file("adapter", path)
    return f"{adapter}\n{_file('job', folder / JOB)}"


def _file(title: str, path: Path) -> str:
    """A file of JSON, or why it cannot be read."""
    import json

    from models.errors import ModelError
    from models.files.json_files import read_object

    try:
        # What is not ASCII is escaped: no text in it can do anything to a terminal.
        return f"{title}: {one_line(str(path))}\n\n{json.dumps(read_object(path), indent=2)}\n"
    except ModelError as problem:
        return f"{title}: {one_line(str(problem))}\n"


def state_text(training: Training) -> Text:
    """The state, with its sign."""
    state = training.status.state
    return Text(f"{SIGNS.get(state, '?')} {state}", style=STYLES.get(state, ""))


def steps(status: "JobStatus") -> str:
    """How far it is."""
    return "–" if status.step is None else f"{status.step:,} of {status.steps or '?'}"


def number(value: float | None) -> str:
    """Three places, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def training_details(training: Training) -> Text:
    """The numbers of a training, and what it is made of."""
    job, status = training.job, training.status
    text = Text().append_text(state_text(training))
    parts = [
        f"step {steps(status)}",
        f"loss {number(status.loss)}",
        f"pair F1 {number(status.pair_f1)}",
        *([] if status.tokens_per_second is None else [f"{status.tokens_per_second:,.0f} tokens/s"]),
        *([] if status.eta_seconds is None else [f"{duration(status.eta_seconds)} left"]),
        *([counted(training.checkpoints, "checkpoint")] if training.checkpoints else []),
    ]
    text.append(f" · {' · '.join(parts)}\n")
    if status.reason:
        text.append("why: ", style="bold")
        text.append(f"{one_line(status.reason, 300)}\n")
    settings = job.settings
    made_of = [
        f"on {training.where}" if job.host else "here",
        f"of {', '.join(settings.datasets) or 'what its files say'}",
        settings.form,
        *([f"with {', '.join(settings.knowledge)}"] if settings.knowledge else []),
        *(["to be written"] if settings.target else []),
        *([f"of sample {settings.sample}"] if settings.sample else []),
        counted(settings.epochs, "epoch"),
        *([f"from {settings.began_from}"] if settings.began_from else []),
        *([f"after {job.after}"] if job.after else []),
        *([f"seen {ago(job.seen_at)}"] if job.seen_at else []),
        *([f"its adapter is on {training.where} still"] if training.is_away else []),
    ]
    text.append(one_line(" · ".join(made_of), 300))
    for line in training.worth:
        text.append(f"\n{one_line(line, 300)}")
    if training.default_of:
        text.append(f"\ndefault adapter of {one_line(', '.join(training.default_of), 200)}")
    return text
