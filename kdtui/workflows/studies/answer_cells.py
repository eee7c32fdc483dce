"""Have students answer the sessions of cells, group by group, and store each group whole.

What llama.cpp computes depends on what it computes at the same time. So a resumed study has the same groups as one that
was never interrupted.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic, sleep

from kdtui.workflows.claims import claims_of
from kdtui.workflows.model_names import is_endpoint
from kdtui.workflows.student.generate import GenerateEvent, SessionAnswered, generate_bundles
from kdtui.workflows.student.learning import Tell
from kdtui.workflows.student.session_student import SessionStudent
from kdtui.workflows.studies.events import StepProgress, StepWaits, StudyEvent
from kdtui.workflows.studies.plan import PlannedStep
from kdtui.workflows.studies.steps import EvaluationStep, Step, encoded_step, run_settings
from kdtui.workflows.studies.store_contents import is_same_basis
from models.errors import PromptTooLong
from store.errors import NotFound
from store.predictions import Prediction, add_predictions, count_answers, failures, predictions_for, replace_failures
from store.records import Session
from store.runs import Run, finish_run, get_run, start_run
from store.sqlite import Database
from store.studies import add_seconds, begin_step, steps_of

_LOOK = 0.5
"""Seconds between two looks whether another process still answers a run."""

GROUP = 16
"""Sessions that a student answers together, and that are stored together."""


@dataclass(frozen=True, slots=True)
class CellAnswerer:
    """Answers the sessions of cells.

    Attributes:
        tell: gets what a student says before it answers.
        name_of: returns the name of what a finished step made.
        wait: called before each group. It waits while the study is paused, and raises an error to end the step.
        paused: returns the seconds that the step has waited so far.
        between: called after each answer. It yields what happens elsewhere in the study meanwhile.
    """

    db: Database
    tell: Tell
    name_of: Callable[[Step], str]
    wait: Callable[[], None]
    paused: Callable[[], float]
    between: Callable[[], Iterator[StudyEvent]]

    def answer(self, step: PlannedStep, cell: EvaluationStep, basis: str) -> Generator[StudyEvent, None, str]:
        """Answer the sessions of a cell, and return the number of its run."""
        from kdtui.workflows.runs.evaluate import split_to_score
        from kdtui.workflows.student.open import open_student
        from kdtui.workflows.studies.measures import run_measures

        settings = run_settings(cell, self.name_of)
        sessions = list(split_to_score(self.db, cell.dataset, cell.split, cell.sessions, cell.draw))
        with open_student(self.db, cell.dataset, settings, self.tell) as student:
            # Together: a run that no step knows would not be resumed.
            with self.db.atomic():
                run = self._run_to_resume(step, basis)
                if run is None:
                    run = start_run(self.db, cell.dataset, cell.split, student.name, settings, ["study"])
                begin_step(self.db, step.key, step.kind, encoded_step(cell), basis, str(run.id))
            yield from self._claim(step, run)
            try:
                done = count_answers(self.db, run)
                groups = self._unanswered(run, sessions)
                answers = self._answer_groups(step, cell, student, groups, partial(add_predictions, self.db, run))
                yield from self._progress(step, run, answers, done, len(sessions))
                finish_run(self.db, run)
            finally:
                self._release(run)
        # Measured now, so that a report over many cells need not.
        run_measures(self.db, run)
        return str(run.id)

    def answer_again(self, step: PlannedStep, cell: EvaluationStep, run: Run) -> Iterator[StudyEvent]:
        """Answer the failed sessions of a cell again. A session that fails again keeps its earlier failure."""
        from kdtui.workflows.studies.measures import run_measures

        yield from self._claim(step, run)
        try:
            yield from self._answer_failed(step, cell, run)
        finally:
            self._release(run)
        run_measures(self.db, run)

    def _answer_failed(self, step: PlannedStep, cell: EvaluationStep, run: Run) -> Iterator[StudyEvent]:
        from kdtui.workflows.runs.evaluate import split_to_score
        from kdtui.workflows.student.open import open_student

        failed = {each.session for each in failures(self.db, run) if not PromptTooLong.matches(each.error or "")}
        every = split_to_score(self.db, cell.dataset, cell.split, cell.sessions, cell.draw)
        sessions = [session for session in every if session.id in failed]

        def keep(predictions: Iterable[Prediction]) -> None:
            replace_failures(self.db, run, [each for each in predictions if each.error is None])

        # The same student as before.
        with open_student(self.db, cell.dataset, run.settings, self.tell) as student:
            answers = self._answer_groups(step, cell, student, _groups(sessions), keep)
            yield from self._progress(step, run, answers, 0, len(sessions))

    def _claim(self, step: PlannedStep, run: Run) -> Iterator[StudyEvent]:
        """Claim a run when no other process answers it; trainings on hosts proceed meanwhile."""
        from kdtui.workflows.runs.evaluate import claim_on

        claims, told = claims_of(self.db), False
        while claims is not None and not claims.take(claim_on(run)):
            if not told:
                told = True
                yield StepWaits(step, f"another kdtui answers run {run.id} at the moment")
            yield from self.between()
            self.wait()
            sleep(_LOOK)

    def _release(self, run: Run) -> None:
        from kdtui.workflows.runs.evaluate import claim_on

        if (claims := claims_of(self.db)) is not None:
            claims.release(claim_on(run))

    def _progress(
        self, step: PlannedStep, run: Run, answers: Iterator[GenerateEvent], done: int, of: int
    ) -> Iterator[StudyEvent]:
        """Report answers as they come, and let trainings on hosts proceed meanwhile."""
        from kdtui.workflows.runs.costs import record_costs

        for event in record_costs(self.db, run, answers, paused=self.paused):
            if isinstance(event, SessionAnswered):
                done += 1
                yield StepProgress(step, done, of)
                yield from self.between()

    def _unanswered(self, run: Run, sessions: Sequence[Session]) -> Iterator[list[Session]]:
        """Yield the sessions of each group that have no answer yet."""
        for group in _groups(sessions):
            answered = predictions_for(self.db, run, [session.id for session in group])
            if missing := [session for session in group if session.id not in answered]:
                yield missing

    def _answer_groups(
        self,
        step: PlannedStep,
        cell: EvaluationStep,
        student: SessionStudent,
        groups: Iterable[Sequence[Session]],
        keep: Callable[[list[Prediction]], None],
    ) -> Iterator[GenerateEvent]:
        """Answer sessions group by group. A group is stored before its events are yielded.

        Args:
            keep: stores answers.
        """
        for group in groups:
            self.wait()
            events: list[GenerateEvent] = []
            waiting: list[Prediction] = []
            began = monotonic()
            for event in generate_bundles(student, group):
                events.append(event)
                if isinstance(event, SessionAnswered):
                    waiting.append(event.prediction)
                    if is_endpoint(cell.student):
                        # It may be paid for, and does not depend on the other sessions of its group.
                        with self.db.waiting(inf):
                            keep([waiting.pop()])
            with self.db.waiting(inf), self.db.atomic():
                keep(waiting)
                add_seconds(self.db, step.key, monotonic() - began)
            yield from events

    def _run_to_resume(self, step: PlannedStep, basis: str) -> Run | None:
        stored = steps_of(self.db, [step.key]).get(step.key)
        if stored is None or not is_same_basis(stored.basis, basis) or not stored.made:
            return None
        try:
            return get_run(self.db, int(stored.made))
        except NotFound:
            return None


def _groups(sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
    for first in range(0, len(sessions), GROUP):
        yield sessions[first : first + GROUP]
