"""Actions on a study, for the list of studies and the screen of one."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.text import counted, fit_lines
from kdtui.tui.actions import ACTIONS
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.core.store_version import store_version
from kdtui.tui.core.store_worker import StoreChanged, named_database
from kdtui.tui.core.task import Task
from kdtui.tui.places.studies.report import ReportForm, ReportRequest, StudyReport
from kdtui.tui.places.studies.study_run import StudyRun

if TYPE_CHECKING:
    from kdtui.workflows.studies.overview import StudyRow
    from kdtui.workflows.studies.plan import StudyPlan
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database


class StudyReady(Message):
    """A study is ready to run.

    Attributes:
        source: preset or path of the study; None for a stored one.
        price: the calls to pay for, in words; empty for none.
        retried: the failures to retry, in words; empty for none.
        cells: names of the only cells to run, by key; empty for all.
        earlier: what becomes of a stored study of the same name, in words; empty for this one.
        command: the shell command that does the same.
    """

    def __init__(
        self,
        spec: "Spec",
        source: str | None,
        price: str,
        retried: str,
        cells: Mapping[str, str],
        earlier: str,
        command: str,
        *,
        retry_failed: bool,
    ) -> None:
        super().__init__()
        self.spec, self.source, self.price, self.retry_failed = spec, source, price, retry_failed
        self.retried, self.cells, self.earlier, self.command = retried, cells, earlier, command


class StudyDeleted(StoreChanged):
    """A study was deleted."""


class AnswersFound(Message):
    """The questions of a study are answered."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__()
        self.name, self.text = name, text


_TICK = 1.0
"""Seconds between two checks whether another process has changed the store."""


class StudyActions(StoreScreen[None]):
    """A screen with one study to act on, and at most one that this app runs."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._available: tuple[str | None, ...] = ()
        self._store_version: tuple[object, ...] = ()
        self._changes = 0

    @property
    @abstractmethod
    def study(self) -> "StudyRow | None":
        """The study under the cursor, or the one that the screen shows; None if there is none."""

    @abstractmethod
    def read(self) -> None:
        """Ask the store for what this screen shows."""

    @abstractmethod
    def show_loaded(self) -> None:
        """Show again what was read, if anything was."""

    @property
    def study_run(self) -> StudyRun | None:
        """The study that this app runs; None if it runs none."""
        task = self.kdtui.tasks.get(StudyRun.kind)
        return task if isinstance(task, StudyRun) and not task.is_over else None

    @property
    def is_run_here(self) -> bool:
        """Whether this app runs the study that the actions are for."""
        return self.study_run is not None and self.study is not None and self.study_run.study == self.study.name

    def on_mount(self) -> None:
        """Load after the first paint, when the store changes, and while this app runs a study."""
        self.kdtui.task_changed.subscribe(self, self._show_task)
        self.call_after_refresh(self.load)
        self.set_interval(_TICK, self._tick)

    def load(self) -> None:
        """Read the store again."""
        self._store_version = store_version(self.database)
        self.read()

    def see_other_data(self) -> None:
        self.load()

    def action_reload(self) -> None:
        self.load()

    def _tick(self) -> None:
        # A study that this app runs reports its changes itself.
        if self.is_current and self.study_run is None and store_version(self.database) != self._store_version:
            self.load()

    def _show_task(self, task: Task) -> None:
        """Show the progress of the study that this app runs; it can share cells with the one on the screen."""
        if not isinstance(task, StudyRun):
            return
        if task.is_over or task.changes != self._changes:
            self._changes = task.changes
            self.load()
        else:
            self.show_loaded()
        self.show_availability()

    def show_availability(self) -> None:
        """Refresh the footer, which remakes it, if other keys work now."""
        names = [action.name for action in ACTIONS if action.scope in ("studies", "study", "cell")]
        available = tuple(self.why_not(name) for name in names)
        is_paused = str(self.study_run is not None and self.study_run.is_paused)
        if (*available, is_paused) != self._available:
            self._available = (*available, is_paused)
            self.refresh_bindings()

    # Running

    def action_run(self) -> None:
        """Run the remaining steps of the study."""
        if self.study is not None:
            self.prepare(_stored(self.study.name), None)

    def action_retry(self) -> None:
        """Run the remaining steps, and retry the failed ones."""
        if self.study is not None:
            self.prepare(_stored(self.study.name), None, retry_failed=True)

    def run_only(self, cell: str) -> None:
        """Run the remaining steps of one cell, and retry its failed ones.

        Args:
            cell: the key of the cell.
        """
        if self.study is not None:
            self.prepare(_stored(self.study.name), None, retry_failed=True, cells=[cell])

    def prepare(
        self,
        spec_of: "Callable[[Database], Spec]",
        source: str | None,
        *,
        retry_failed: bool = False,
        cells: Sequence[str] = (),
        command_of: Callable[[bool], str] | None = None,
    ) -> None:
        """Check whether a study can run and what it costs; run it at once if it costs nothing.

        Args:
            spec_of: reads the study from the store, in a thread.
            source: preset or path of the study; None for a stored one.
            cells: keys of the only cells to run; empty for all.
            command_of: returns the shell command for a study that is not stored yet; its argument says whether it
                replaces another study.
        """

        def look_up(db: "Database") -> StudyReady:
            # The events need this module; importing it in this thread keeps the screen responsive.
            from kdtui.workflows.studies import run  # noqa: F401
            from kdtui.workflows.studies.choose_spec import earlier_study
            from kdtui.workflows.studies.forecast import check_study_budget, forecast
            from kdtui.workflows.studies.plan import check_models, make_plan, narrowed_plan

            spec = spec_of(db)
            check_models(db, spec)
            plan = narrowed_plan(make_plan(db, spec), cells)
            left = forecast(db, plan, retry_failed=retry_failed)
            check_study_budget(left)
            price = "; ".join(left.in_words()) if left.calls else ""
            retried = _failed_in_words(plan) if retry_failed else ""
            names = {key: plan.cell_names[key] for key in cells}
            earlier = None if source is None else earlier_study(db, spec)
            lost = "" if earlier is None else earlier.in_words
            command = _command(self.database, spec.name, names, retry_failed=retry_failed)
            if command_of is not None:
                command = command_of(earlier is not None and earlier.is_another)
            return StudyReady(spec, source, price, retried, names, lost, command, retry_failed=retry_failed)

        self.ask(look_up, lambda ready: ready, group="prepare")

    def on_study_ready(self, message: StudyReady) -> None:
        """Run the study, after consent if it costs money or replaces another."""
        spec = message.spec
        resume = _command(self.database, spec.name, message.cells, retry_failed=message.retry_failed)

        def begin(has_consent: bool | None) -> None:
            if not has_consent:
                return
            run = StudyRun(
                self.database,
                spec,
                self.app.post_message,
                source=message.source,
                retry_failed=message.retry_failed,
                cells=message.cells,
                command=resume,
            )
            if self.kdtui.begin_task(run) is not run:
                self.say("this app is running a study already; one at a time")
            elif message.retried:
                self.say(f"study {spec.name}: retrying {message.retried}", error=False)

        consequences = [f"It takes {message.price}."] if message.price else []
        if message.earlier:
            consequences.insert(0, f"It replaces an earlier one: {message.earlier}.")
        if not consequences:
            begin(True)
        elif self.is_current:
            dialog = ConfirmDialog(f"Run study {spec.name}?", " ".join(consequences), "Run it", message.command)
            self.app.push_screen(dialog, begin)

    def action_pause(self) -> None:
        """Pause the study that this app runs."""
        if self.study_run is not None:
            self.study_run.pause()
            self.kdtui.task_changed.publish(self.study_run)

    def action_resume(self) -> None:
        """Resume the study that this app runs."""
        if self.study_run is not None:
            self.study_run.resume()
            self.kdtui.task_changed.publish(self.study_run)

    def action_cancel(self) -> None:
        """Stop the study that this app runs."""
        if self.study_run is not None:
            self.kdtui.stop_task(self.study_run)

    # Results

    def action_answers(self) -> None:
        """Answer the questions of the study."""
        if self.study is None:
            return
        name, named = self.study.name, named_database(self.database)
        self.say(f"comparing the cells of study {name}…", error=False)

        def look_up(db: "Database") -> tuple[str, str]:
            from kdtui.workflows.studies.overview import open_study
            from kdtui.workflows.studies.results import study_results
            from kdtui.workflows.studies.verdicts import comparison_in_words

            lines = []
            for answer in study_results(db, open_study(db, name)[1]).questions:
                labels = {row.name: row.label_in(answer.question) for row in answer.rows}
                lines += [answer.question.title, answer.answer, *([answer.caveat] if answer.caveat else []), ""]
                lines += [
                    f"  {labels[each.other]} against {labels[each.baseline]}: {comparison_in_words(each)}"
                    for each in answer.comparisons
                ]
                lines.append("")
            command = command_line(("study", "answers"), name, database=named)
            return name, fit_lines("\n".join([*lines, f"$ {command}"]))

        self.ask(look_up, lambda answers: AnswersFound(*answers), group="answers")

    def on_answers_found(self, message: AnswersFound) -> None:
        if self.is_current:
            self.app.push_screen(TextDialog(f"Answers of study {message.name}", message.text))

    def action_report(self) -> None:
        """Ask which report to write, and where."""
        if self.study is None:
            return
        name, memory = self.study.name, self.remembered("studies")

        def write(request: ReportRequest | None) -> None:
            if request is not None:
                memory["report"] = request.to_memory()
                self.kdtui.begin_task(StudyReport(self.database, name, request, self.app.post_message))

        form = ReportForm(name, memory.get("report"), named_database(self.database))
        self.app.push_screen(FormDialog(form), write)

    # Deletion

    def action_delete(self) -> None:
        """Delete the study after confirmation."""
        if self.study is None:
            return
        name = self.study.name

        def change(db: "Database") -> StudyDeleted:
            from store.studies import delete_study

            delete_study(db, name)
            return StudyDeleted(f"study {name} is deleted")

        def delete(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self.write(change)

        command = command_line(("study", "rm"), name, database=named_database(self.database))
        consequence = "Its runs, samples and adapters stay, since other studies can share them."
        self.app.push_screen(ConfirmDialog(f"Delete study {name}?", consequence, "Delete", command), delete)

    # Availability of actions

    def why_not(self, action: str) -> str | None:
        if action in ("pause", "resume", "cancel"):
            if self.study_run is None:
                return "this app is not running a study"
            is_stopping = self.study_run.is_cancelled
            return "the study is being stopped already" if is_stopping else None
        if action in ("run", "retry", "only", "delete"):
            return self._why_not_run(action)
        if action in ("answers", "report"):
            return self._why_no_results(action)
        return super().why_not(action)

    def _why_no_results(self, action: str) -> str | None:
        study = self.study if self.is_mounted else None
        if study is None:
            return "the cursor is not on a study"
        if study.problem is not None:
            return study.problem
        if not study.done:
            return "no cell of the study is done yet"
        task = self.kdtui.tasks.get(StudyReport.kind)
        return f"{task.name} is running" if action == "report" and task is not None and not task.is_over else None

    def _why_not_run(self, action: str) -> str | None:
        study = self.study if self.is_mounted else None
        if study is None:
            return "the cursor is not on a study"
        stops = self.kdtui.key_of("study.cancel")
        if self.is_run_here:
            return f"the study is running; {stops} stops it"
        if study.is_running:
            process = "another process" if study.process is None else f"process {study.process}"
            return f"{process} runs the study; stop it there"
        if action == "delete":
            return None
        if study.problem is not None:
            return study.problem
        if self.study_run is not None:
            return f"study {self.study_run.study} is running; {stops} stops it, and one runs at a time"
        if action == "retry" and not study.failed and not study.unanswered:
            return "nothing has failed"
        if action == "run" and not study.can_run:
            if study.failed:
                return f"only failed steps are left; {self.kdtui.key_of('study.retry')} retries them"
            again = f"; {self.kdtui.key_of('study.retry')} retries those" if study.unanswered else ""
            return f"the study is {study.extent}{again}"
        return None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Give the key that pausing and resuming share to one of them."""
        is_paused = self.is_mounted and self.study_run is not None and self.study_run.is_paused
        if action in ("pause", "resume") and is_paused != (action == "resume"):
            return False
        return super().check_action(action, parameters)


def _command(database: Path, name: str, cells: Mapping[str, str], *, retry_failed: bool) -> str:
    """Return the shell command that runs a stored study.

    Args:
        cells: names of the only cells to run, by key; empty for all.
    """
    words = ("study", "run", "--retry-failed") if retry_failed else ("study", "run")
    return command_line(words, name, {"--cell": list(cells.values())}, database=named_database(database))


def _failed_in_words(plan: "StudyPlan") -> str:
    """Return how many steps and sessions of a study failed."""
    parts = [counted(plan.failed, "step")] if plan.failed else []
    parts += [counted(plan.unanswered, "session")] if plan.unanswered else []
    return " and ".join(parts)


def _stored(name: str) -> "Callable[[Database], Spec]":
    def spec_of(db: "Database") -> "Spec":
        from kdtui.workflows.studies.overview import open_study

        return open_study(db, name)[1].spec

    return spec_of
