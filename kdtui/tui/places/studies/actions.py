"""What can be done with a study, in the list of them and in its own screen."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.text import counted, fit_lines
from kdtui.tui.actions import ACTIONS
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.core.task import Task
from kdtui.tui.places.studies.report import StudyReport, report_form
from kdtui.tui.places.studies.study_run import StudyRun

if TYPE_CHECKING:
    from kdtui.workflows.studies.overview import StudyRow
    from kdtui.workflows.studies.plan import StudyPlan
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database


class StudyReady(Message):
    """A study can be run.

    Attributes:
        source: what it is of, where it is not stored yet.
        price: what is to be paid for, in words; empty for nothing.
        retried: what is tried again, in words; empty for nothing.
        cells: the names of those that are done alone, by their keys; empty for all.
        earlier: what becomes of a stored study of the same name, in words; empty where it is this one.
        command: does the same in a shell.
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


class StudyDeleted(Message):
    """A study is gone."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class AnswersFound(Message):
    """The questions of a study are answered."""

    def __init__(self, found: tuple[str, str]) -> None:
        super().__init__()
        self.name, self.text = found


class StudyActions(StoreScreen[None]):
    """A screen with a study on it that something can be done with."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._available: tuple[str | None, ...] = ()

    @property
    @abstractmethod
    def study(self) -> "StudyRow | None":
        """The study that is meant."""

    @abstractmethod
    def look(self) -> None:
        """Look at the store again."""

    @abstractmethod
    def show_work(self, work: StudyRun) -> None:
        """Show how far the study is that is run here."""

    @property
    def work(self) -> StudyRun | None:
        """The study that is run here; None where none is."""
        task = self.kdtui.tasks.get(StudyRun.kind)
        return task if isinstance(task, StudyRun) and not task.is_over else None

    @property
    def is_run_here(self) -> bool:
        """Whether it is the study that is meant."""
        return self.work is not None and self.study is not None and self.work.study == self.study.name

    def on_mount(self) -> None:
        """Hear of the study that is run here."""
        self.kdtui.task_changed.subscribe(self, self._see_work)

    def _see_work(self, task: Task) -> None:
        if isinstance(task, StudyRun):
            self.show_work(task)
            self.show_availability()

    def show_availability(self) -> None:
        """Show which keys work now, if those have changed: the footer is made anew by that."""
        names = [action.name for action in ACTIONS if action.place in ("studies", "study", "cell")]
        available = tuple(self.why_not(name) for name in names)
        paused = str(self.work is not None and self.work.is_paused)
        if (*available, paused) != self._available:
            self._available = (*available, paused)
            self.refresh_bindings()

    # To run it

    def action_run(self) -> None:
        """Do what the study has left to do."""
        if self.study is not None:
            self.prepare(_stored(self.study.name), None)

    def action_retry(self) -> None:
        """Do that, and try again what has failed."""
        if self.study is not None:
            self.prepare(_stored(self.study.name), None, retry_failed=True)

    def do_only(self, cell: str) -> None:
        """Do what a cell of the study has left to do, and try again what has failed of it.

        Args:
            cell: its key.
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
        """See whether a study can be run, and what is to be paid for it; it begins at once where that is nothing.

        Args:
            spec_of: gives the study, in a thread.
            source: what it is of, where it is not stored yet.
            cells: the keys of those that are done alone; empty for all.
            command_of: gives what does the same in a shell, where the study is not stored yet; it takes whether another
                study is replaced.
        """

        def question(db: "Database") -> StudyReady:
            # What its events are told apart by is imported here: that takes longer than a screen may stand still.
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

        self.ask(question, lambda ready: ready, group="prepare")

    def on_study_ready(self, message: StudyReady) -> None:
        """Begin, once it is agreed to what is to be paid for."""
        spec = message.spec
        resume = _command(self.database, spec.name, message.cells, retry_failed=message.retry_failed)

        def begin(yes: bool | None) -> None:
            if not yes:
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
                self.say("a study is at work here already; one at a time")
            elif message.retried:
                self.say(f"study {spec.name}: trying again {message.retried}", error=False)

        consequences = [f"It takes {message.price}."] if message.price else []
        if message.earlier:
            consequences.insert(0, f"It takes the place of an earlier one: {message.earlier}.")
        if not consequences:
            begin(True)
        elif self.is_current:
            dialog = ConfirmDialog(f"Run study {spec.name}?", " ".join(consequences), "Run it", message.command)
            self.app.push_screen(dialog, begin)

    def action_pause(self) -> None:
        """Pause the study that is run here."""
        if self.work is not None:
            self.work.pause()
            self.kdtui.task_changed.publish(self.work)

    def action_resume(self) -> None:
        """Resume it."""
        if self.work is not None:
            self.work.resume()
            self.kdtui.task_changed.publish(self.work)

    def action_cancel(self) -> None:
        """Stop it."""
        if self.work is not None:
            self.kdtui.stop_task(self.work)

    # What has come of it

    def action_answers(self) -> None:
        """Have the questions of the study answered."""
        if self.study is None:
            return
        name, named = self.study.name, named_database(self.database)
        self.say(f"comparing the cells of study {name}…", error=False)

        def question(db: "Database") -> tuple[str, str]:
            from kdtui.workflows.studies.overview import open_study
            from kdtui.workflows.studies.results import study_results
            from kdtui.workflows.studies.verdicts import phrase

            lines = []
            for found in study_results(db, open_study(db, name)[1]).questions:
                labels = {row.name: row.label_in(found.question) for row in found.rows}
                lines += [found.question.title, found.answer, *([found.caveat] if found.caveat else []), ""]
                lines += [
                    f"  {labels[each.other]} against {labels[each.baseline]}: {phrase(each)}"
                    for each in found.comparisons
                ]
                lines.append("")
            command = command_line(("study", "answers"), name, database=named)
            return name, fit_lines("\n".join([*lines, f"$ {command}"]))

        self.ask(question, AnswersFound, group="answers")

    def on_answers_found(self, message: AnswersFound) -> None:
        """Show the answers."""
        if self.is_current:
            self.app.push_screen(TextDialog(f"Answers of study {message.name}", message.text))

    def action_report(self) -> None:
        """Ask what is to be written of the study, and where."""
        if self.study is None:
            return
        name, memory = self.study.name, self.remembered("studies")

        def then(values: dict[str, str] | None) -> None:
            if values is not None:
                memory["report"] = values
                self.kdtui.begin_task(StudyReport(self.database, name, values, self.app.post_message))

        self.app.push_screen(report_form(name, memory.get("report"), named_database(self.database)), then)

    # To delete it

    def action_delete(self) -> None:
        """Delete the study, once that is confirmed."""
        if self.study is None:
            return
        name = self.study.name

        def question(db: "Database") -> str:
            from store.studies import delete_study

            delete_study(db, name)
            return name

        def then(yes: bool | None) -> None:
            if yes:
                self.ask(question, StudyDeleted, group="delete")

        command = command_line(("study", "rm"), name, database=named_database(self.database))
        consequence = "Its runs, samples and adapters stay: other studies may have them in common."
        self.app.push_screen(ConfirmDialog(f"Delete study {name}?", consequence, "Delete", command), then)

    # What can be done

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        if action in ("pause", "resume", "cancel"):
            if self.work is None:
                return "no study is at work here"
            is_stopping = self.work.is_cancelled
            return "the study is being stopped already" if is_stopping else None
        if action in ("run", "retry", "only", "delete"):
            return self._why_not(action)
        if action in ("answers", "report"):
            return self._why_nothing_to_tell(action)
        return super().why_not(action)

    def _why_nothing_to_tell(self, action: str) -> str | None:
        study = self.study if self.is_mounted else None
        if study is None:
            return "the cursor is on no study"
        if study.problem is not None:
            return study.problem
        if not study.done:
            return "no cell of the study is done yet"
        task = self.kdtui.tasks.get(StudyReport.kind)
        return f"{task.name} is at work" if action == "report" and task is not None and not task.is_over else None

    def _why_not(self, action: str) -> str | None:
        study = self.study if self.is_mounted else None
        if study is None:
            return "the cursor is on no study"
        stops = self.kdtui.key_of("study.cancel")
        if self.is_run_here:
            return f"the study is at work; {stops} stops it"
        if study.is_running:
            process = "another process" if study.process is None else f"process {study.process}"
            return f"{process} runs the study; stop it there"
        if action == "delete":
            return None
        if study.problem is not None:
            return study.problem
        if self.work is not None:
            return f"study {self.work.study} is at work; {stops} stops it, and one runs at a time"
        if action == "retry" and not study.failed and not study.unanswered:
            return "nothing has failed"
        if action == "run" and not study.can_run:
            if study.failed:
                return f"only what has failed is left; {self.kdtui.key_of('study.retry')} tries it again"
            again = f"; {self.kdtui.key_of('study.retry')} tries those again" if study.unanswered else ""
            return f"the study is {study.extent}{again}"
        return None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Pausing and resuming share a key."""
        is_paused = self.is_mounted and self.work is not None and self.work.is_paused
        if action in ("pause", "resume") and is_paused != (action == "resume"):
            return False
        return super().check_action(action, parameters)


def _command(database: Path, name: str, cells: Mapping[str, str], *, retry_failed: bool) -> str:
    """What runs a stored study in a shell.

    Args:
        cells: the names of those that are done alone.
    """
    words = ("study", "run", "--retry-failed") if retry_failed else ("study", "run")
    return command_line(words, name, {"--cell": list(cells.values())}, database=named_database(database))


def _failed_in_words(plan: "StudyPlan") -> str:
    """How much of a study has failed."""
    parts = [counted(plan.failed, "step")] if plan.failed else []
    parts += [counted(plan.unanswered, "session")] if plan.unanswered else []
    return " and ".join(parts)


def _stored(name: str) -> "Callable[[Database], Spec]":
    def spec_of(db: "Database") -> "Spec":
        from kdtui.workflows.studies.overview import open_study

        return open_study(db, name)[1].spec

    return spec_of
