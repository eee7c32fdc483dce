"""Make the samples of a study, and its mixtures: merged adapters and routers."""

from collections.abc import Callable, Sequence

from kdtui.workflows.student.learning import Tell
from kdtui.workflows.studies.labels import formats_label
from kdtui.workflows.studies.steps import MixtureStep, SampleStep, Step, run_settings, zero_shot_runs
from store.runs import get_run
from store.sqlite import Database


def draw_sample(db: Database, step: SampleStep, name: str, name_of: Callable[[Step], str]) -> None:
    """Draw the sample of a step under this name. It replaces one that was drawn in the same way.

    Args:
        name_of: returns the name of what a finished step made.
    """
    from kdtui.workflows.knowledge.sample import create_sample

    create_sample(
        db,
        name,
        step.datasets,
        step.formats,
        strategy=step.strategy,
        ratio=step.ratio,
        seed=step.seed,
        student=step.student or "",
        zero_shot={run.dataset: get_run(db, int(name_of(run))) for run in zero_shot_runs(step)},
        teacher=None if step.teacher == "any" else step.teacher,
        # A sample of this name was drawn from the same knowledge, in the same way.
        replace=True,
    )


def mix_adapters(db: Database, mixture: MixtureStep, name: str, name_of: Callable[[Step], str], tell: Tell) -> None:
    """Merge adapters, or fit a router to their answers to the validation sessions.

    Args:
        name_of: returns the name of what a finished step made.
    """
    if mixture.how == "merged":
        _merge(db, [name_of(training) for training in mixture.trainings], name)
        return
    from kdtui.workflows.adapters.routers import fit_to_runs

    routes = [
        (formats_label(training.formats), run_settings(answers, name_of))
        for training, answers in zip(mixture.trainings, mixture.answers, strict=True)
    ]
    runs = [get_run(db, int(name_of(answers))) for answers in mixture.answers]
    fit_to_runs(db, name, routes, {mixture.dataset: runs}, replace_old=True, tell=tell)


def _merge(db: Database, adapters: Sequence[str], name: str) -> None:
    from kdtui.workflows.adapters.merge import merge_adapters
    from kdtui.workflows.manage_models import models_folder
    from store.models import named_models

    # The name is a hash of what it is made of. If it exists, the study was killed right after the merge.
    if all(model.name != name for model in named_models(db)):
        assert db.path is not None
        weighed = [(adapter, 1 / len(adapters)) for adapter in adapters]
        merge_adapters(db, weighed, name, models_folder(db.path))
