"""The results of a study: each cell with its intervals, each question with its comparisons and its answer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from kdtui.errors import KdtuiError
from kdtui.statistics.estimates import CellPair, compare_cells, estimate_cells
from kdtui.statistics.results import Comparison, Estimate
from kdtui.statistics.sessions import CellValues, Resampling
from kdtui.workflows.runs.costs import RunCost, costs_of
from kdtui.workflows.runs.session_measures import COSTS, MEASURES
from kdtui.workflows.studies.grid import Arm, Grid
from kdtui.workflows.studies.labels import formats_label, formats_of_cell, model_label, utilization_of
from kdtui.workflows.studies.lock import runner_of
from kdtui.workflows.studies.measures import RunMeasures, cell_values, floor_measures, run_measures
from kdtui.workflows.studies.plan import PlannedStep, StudyPlan, seconds_per_session
from kdtui.workflows.studies.progress import cell_progress
from kdtui.workflows.studies.spec import AXES, Question, values_of
from kdtui.workflows.studies.steps import EvaluationStep, TrainingStep, step_key
from kdtui.workflows.studies.verdicts import answer_in_words, caveat
from store.errors import NotFound
from store.records import Session
from store.runs import Run, summary_of
from store.sqlite import Database

_WITHIN = {
    name: (0.0, inf if name in ("bundles_per_session", *COSTS, "precision", "recall_2024") else 1.0)
    for name in MEASURES
}
"""The possible range of each measure. A prediction can hit several true bundles, so precision can exceed 1."""


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """A position in the grid of a question, over all of its seeds: a row of a table.

    Attributes:
        label: the values of the axes that differ in the question, unique in its dataset.
        at: the value of each axis except the seed.
        positions: the axis values of all positions of the grid that have its cells.
        without: the axes that make no difference to it.
        cells: one for each seed; seeds that make no difference share one.
        runs: of the finished cells.
        seeds: the measures of each seed; a run is repeated if seeds make no difference.
        estimates: by measure; empty while no cell is done.
        failed: sessions that the student could not answer, of all runs. They count as answers without bundles.
        cost: the mean of the runs; unknown costs are None. Its seconds are those of the whole evaluation, divided by
            the sessions, since several are answered at a time.
        training_seconds, adapter_bytes: of one adapter, as a mean; None without one.
    """

    label: str
    dataset: str
    at: Mapping[str, Any]
    positions: tuple[Mapping[str, Any], ...]
    without: frozenset[str]
    cells: tuple[PlannedStep, ...]
    runs: tuple[Run, ...]
    seeds: tuple[RunMeasures, ...] = field(repr=False)
    estimates: Mapping[str, Estimate]
    cost: RunCost
    failed: int = 0
    training_seconds: float | None = None
    adapter_bytes: int | None = None

    @property
    def name(self) -> str:
        """Its name in comparisons, unique in all datasets."""
        return f"{self.dataset}: {self.label}"

    def label_in(self, question: Question) -> str:
        """Return its label in the report of a question, without its dataset if there is only one."""
        return self.name if len(question.dataset) > 1 else self.label or "all"

    @property
    def is_done(self) -> bool:
        """Whether all of its seeds are done."""
        return all(cell.status == "done" for cell in self.cells)


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """A question, and its answer so far.

    Attributes:
        rows: of all datasets, in the order of the datasets.
        comparisons: corrected for multiple comparisons; by the names of rows.
        answer: one sentence.
        caveat: what the statistics leave out; may be empty.
        left_out: why positions of the grid have no cell.
    """

    question: Question
    rows: list[QuestionRow]
    comparisons: list[Comparison]
    answer: str
    caveat: str
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class StudyResults:
    """The content of a report.

    Attributes:
        floors: of each dataset, by name and measure.
        sessions: the answered sessions of each dataset.
        resampling: of the sessions, for all intervals.
        states: the progress of each cell, by its key.
    """

    plan: StudyPlan
    questions: list[QuestionResult]
    floors: dict[str, dict[str, Mapping[str, Estimate]]]
    sessions: dict[str, list[Session]]
    resampling: Resampling
    states: dict[str, str]


def study_results(db: Database, plan: StudyPlan) -> StudyResults:
    """Measure and compare the finished cells of a study.

    Raises:
        KdtuiError: no cell is done yet.
    """
    if not any(cell.status == "done" for cell in plan.cells):
        raise KdtuiError(
            f"no cell of study {plan.spec.name} is done yet; run it with: kdtui study run {plan.spec.name}"
        )
    from kdtui.workflows.runs.evaluate import split_to_score

    spec = plan.spec
    sessions = {
        dataset: list(split_to_score(db, dataset, spec.split, spec.sessions, spec.draw)) for dataset in plan.answered
    }
    builder = _Builder(db, plan, sessions)
    questions = [builder.question(grid) for grid in plan.grids]
    floors = {dataset: builder.floors(dataset) for dataset in sessions}
    runner = runner_of(db)
    is_running = runner is not None and runner.study == spec.name
    states = {key: each.in_words(is_running=is_running) for key, each in cell_progress(db, plan).items()}
    return StudyResults(plan, questions, floors, sessions, builder.resampling, states)


class _Builder:
    """Builds the results; measures each run once for all questions."""

    def __init__(self, db: Database, plan: StudyPlan, sessions: Mapping[str, Sequence[Session]]) -> None:
        self._db = db
        self._plan = plan
        self._sessions = sessions
        self._columns = {
            dataset: {session.id: at for at, session in enumerate(known)} for dataset, known in sessions.items()
        }
        self.resampling = Resampling(seed=plan.spec.draw)
        self._measured: dict[str, RunMeasures] = {}
        self._runs: dict[str, Run] = {}
        summaries = []
        for cell in plan.cells:
            if cell.status == "done" and cell.stored is not None:
                summary = summary_of(db, int(cell.stored.made))
                summaries.append(summary)
                self._runs[cell.key] = summary.run
                self._measured[cell.key] = run_measures(db, summary.run)
        self._summaries = {summary.run.id: summary for summary in summaries}
        self._costs = costs_of(db, summaries) if summaries else {}

    def floors(self, dataset: str) -> dict[str, Mapping[str, Estimate]]:
        measures = floor_measures(self._db, dataset, self._sessions[dataset])
        names = list(measures)
        cells = [[measures[name]] for name in names]
        return dict(zip(names, self._estimates(dataset, cells), strict=True))

    def question(self, grid: Grid) -> QuestionResult:
        question = grid.question
        rows: list[QuestionRow] = []
        row_at: dict[tuple[Any, ...], QuestionRow] = {}
        for dataset in question.dataset:
            groups = _grouped([arm for arm in grid.arms if arm.at["dataset"] == dataset])
            done = [self._seeds(arms) for arms in groups]
            estimates = iter(self._estimates(dataset, [seeds for seeds in done if seeds]))
            for arms, seeds in zip(groups, done, strict=True):
                row = self._row(question, arms, next(estimates) if seeds else {})
                rows.append(row)
                row_at |= dict.fromkeys((_without_seed(arm.at) for arm in arms), row)
        comparisons = compare_cells(self._pairs(question, grid, row_at), self.resampling)
        labels = {row.name: row.label_in(question) for row in rows}
        answer = answer_in_words(comparisons, labels, question.compare)
        return QuestionResult(question, rows, comparisons, answer, caveat(comparisons), grid.left_out)

    def _steps_of(self, arms: Sequence[Arm]) -> list[PlannedStep]:
        keys = dict.fromkeys(step_key(arm.cell) for arm in arms)
        return [self._plan.steps[key] for key in keys]

    def _seeds(self, arms: Sequence[Arm]) -> list[RunMeasures]:
        """Return the runs of the finished seeds. Seeds that make no difference share a run, and their spread is 0."""
        first = _without_seed(arms[0].at)
        keys = [step_key(arm.cell) for arm in arms if _without_seed(arm.at) == first]
        return [self._measured[key] for key in keys if key in self._measured]

    def _estimates(self, dataset: str, cells: Sequence[Sequence[RunMeasures]]) -> list[dict[str, Estimate]]:
        estimates_by_cell: list[dict[str, Estimate]] = [{} for _ in cells]
        for measure in MEASURES:
            values = [cell_values(seeds, measure, self._columns[dataset]) for seeds in cells]
            # Seeds in which the measure leaves out every session do not count.
            counted = [at for at, cell in enumerate(values) if cell.seeds]
            estimates = estimate_cells([values[at] for at in counted], self.resampling, _WITHIN[measure])
            for at, each in zip(counted, estimates, strict=True):
                estimates_by_cell[at][measure] = each
        return estimates_by_cell

    def _row(self, question: Question, arms: Sequence[Arm], estimates: dict[str, Estimate]) -> QuestionRow:
        cells = self._steps_of(arms)
        # Show what the position really uses, not what it was asked for: without knowledge, nothing is shown.
        first = arms[0].cell
        formats = formats_of_cell(first)
        known = {"utilization": utilization_of(first), "formats": formats_label(formats)}
        at = {**arms[0].at, **known}
        without = frozenset(_without_effect(question, arms))
        runs = tuple(self._runs[cell.key] for cell in cells if cell.key in self._runs)
        seconds, sizes = [], []
        for cell in cells:
            assert isinstance(cell.step, EvaluationStep)
            made_of = () if cell.step.mixture is None else cell.step.mixture.trainings
            trainings = (cell.step.training,) if cell.step.training is not None else made_of
            each = [self._training(training) for training in trainings]
            seconds += [sum(took for took, _ in each if took is not None)] if any(took for took, _ in each) else []
            sizes += [sum(size for _, size in each if size is not None)] if any(size for _, size in each) else []
        return QuestionRow(
            label_of(question, at, without),
            first.dataset,
            at,
            tuple({**arm.at, **known} for arm in arms),
            without,
            tuple(cells),
            runs,
            tuple(self._seeds(arms)),
            estimates,
            _mean_cost([self._cost(cell) for cell in cells if cell.key in self._runs]),
            sum(self._summaries[run.id].failed for run in runs),
            sum(seconds) / len(seconds) if seconds else None,
            round(sum(sizes) / len(sizes)) if sizes else None,
        )

    def _cost(self, cell: PlannedStep) -> RunCost:
        summary = self._summaries[self._runs[cell.key].id]
        seconds = seconds_per_session(cell, summary.answered)
        return replace(self._costs[summary.run.id], seconds=seconds)

    def _training(self, step: TrainingStep) -> tuple[float | None, int | None]:
        """Return the seconds of a training, and the size of its adapter."""
        from store.models import named_model

        stored = self._plan.steps[step_key(step)].stored
        if stored is None or stored.state != "done":
            return None, None
        try:
            path = named_model(self._db, stored.made).path
            size = path.stat().st_size
        except (NotFound, OSError):
            return stored.seconds, None
        return stored.seconds, size

    def _pairs(self, question: Question, grid: Grid, row_at: Mapping[tuple[Any, ...], QuestionRow]) -> list[CellPair]:
        """Pair each position with the baseline of the same other values. Positions with the same cells come once."""
        pairs: dict[tuple[str, str], CellPair] = {}
        for arm in grid.arms:
            row = row_at[_without_seed(arm.at)]
            base = row_at.get(_without_seed({**arm.at, question.compare: question.baseline}))
            if base is None or base is row or not (row.estimates and base.estimates):
                continue
            pairs[base.name, row.name] = CellPair(
                base.name, row.name, question.metric, self._values_of(base, question), self._values_of(row, question)
            )
        return list(pairs.values())

    def _values_of(self, row: QuestionRow, question: Question) -> CellValues:
        return cell_values(row.seeds, question.metric, self._columns[row.dataset])


def _grouped(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Group the arms that differ only in the seed. Arms with the same cells are in one group too."""
    by_position: dict[tuple[Any, ...], list[Arm]] = {}
    for arm in arms:
        by_position.setdefault(_without_seed(arm.at), []).append(arm)
    by_cells: dict[frozenset[EvaluationStep], list[Arm]] = {}
    for together in by_position.values():
        by_cells.setdefault(frozenset(arm.cell for arm in together), []).extend(together)
    return list(by_cells.values())


def _without_seed(at: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(at[axis] for axis in AXES if axis != "seed")


def _without_effect(question: Question, arms: Sequence[Arm]) -> set[str]:
    """Return the axes that make no difference to arms with the same cells: every value leads to these cells."""
    return {
        axis
        for axis in AXES
        if axis not in ("utilization", "formats")
        and {arm.at[axis] for arm in arms} == set(values_of(question, axis))
        and _is_free(axis, arms)
    }


def _is_free(axis: str, arms: Sequence[Arm]) -> bool:
    """Return whether arms with each value of an axis have the same values of all other axes."""
    others: dict[Any, set[tuple[Any, ...]]] = {}
    for arm in arms:
        others.setdefault(arm.at[axis], set()).add(tuple(arm.at[each] for each in AXES if each != axis))
    first, *rest = others.values()
    return all(each == first for each in rest)


def label_of(question: Question, at: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """Label a position in the grid by the axes that differ in a question, except the dataset and the seed.

    Args:
        without: other axes to leave out.
    """
    left_out = {"dataset", "seed", *without}
    varying = [axis for axis in AXES if axis not in left_out and len(values_of(question, axis)) > 1]
    return " · ".join(value_label(axis, at[axis]) for axis in varying)


def value_label(axis: str, value: Any) -> str:
    """Label a value of an axis, as grids and plots show it; empty for all training sessions."""
    match axis:
        case "student":
            return model_label(value)
        case "ratio":
            return "all" if value is None else f"{value:.0%}" if round(value * 100) == value * 100 else f"{value:.1%}"
        case "rank":
            return f"rank {value}"
        case "from":
            return f"from {value}"
        case "training_sessions":
            return "" if value is None else f"{value:,} training sessions"
        case "formats":
            return "no knowledge" if value == "none" else str(value)
    return str(value)


def _mean_cost(costs: Sequence[RunCost]) -> RunCost:
    """Return the mean of each cost that is known for all of them."""

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    peak = mean([cost.peak_memory_bytes for cost in costs])
    meters = {cost.meters for cost in costs}
    joules = mean([cost.joules for cost in costs]) if len(meters) == 1 else None
    return RunCost(
        seconds=mean([cost.seconds for cost in costs]),
        prompt_tokens=mean([cost.prompt_tokens for cost in costs]),
        completion_tokens=mean([cost.completion_tokens for cost in costs]),
        joules=joules,
        meters=None if joules is None else meters.pop(),
        peak_memory_bytes=None if peak is None else round(peak),
        money=mean([cost.money for cost in costs]),
    )
