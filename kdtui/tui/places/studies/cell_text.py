"""Texts about a study and about one of its cells."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from kdtui.text import counted, one_line, short_number
from kdtui.tui.places.studies.matrix import METRIC_NAMES, Scale
from kdtui.tui.places.studies.rows import state_of
from kdtui.tui.places.studies.snapshot import StudySnapshot
from kdtui.tui.places.studies.study_run import StudyRun
from kdtui.tui.widgets.matrix import LEVELS

if TYPE_CHECKING:
    from kdtui.workflows.runs.runs import RunRow
    from kdtui.workflows.studies.progress import CellProgress


def study_title(
    study: StudySnapshot,
    question: int,
    progress: "Mapping[str, CellProgress]",
    metric: str,
    scale: Scale | None,
    study_run: StudyRun | None,
) -> Text:
    """Return the title of a study: its state, a question, and the progress of the cells of the question.

    Args:
        question: index of the question.
        progress: of the cells of the question.
        metric: the metric that colours the cells.
        scale: its range; None if no cell has a value.
        study_run: the study that this app runs, if any.
    """
    row, grids = study.row, study.plan.grids
    title = Text(f"{one_line(row.name, 60)} ", style="bold", no_wrap=True, overflow="ellipsis")
    facts = [
        f"{state_of(row, study_run)}, {row.done} of {counted(row.cells, 'cell')}",
        *([f"{row.failed} failed"] if row.failed else []),
        f"{', '.join(row.datasets)} {row.split}",
    ]
    title.append(one_line(" · ".join(facts), 300), style="not bold")
    number = f"{question + 1}/{len(grids)} " if len(grids) > 1 else ""
    title.append(f"\n{number}{one_line(grids[question].question.title, 200)}", style="not bold italic")
    done = sum(each.state == "done" for each in progress.values())
    title.append(f"\n{METRIC_NAMES[metric]}", style="not bold")
    if scale is not None:
        levels = f" {LEVELS[0]} {short_number(scale.low)} to {short_number(scale.high)} {LEVELS[-1]}"
        title.append(levels, style="not bold")
    title.append(f" · {done} of {counted(len(progress), 'cell')} of this question", style="not bold dim")
    if study_run is not None and study_run.study == row.name and study_run.current_steps:
        title.append(f"\n▶ {one_line('; '.join(study_run.current_steps), 300)}", style="not bold")
    return title


def cell_details(
    study: StudySnapshot,
    key: str,
    progress: "CellProgress",
    scores: "RunRow | None",
    key_of: Callable[[str], str],
    *,
    is_running: bool,
) -> Iterator[Text]:
    """Yield lines about a cell.

    Args:
        key: the key of the cell.
        scores: of its run; None if they are not computed.
        key_of: returns the keyboard key of an action.
        is_running: whether the study runs anywhere.
    """
    yield Text(f"{one_line(study.names[key], 200)}\n", style="bold")
    yield Text(f"{one_line(progress.in_words(is_running=is_running), 2000)}\n")
    if scores is not None:
        if scores.scores is None:
            yield Text(f"no scores: {one_line(scores.problem or '', 300)}\n")
        else:
            values = (f"{name} {short_number(getattr(scores.scores, metric))}" for metric, name in METRIC_NAMES.items())
            yield Text(f"{' · '.join(values)}\n")
        if (seconds := scores.summary.seconds_per_session) is not None:
            yield Text(f"{seconds:.2f} s a session, {counted(scores.summary.answered, 'session')}\n")
    if progress.run is not None:
        yield Text(f"run {progress.run} ({key_of('matrix.select')} opens it)\n")
    if progress.training is not None:
        opens = key_of("cell.training")
        yield Text(f"training {one_line(progress.training, 100)} ({opens} opens it, with its log)\n")
    summary = study.run_of(key)
    if summary is not None and (failed := summary.failed):
        unanswered = study.plan.steps[key].unanswered
        hint = f"; {key_of('cell.only')} retries {unanswered:,} of them" if unanswered else ""
        yield Text(f"no answer to {counted(failed, 'session')}{hint}\n")
    if progress.state in ("failed", "blocked"):
        yield Text(f"{key_of('cell.only')} retries it, and {key_of('study.retry')} everything that failed\n")
