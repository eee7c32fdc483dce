"""Studies as rows of a table, and their questions as text."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from kdtui.text import one_line
from kdtui.tui.widgets.rows import Column, Row

if TYPE_CHECKING:
    from kdtui.tui.places.studies.study_run import StudyRun
    from kdtui.workflows.studies.overview import StudyRow
    from kdtui.workflows.studies.spec import Spec

COLUMNS = (
    Column("Study", 15, share=3, middle=True),
    Column("From", 5, share=1),
    Column("Datasets", 9, share=2),
    Column("Split", 5),
    Column("Done", 7, right=True),
    Column("Failed", 6, right=True),
    Column("State", 12, share=2),
)


def study_table_row(study: "StudyRow", study_run: "StudyRun | None") -> Row:
    """Return the table row of a study.

    Args:
        study_run: the study that this app runs; None if it runs none.
    """
    done = "–" if study.problem is not None else f"{study.done}/{study.cells}"
    cells = (study.name, study.source, ", ".join(study.datasets), study.split, done, str(study.failed))
    return Row(study.name, (*cells, state_of(study, study_run)))


def state_of(study: "StudyRow", study_run: "StudyRun | None") -> str:
    """Return the state of a study: a sign and a few words."""
    if study_run is not None and study_run.study == study.name:
        if study_run.is_cancelled:
            return "■ stopping"
        return "‖ paused" if study_run.is_paused else "▶ running"
    if study.problem is not None:
        return f"! {study.problem}"
    if study.is_running:
        return f"▶ {study.state}"
    if study.done == study.cells:
        return f"✓ {study.extent}"
    return "✗ unfinished" if study.failed and not study.can_run else "○ unfinished"


def spec_text(spec: "Spec") -> Text:
    """Return the questions of a study, and its settings."""
    text = Text()
    for number, question in enumerate(spec.question, start=1):
        text.append(f"{number}. {one_line(question.title, 300)}\n", style="bold")
        for axis, values in _axes(spec, number - 1):
            text.append(f"   {axis}: ", style="dim")
            text.append(f"{one_line(values, 400)}\n")
    facts = {
        "sessions": "all" if spec.sessions is None else f"{spec.sessions:,}, drawn by seed {spec.draw}",
        "training sessions": "all" if spec.training.sessions is None else f"{spec.training.sessions:,}",
        "hosts": ", ".join(spec.hosts),
    }
    for name, value in facts.items():
        text.append(f"{name}: ", style="dim")
        text.append(f"{one_line(value, 300)}\n")
    return text


def _axes(spec: "Spec", number: int) -> Iterator[tuple[str, str]]:
    """Yield the axes of a question that have several values, and its students and datasets."""
    from kdtui.workflows.studies.results import value_label
    from kdtui.workflows.studies.spec import as_mapping

    for axis, values in as_mapping(spec.question[number]).items():
        if len(values) > 1 or axis in ("dataset", "student"):
            yield axis, ", ".join(value_label(axis, value) for value in values)
