"""A study that the app runs, and its progress."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from kdtui.text import counted
from kdtui.tui.core.task import Task
from kdtui.workflows.pause_gate import PauseGate

if TYPE_CHECKING:
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database


class StudyRun(Task):
    """Runs the remaining steps of a study.

    Args:
        source: preset or path of a study to store first; None for a stored one.
        cells: names of the only cells to run, by key; empty for all.
        command: the shell command that resumes the study.

    Attributes:
        study: the name of the study.
        amounts: finished and total amounts of the running steps, by key.
        changes: number of steps that have begun or ended; when it changes, the plan has to be read again.
    """

    kind: ClassVar[str] = "study"
    action: ClassVar[str] = ""
    changes_data: ClassVar[bool] = True

    def __init__(
        self,
        database: Path,
        spec: "Spec",
        post: Callable[[Message], object],
        *,
        source: str | None,
        retry_failed: bool,
        cells: Mapping[str, str],
        command: str,
    ) -> None:
        self.study = spec.name
        self.amounts: dict[str, tuple[int, int]] = {}
        self.changes = 0
        self._command = command
        self._only = cells
        self._gate = gate = PauseGate()
        self._labels: dict[str, str] = {}
        self._cells: frozenset[str] = frozenset()
        self._done: set[str] = set()
        self._failures: list[str] = []
        self._kept = 0
        self._is_whole = False

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.studies.events import Planned
            from kdtui.workflows.studies.run import run_study
            from kdtui.workflows.studies.spec_files import to_toml
            from kdtui.workflows.training.plan import jobs_folder
            from store.studies import save_study

            jobs = jobs_folder(database)
            for event in run_study(db, spec, jobs, retry_failed=retry_failed, cells=tuple(cells), gate=gate):
                # Stored only now, since a study that is refused must not change the running one.
                if isinstance(event, Planned) and source is not None:
                    save_study(db, spec.name, to_toml(spec), source)
                yield event
            if not gate.closed:
                yield _ALL

        super().__init__(f"study {spec.name}", database, work, post, {}, stop=gate.close)

    # Pausing

    def pause(self) -> None:
        """Start no further steps; trainings that have begun continue."""
        self._gate.hold()

    def resume(self) -> None:
        """Resume a paused study."""
        self._gate.release()

    @property
    def is_paused(self) -> bool:
        """Whether the study is paused, or pauses as soon as it can."""
        return self._gate.is_held

    # Progress

    def record(self, event: object) -> None:
        """Record which steps have begun, progressed or ended."""
        from kdtui.workflows.studies import events

        match event:
            case events.Planned(plan):
                self._cells = frozenset(cell.key for cell in plan.cells)
                self._done = {cell.key for cell in plan.cells if cell.status == "done"}
            case events.StepBegun(step):
                self._labels[step.key] = event.in_words
            case events.StepProgress(step, done, of):
                self.amounts[step.key] = done, of
            case events.StepDone(step) | events.StepFailed(step) | events.StepBlocked(step):
                self._labels.pop(step.key, None)
                self.amounts.pop(step.key, None)
                if isinstance(event, events.StepDone) and step.key in self._cells:
                    self._done.add(step.key)
                self._kept += isinstance(event, events.StepFailed) and step.status == "done"
                if alarm := self.alarm(event):
                    self._failures.append(alarm)
            case _ if event is _ALL:
                self._is_whole = True
        if not isinstance(event, events.StepProgress | events.HostLost):
            self.changes += 1

    def alarm(self, event: object) -> str:
        """Return why a step failed, or what is wrong with a host; empty otherwise."""
        from kdtui.workflows.studies import events
        from kdtui.workflows.studies.labels import label

        match event:
            case events.StepFailed(step, reason, log):
                return f"{label(step.step)}: {reason}" + (f" (its log: {log})" if log else "")
            case events.StepWaits(step, reason):
                return f"{label(step.step)}: {reason}; the study waits for it"
            case events.HostLost(host, problem):
                return f"{host}: {problem}; it is retried"
        return ""

    @property
    def state(self) -> str:
        """The progress in cells, and whether the study is paused or stopping."""
        if self.is_cancelled:
            return f"{self.name}: stopping"
        cells = f"{len(self._done)} of {counted(len(self._cells), 'cell')}"
        if self.is_paused:
            return f"{self.name}: {'paused' if self._gate.is_waited_at else 'pausing'}, {cells}"
        return f"{self.name}: {cells}" if self._cells else self.name

    @property
    def current_steps(self) -> list[str]:
        """The running steps, each with its progress."""
        steps = []
        for key, label in self._labels.items():
            done, of = self.amounts.get(key, (0, 0))
            steps.append(f"{label}, {done:,} of {of:,}" if of else label)
        return steps

    @property
    def begun(self) -> frozenset[str]:
        """The keys of the running steps."""
        return frozenset(self._labels)

    # The end

    @property
    def is_done(self) -> bool:
        """Whether the study has run to its end."""
        return self._is_whole

    @property
    def outcome(self) -> str:
        """The result, in a sentence."""
        if not self._failures and self._only:
            return f"{self.name}: finished {', '.join(self._only.values())}"
        if not self._failures:
            is_complete = self._done == self._cells
            return f"{self.name} is complete" if is_complete else f"{self.name} has no steps left to run"
        failed = len(self._failures) - self._kept
        parts = [f"{counted(failed, 'step')} failed, and the steps that need them were left out"] if failed else []
        parts += [f"{counted(self._kept, 'finished cell')} could not be retried"] if self._kept else []
        return f"{self.name}: {'; '.join(parts)}"

    @property
    def details(self) -> str:
        """The failed steps, and why they failed."""
        return "\n".join(self._failures)

    @property
    def when_stopped(self) -> str:
        """The message after a stop."""
        return f"{self.name} was stopped; finished work is kept, and trainings that have begun continue"

    @property
    def when_left(self) -> str:
        """The message when the user leaves the app, with the command that resumes the study."""
        return f"{self.when_stopped}; this resumes it: {self._command}"


_ALL = object()
"""The last event of a study that was not stopped."""
