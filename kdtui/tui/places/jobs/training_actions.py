"""Actions on a training, for the list of trainings and the screen of one."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.message import Message
from textual.widgets import Static

from kdtui.text import counted
from kdtui.tui.actions import ACTIONS
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.jobs.training_snapshot import TrainingSnapshot
from kdtui.tui.places.jobs.training_text import manifest_text, step_text
from kdtui.tui.places.jobs.training_work import TrainingDeleted, WorkDone, start_and_report, stop_and_report

if TYPE_CHECKING:
    from kdtui.workflows.model_uses import ModelUses
    from store.records import RunSettings
    from store.sqlite import Database


class AdapterOpened(Message):
    """The settings that ask a student with the adapter of a training, and a session to ask it about."""

    def __init__(self, settings: "RunSettings", dataset: str, session: str | None) -> None:
        super().__init__()
        self.settings, self.dataset, self.session = settings, dataset, session


class AdapterUsesFound(Message):
    """It is known what uses the adapter of a training."""

    def __init__(self, training: TrainingSnapshot, uses: "ModelUses") -> None:
        super().__init__()
        self.training, self.uses = training, uses


class ManifestRead(Message):
    """The manifest of a training was read."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__()
        self.name, self.text = name, text


class TrainingActions(StoreScreen[None]):
    """A screen with one training to act on."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._available: tuple[str | None, ...] = ()
        self._texts: dict[str, Text] = {}

    @property
    @abstractmethod
    def training(self) -> TrainingSnapshot | None:
        """The training under the cursor, or the one that the screen shows; None if there is none."""

    @property
    def no_training(self) -> str:
        """Why there is no training to act on."""
        return "there is no training"

    @abstractmethod
    def begin_work(
        self,
        label: str,
        work: "Callable[[Database], Iterator[object]]",
        *,
        training: str | None = None,
        stops: bool = False,
    ) -> None:
        """Begin work in the background, which continues when the user leaves the screen.

        Args:
            label: what the work does, shown while it runs.
            work: yields `WorkProgress` and `WorkDone`, and other events that the list of trainings handles.
            training: the name of the training that it works on.
            stops: whether it stops the training.
        """

    @abstractmethod
    def is_stopping(self, name: str) -> bool:
        """Return whether this app is stopping a training."""

    @abstractmethod
    def work_on(self, name: str) -> str | None:
        """Return the label of the work that runs on a training, or None."""

    def show_text(self, selector: str, text: Text) -> None:
        """Show a text if it has changed; each change lays out the whole screen again."""
        if self._texts.get(selector) != text:
            self._texts[selector] = text
            self.query_one(selector, Static).update(text)

    def show_availability(self) -> None:
        """Refresh the footer, which remakes it, if other keys work now."""
        available = tuple(
            self.why_not(action.name) for action in ACTIONS if action.scope in ("jobs", "job", "training")
        )
        if available != self._available:
            self._available = available
            self.refresh_bindings()

    def why_not(self, action: str) -> str | None:
        if action not in ("cancel", "resume", "fetch", "adapter", "default", "remove", "manifest"):
            return super().why_not(action)
        training = self.training
        if training is None:
            return self.no_training
        work = self.work_on(training.name)
        if work is not None and action != "manifest" and not (action == "cancel" and self.is_stopping(training.name)):
            return f"the training is busy: {work}"
        return _why_not(action, training)

    def action_cancel(self) -> None:
        """Stop the training after confirmation; if it is stopping already, kill it."""
        if (training := self.training) is None:
            return
        name, is_stopping = training.name, self.is_stopping(training.name)

        def work(db: "Database") -> Iterator[object]:
            yield from stop_and_report(db, name, now=is_stopping)

        if is_stopping:
            self._confirm(
                f"Kill training {name}?",
                "It is stopping, and writes its checkpoint. Killed now, it can resume only from the checkpoint before "
                "that, or starts over.",
                "Kill it",
                ("cancel", "--now"),
                f"killing {name}{_asked_host(training)}",
                work,
                name,
                stops=True,
            )
            return
        consequence = "It has not begun, and can be started again."
        if training.status.state != "queued":
            consequence = (
                "It writes a checkpoint first, and can resume from there; the remaining steps are not trained."
            )
        self._confirm(
            f"Stop training {name}?",
            consequence,
            "Stop it",
            ("cancel",),
            f"stopping {name}{_asked_host(training)}",
            work,
            name,
            stops=True,
        )

    def action_resume(self) -> None:
        """Start or resume the training."""
        if (training := self.training) is not None:
            self.begin_work(
                f"starting {training.name}{_asked_host(training)}",
                lambda db: start_and_report(db, training.name),
                training=training.name,
            )

    def action_fetch(self) -> None:
        """Fetch the adapter from its host."""
        if (training := self.training) is None:
            return
        name = training.name

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.training.service import fetch_training

            files = counted(fetch_training(db, name).files, "file")
            yield WorkDone(f"fetched {files} of training {name} from {training.where}")

        self.begin_work(f"fetching {name} from {training.where}", work, training=name)

    def action_remove(self) -> None:
        """Ask whether to delete the training, after finding out what uses its adapter."""
        if (training := self.training) is None:
            return

        def question(db: "Database") -> "ModelUses":
            from kdtui.workflows.model_uses import uses_of_model

            return uses_of_model(db, training.name)

        self.ask(question, partial(AdapterUsesFound, training), group="uses")

    def on_adapter_uses_found(self, message: AdapterUsesFound) -> None:
        """Delete the training after confirmation."""
        if not self.is_current:
            return
        training, name = message.training, message.training.name

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.training.service import remove_training

            remove_training(db, name)
            yield TrainingDeleted(name)

        places = f", on this machine and on {training.where}" if training.job.host is not None else ""
        words = message.uses.in_words
        uses = f"The adapter is {', and '.join(words)}. " if words else ""
        self._confirm(
            f"Delete training {name}?",
            f"Its log, its checkpoints and its adapter are deleted{places}. {uses}Runs that were made with it stay.",
            "Delete it",
            ("rm",),
            f"deleting {name}{_asked_host(training)}",
            work,
            name,
        )

    def action_adapter(self) -> None:
        """Ask the adapter in the workbench."""
        if (training := self.training) is None:
            return
        name = training.name

        def question(db: "Database") -> "tuple[RunSettings, str, str | None]":
            from kdtui.workflows.finish_jobs import finish_job
            from kdtui.workflows.training.evaluate import settings_of_training
            from store.datasets import dataset_names
            from store.sessions import iter_sessions

            row = finish_job(db, name)
            existing = dataset_names(db)
            for dataset in row.job.settings.datasets:
                if dataset in existing:
                    # Prefer a session that the adapter was not trained on.
                    for split in ("valid", "test", "train"):
                        for session in iter_sessions(db, dataset, split=split, limit=1):
                            return settings_of_training(db, row), dataset, session.id
            return settings_of_training(db, row), "", None

        self.ask(question, lambda answer: AdapterOpened(*answer), group="adapter")

    def on_adapter_opened(self, message: AdapterOpened) -> None:
        """Go to the workbench."""
        choice = StudentChoice.of(message.settings)
        if message.session is not None:
            self.kdtui.open_session(message.dataset, message.session, choice)
        else:
            self.kdtui.use_choice(choice)
            self.kdtui.action_show("workbench")

    def action_default(self) -> None:
        """Make the adapter the default of its datasets, or no longer the default."""
        if (training := self.training) is None:
            return
        name, is_default = training.name, bool(training.default_of)
        self.kdtui.forget_usual_choice()

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.adapters.defaults import drop_default, make_default

            if is_default:
                for dataset in drop_default(db, training.default_of):
                    yield WorkDone(f"{name} is no longer the default adapter of {dataset}")
            else:
                for dataset in make_default(db, name):
                    yield WorkDone(f"{name} is the default adapter of {dataset} now")

        datasets = ", ".join(training.job.settings.datasets)
        self.begin_work(f"changing the default adapter of {datasets}", work, training=name)

    def action_manifest(self) -> None:
        """Show the manifest of the adapter, and the job file."""
        if (training := self.training) is None:
            return
        job, no_adapter = training.job, self._why_no_adapter(training)

        def question(_: "Database") -> tuple[str, str]:
            return job.name, manifest_text(job.folder, no_adapter)

        self.ask(question, lambda answer: ManifestRead(*answer), group="manifest")

    def _why_no_adapter(self, training: TrainingSnapshot) -> str:
        """Return why there is no adapter on this machine, and what to do; empty if there should be one."""
        state, key = training.status.state, self.kdtui.key_of
        at = "" if training.status.step is None else f", at step {step_text(training.status)}"
        if training.is_away:
            return f"the adapter is still on {training.where}; {key('training.fetch')} fetches it"
        if training.is_active:
            reason = f"the training is {state}{at}, and writes its adapter at the end"
        elif state == "created":
            reason = f"the training was not started; {key('training.resume')} starts it"
        elif state != "done":
            reason = f"the training has {state}{at}; {key('training.resume')} resumes it"
        else:
            return ""
        return f"there is no adapter yet: {reason}"

    def on_manifest_read(self, message: ManifestRead) -> None:
        self.app.push_screen(TextDialog(f"Manifest of {message.name}", message.text))

    def _confirm(
        self,
        question: str,
        consequence: str,
        verb: str,
        command: tuple[str, ...],
        label: str,
        work: "Callable[[Database], Iterator[object]]",
        name: str,
        *,
        stops: bool = False,
    ) -> None:
        """Ask whether to begin some work on a training; see `begin_work`."""

        def begin(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self.begin_work(label, work, training=name, stops=stops)

        same = command_line(("sft", *command), name, database=named_database(self.database))
        self.app.push_screen(ConfirmDialog(question, consequence, verb, same), begin)


def _why_not(action: str, training: TrainingSnapshot) -> str | None:
    state, name = training.status.state, training.name
    match action:
        case "cancel" if not training.is_active:
            return f"training {name} is not running; it is {state}"
        case "resume" if training.is_active:
            return f"training {name} is {state} already"
        case "resume" if state == "done":
            return f"training {name} is done"
        case "fetch" if training.job.host is None:
            return f"training {name} does not run on a host; its adapter is written on this machine"
        case "fetch" | "adapter" | "default" if state != "done":
            return f"training {name} has no adapter yet; it is {state}"
        case "fetch" if not training.is_away:
            return f"the adapter of {name} is on this machine already"
        case "default" if not training.job.settings.datasets:
            return f"training {name} does not say what it was trained on"
        case "adapter" | "default" if training.is_away:
            return f"the adapter of {name} is still on {training.where}; fetch it first"
        case "remove" if training.is_active:
            return f"training {name} is {state}; stop it first"
    return None


def _asked_host(training: TrainingSnapshot) -> str:
    """Return the part of a label that names the host of a training, if it has one."""
    return f" (asking {training.where})" if training.job.host is not None else ""
