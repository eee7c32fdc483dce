"""Labels of steps and cells, in a line."""

from collections.abc import Sequence
from pathlib import Path

from kdtui.text import counted
from kdtui.workflows.model_names import is_file
from kdtui.workflows.studies.spec import NONE, Utilization
from kdtui.workflows.studies.steps import (
    ANY,
    CalibrationStep,
    EvaluationStep,
    KnowledgeStep,
    MixtureStep,
    SampleStep,
    Step,
    TrainingStep,
    step_key,
)
from models.sft.job import RANK
from store.records import Format


def label(step: Step) -> str:
    """Say what is done in a step."""
    match step:
        case KnowledgeStep():
            teacher = "" if step.teacher == ANY else f" by {step.teacher}"
            return f"find {step.format}s of {step.dataset}{teacher}"
        case SampleStep():
            return f"draw {_drawn(step)} of {formats_label(step.formats)} from {', '.join(step.datasets)}"
        case TrainingStep():
            few = "" if step.sessions is None else f"{counted(step.sessions, 'session')} of "
            return f"train {_trained(step)} on {few}{', '.join(step.datasets)}"
        case MixtureStep():
            adapters = ", ".join(formats_label(each.formats) for each in step.trainings)
            base = model_label(step.trainings[0].base)
            if step.how == "merged":
                return f"merge adapters of {base} with {adapters} on {step.dataset}"
            return f"fit a router of {base} with {adapters} on {step.dataset}"
        case CalibrationStep():
            return f"calibrate {_student(step)} on {step.dataset}"
        case EvaluationStep():
            return f"answer {step.dataset} {step.split}: {cell_label(step)}"


def cell_label(cell: EvaluationStep) -> str:
    """Label a cell, without its dataset."""
    trained = trained_first(cell)
    seed = trained.seed if trained is not None else cell.sample.seed if cell.sample is not None else 0
    return _student(cell) + (f", seed {seed}" if seed else "")


def cell_names(cells: Sequence[EvaluationStep]) -> dict[EvaluationStep, str]:
    """Return the unique names of the cells of a study in lists and commands."""
    with_dataset = len({cell.dataset for cell in cells}) > 1
    same_label: dict[tuple[str, str], list[EvaluationStep]] = {}
    for cell in dict.fromkeys(cells):
        same_label.setdefault((cell.dataset, cell_label(cell)), []).append(cell)
    names = {}
    for (dataset, label_of_all), group in same_label.items():
        for cell, name in _distinct_names(label_of_all, group).items():
            names[cell] = f"{dataset}: {name}" if with_dataset else name
    return {cell: names[cell] for cell in cells}


def _distinct_names(label_of_all: str, cells: Sequence[EvaluationStep]) -> dict[EvaluationStep, str]:
    """Name cells with the same label by what they differ in."""
    names = dict.fromkeys(cells, label_of_all)
    if len({cell.student for cell in cells}) > 1:
        # Two model files can have the same name in different folders.
        names = {cell: cell.student + name.removeprefix(model_label(cell.student)) for cell, name in names.items()}
    sessions = {cell: trained.sessions for cell in cells if (trained := trained_first(cell)) is not None}
    if len(set(sessions.values())) > 1:
        names |= {cell: f"{names[cell]}, {_training_sessions(count)}" for cell, count in sessions.items()}
    if len(set(names.values())) < len(cells):
        names = {cell: f"{name}, {step_key(cell)[:8]}" for cell, name in names.items()}
    return names


def _training_sessions(count: int | None) -> str:
    return "all training sessions" if count is None else counted(count, "training session")


def utilization_of(cell: EvaluationStep | CalibrationStep) -> Utilization:
    """Return how a cell uses knowledge."""
    if isinstance(cell, EvaluationStep) and cell.mixture is not None:
        return cell.mixture.how
    if cell.training is None:
        return "icl" if cell.shown else "zero-shot"
    return "sft+icl" if cell.shown else "sft"


def formats_of_cell(cell: EvaluationStep | CalibrationStep) -> tuple[Format, ...]:
    """Return the formats that a cell uses in any way."""
    if isinstance(cell, EvaluationStep) and cell.mixture is not None:
        return tuple(format for each in cell.mixture.trainings for format in each.formats)
    return cell.training.formats if cell.training is not None else cell.shown


def trained_first(cell: EvaluationStep | CalibrationStep) -> TrainingStep | None:
    """Return the training of a cell. Of several, which differ only in formats, return the last one."""
    if isinstance(cell, EvaluationStep) and cell.mixture is not None:
        return cell.mixture.trainings[-1]
    return cell.training


def formats_label(formats: tuple[Format, ...]) -> str:
    """Join formats as the axis `formats` does."""
    return "+".join(formats) or NONE


def model_label(student: str) -> str:
    """Label a base model, without the folder of its file."""
    return Path(student).stem if is_file(student) else student


def _student(step: EvaluationStep | CalibrationStep) -> str:
    parts = [model_label(step.student), utilization_of(step)]
    trained = trained_first(step)
    if formats := formats_of_cell(step):
        parts.append(formats_label(formats))
    if step.form == "pairs":
        parts.append("about pairs")
    sample = trained.sample if trained is not None and trained.sample is not None else step.sample
    if sample is not None:
        parts.append(_drawn(sample))
    if step.sample is not None and step.sample.datasets != (step.dataset,):
        parts.append(f"with knowledge of {'+'.join(step.sample.datasets)}")
    if trained is not None and trained.datasets != (step.dataset,):
        parts.append(f"trained on {'+'.join(trained.datasets)}")
    if trained is not None:
        parts += _unusual(trained)
    return " ".join(parts)


def _trained(step: TrainingStep) -> str:
    parts = [model_label(step.base), f"with {formats_label(step.formats)}"]
    if step.form == "pairs":
        parts.append("about pairs")
    if step.sample is not None:
        parts.append(_drawn(step.sample))
    parts += _unusual(step)
    if step.seed:
        parts.append(f"seed {step.seed}")
    return " ".join(parts)


def _unusual(step: TrainingStep) -> list[str]:
    """Return what differs from most trainings."""
    parts = [] if step.start is None else [f"from {step.start}"]
    if step.rank not in (0, RANK):
        parts.append(f"rank {step.rank}")
    return parts


def _drawn(sample: SampleStep) -> str:
    teacher = "" if sample.teacher == ANY else f" of {sample.teacher}"
    share = f"{sample.ratio:.0%}" if sample.ratio * 100 == round(sample.ratio * 100) else f"{sample.ratio:.1%}"
    how = "" if sample.ratio == 1 else f" by {sample.strategy}"
    return f"{share}{how}{teacher}"
