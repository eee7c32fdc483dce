"""A study that is run in the app, and how far it is."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from kdtui.text import counted
from kdtui.tui.core.task import Task
from kdtui.workflows.pause_control import PauseControl

if TYPE_CHECKING:
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database


class StudyRun(Task):
    """A study does what it has left to do.

    Args:
        source: what it is of, where it is to be stored first: a preset, or the path of a file; None for one that is
            stored already.
        cells: the names of those that are done alone, by their keys; empty for all.
        command: resumes it in a shell.

    Attributes:
        study: its name.
        amounts: how far steps are that are under way, by key, and of how much.
        changes: how many steps have begun or ended so far: whoever shows the plan has to look again.
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
        self._gate = gate = PauseControl()
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
                # Not before: a study that is refused must not change the one that is running.
                if isinstance(event, Planned) and source is not None:
                    save_study(db, spec.name, to_toml(spec), source)
                yield event
            if not gate.closed:
                yield _ALL

        super().__init__(f"study {spec.name}", database, work, post, {}, stop=gate.close)

    # Pausing

    def pause(self) -> None:
        """Do nothing more for now; trainings that have begun go on."""
        self._gate.hold()

    def resume(self) -> None:
        """Resume what was paused."""
        self._gate.release()

    @property
    def is_paused(self) -> bool:
        """Whether it is paused, or is to be as soon as it comes to a point where it can stand still."""
        return self._gate.is_held

    # How far it is

    def note(self, event: object) -> None:
        """Note what has begun, how far that is, and what has ended."""
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
        """Why a step has failed, or what is wrong with a host."""
        from kdtui.workflows.studies import events
        from kdtui.workflows.studies.labels import label

        match event:
            case events.StepFailed(step, reason, log):
                return f"{label(step.step)}: {reason}" + (f" (its log: {log})" if log else "")
            case events.HostLost(host, problem):
                return f"{host}: {problem}; it is tried again"
        return ""

    @property
    def state(self) -> str:
        """How many cells are done, and what is under way."""
        if self.is_cancelled:
            return f"{self.name}: stopping"
        cells = f"{len(self._done)} of {counted(len(self._cells), 'cell')}"
        if self.is_paused:
            return f"{self.name}: {'paused' if self._gate.is_waited_at else 'pausing'}, {cells}"
        return f"{self.name}: {cells}" if self._cells else self.name

    @property
    def under_way(self) -> list[str]:
        """The steps that are under way, each with how far it is."""
        found = []
        for key, label in self._labels.items():
            done, of = self.amounts.get(key, (0, 0))
            found.append(f"{label}, {done:,} of {of:,}" if of else label)
        return found

    @property
    def begun(self) -> frozenset[str]:
        """The keys of these steps."""
        return frozenset(self._labels)

    # How it ends

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end."""
        return self._is_whole

    @property
    def outcome(self) -> str:
        """What has come of it."""
        if not self._failures and self._only:
            return f"{self.name}: done with {', '.join(self._only.values())}"
        if not self._failures:
            is_complete = self._done == self._cells
            return f"{self.name} is complete" if is_complete else f"{self.name} has nothing left to do"
        failed = len(self._failures) - self._kept
        parts = [f"{counted(failed, 'step')} failed, and what needs them was left out"] if failed else []
        parts += [f"{counted(self._kept, 'finished cell')} could not be tried again"] if self._kept else []
        return f"{self.name}: {'; '.join(parts)}"

    @property
    def details(self) -> str:
        """What failed, and why."""
        return "\n".join(self._failures)

    @property
    def when_stopped(self) -> str:
        """What becomes of it now."""
        return f"{self.name} was stopped; what is done is kept, and trainings that have begun go on"

    @property
    def when_left(self) -> str:
        """The same, for who leaves the app."""
        return f"{self.when_stopped}; this resumes it: {self._command}"


_ALL = object()
"""What comes at the end of a study that was not stopped."""
