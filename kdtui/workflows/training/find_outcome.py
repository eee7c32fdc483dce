"""Find out what a training was worth, and make its adapter the default of datasets that it helped on.

The trainer stores the answers before and after the training with the adapter. They are compared with each other and
with the floors.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from kdtui.bundling import floors
from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.distill.category_intent import category_intent
from kdtui.distill.training_set import bundles_to_name
from kdtui.errors import KdtuiError
from kdtui.workflows.finish_jobs import finish_job
from kdtui.workflows.job_state import Training, base_of
from kdtui.workflows.model_names import PATTERNS
from kdtui.workflows.runs.floors import answers_of
from kdtui.workflows.runs.intent_cosine import IntentCosine
from kdtui.workflows.runs.intent_floors import CATEGORY, NEAREST, nearest_intents
from kdtui.workflows.student.open import open_student
from kdtui.workflows.training.answer_scores import BeforeAndAfter, Values, mean_intent_f1, score_answers
from kdtui.workflows.training.outcome import MeasuredAgainst, Outcome, known_outcome
from kdtui.workflows.training.source_adapters import find_source
from models.embedded import SHIPPED
from models.errors import ModelError
from models.sft.job_files import ADAPTER, ANSWERS
from store.default_adapters import default_adapters, set_default_adapter
from store.errors import NotFound, StoreError
from store.jobs import get_job, remember_outcome
from store.records import RunSettings, Session
from store.sqlite import Database


def find_outcome(db: Database, training: Training) -> Outcome | None:
    """Find out what a finished training was worth, and store that.

    If it helped, its adapter becomes the default of the datasets that it helped on.

    Returns:
        None if it is not done, its adapter is not on this machine, or it had nothing to validate on.

    Raises:
        NotFound: the training was deleted meanwhile.
    """
    if (known := known_outcome(training)) is not None:
        return known
    answers = training.job.folder / ADAPTER / ANSWERS
    if training.status.state != "done" or not answers.is_file():
        return None
    # An adapter that cannot be converted must not become a default.
    if finish_job(db, training.job.name).status.state != "done":
        return None
    judged = score_answers(db, training, answers)
    if not judged:
        return None
    outcome = _compared(db, training, judged)
    better, kept = _defaults(db, training, judged, outcome)
    outcome = msgspec.structs.replace(outcome, default_for=tuple(better), kept_default=kept)
    if remember_outcome(db, training.job.name, msgspec.json.encode(outcome).decode()):
        for dataset in better:
            set_default_adapter(db, dataset, training.job.name)
        return outcome
    return known_outcome(Training(get_job(db, training.job.name), training.status))


def _compared(db: Database, training: Training, judged: Sequence[BeforeAndAfter]) -> Outcome:
    measure = "intent_f1" if training.job.settings.form == "intents" else "pair_f1"
    after = [each.after for each in judged]
    before = {_source_name(training): [each.before for each in judged]}
    # Compared on its own: an adapter can have the name of a floor.
    [source] = _compared_with(after, before)
    datasets = {each.dataset: 0.0 for each in judged}
    for name in datasets:
        gains = [each.after - each.before for each in judged if each.dataset == name]
        datasets[name] = sum(gains) / len(gains)
    floors_by_value = sorted(_compared_with(after, _floors(db, training, judged)), key=lambda each: -each.value)
    value = sum(after) / len(after)
    return Outcome(
        measure,
        len(judged),
        value,
        source,
        tuple(floors_by_value),
        datasets,
        loss=_loss_against_source(db, training, judged),
    )


def _loss_against_source(db: Database, training: Training, judged: Sequence[BeforeAndAfter]) -> MeasuredAgainst | None:
    """Compare the losses of the true answers; None if they say little (see `Outcome`), or one is missing."""
    losses = [each.losses for each in judged if each.losses is not None]
    if not _has_learned_the_form(db, training) or len(losses) < len(judged):
        return None
    before = {_source_name(training): [old for old, _ in losses]}
    [compared] = _compared_with([new for _, new in losses], before)
    return msgspec.structs.replace(compared, is_loss=True)


def _has_learned_the_form(db: Database, training: Training) -> bool:
    """Tell whether the source of a training writes answers like those that the training teaches."""
    settings = training.job.settings
    if settings.began_from is None or settings.form == "pairs":
        return False
    try:
        source = find_source(db, settings.began_from).trained
    except (KdtuiError, ModelError):
        # It has been deleted.
        return False
    return source is not None and (source.form, source.knowledge, source.target) == (
        settings.form,
        settings.knowledge,
        settings.target,
    )


def _source_name(training: Training) -> str:
    """Return the name of what the training began from."""
    began_from = training.job.settings.began_from
    if began_from is not None:
        return began_from
    try:
        base = base_of(training.job)
    except ModelError:
        base = None
    return "the untrained base" if base is None else f"{Path(base).name} untrained"


def _compared_with(after: Values, others: Mapping[str, Values]) -> list[MeasuredAgainst]:
    # Imported here: scipy takes a third of a second.
    from kdtui.statistics.estimates import CellPair, compare_cells
    from kdtui.statistics.sessions import CellValues

    comparisons = []
    for name, values in others.items():
        # Each comparison is a question of its own.
        [each] = compare_cells(
            [CellPair(name, "the adapter", "difference", CellValues.of(values), CellValues.of(after))]
        )
        low, high = (each.low, each.high) if isfinite(each.low) and isfinite(each.high) else (None, None)
        comparisons.append(MeasuredAgainst(name, sum(values) / len(values), each.difference, low, high, each.p))
    return comparisons


def _floors(db: Database, training: Training, judged: Sequence[BeforeAndAfter]) -> dict[str, Values]:
    """Return the same measure of the floors. Floors that lack a session are left out."""
    by_floor: dict[str, Values] = {}
    for dataset in dict.fromkeys(each.dataset for each in judged):
        sessions = [each.session for each in judged if each.dataset == dataset]
        of = _intent_floors if training.job.settings.form == "intents" else _pair_floors
        for name, values in of(db, dataset, sessions).items():
            by_floor.setdefault(name, []).extend(values)
    return {name: values for name, values in by_floor.items() if len(values) == len(judged)}


def _pair_floors(db: Database, dataset: str, sessions: Sequence[Session]) -> dict[str, Values]:
    values: dict[str, Values] = {name: [] for name in floors.NAMES}
    for session in sessions:
        for name, bundles in zip(floors.NAMES, floors.floors_of(session), strict=True):
            values[name].append(pair_f1(true_bundles(session), bundles))
    if (learned := _pattern_student(db, dataset, sessions)) is not None:
        values[PATTERNS] = learned
    return values


def _pattern_student(db: Database, dataset: str, sessions: Sequence[Session]) -> Values | None:
    try:
        with open_student(db, dataset, RunSettings(PATTERNS)) as student:
            answers = {session.id: bundles or () for session, bundles in answers_of(student, sessions)}
    except (KdtuiError, ModelError):
        return None
    return [
        pair_f1(true_bundles(session), [frozenset(each.positions) for each in answers[session.id]])
        for session in sessions
    ]


def _intent_floors(db: Database, dataset: str, sessions: Sequence[Session]) -> dict[str, Values]:
    namers: dict[str, Callable[[Sequence[Any]], list[str]]] = {
        CATEGORY: lambda bundles: [category_intent(items) for items in bundles]
    }
    with IntentCosine(db, dataset, len(sessions)) as cosine:
        try:
            if (nearest := nearest_intents(db, dataset, cosine)) is not None:
                namers[NEAREST] = nearest.of
        except StoreError:
            # The dataset has been deleted.
            pass
        values: dict[str, Values] = {}
        for name, of in namers.items():
            values[name] = []
            for session in sessions:
                places = list(dict.fromkeys(frozenset(each.positions) for each in bundles_to_name(session)))
                items = [[session.items[at - 1] for at in sorted(each)] for each in places]
                values[name].append(mean_intent_f1(session, dict(zip(places, of(items), strict=True))))
    return values


def _defaults(
    db: Database, training: Training, judged: Sequence[BeforeAndAfter], outcome: Outcome
) -> tuple[list[str], dict[str, str]]:
    """Return the datasets that the adapter becomes the default of, and the unchanged default of the others."""
    present_defaults = default_adapters(db)
    better, kept = [], {}
    for dataset, gain in outcome.of_datasets.items():
        present = present_defaults.get(dataset, SHIPPED)
        rival = _against_present(db, training, present, judged, outcome)
        if rival is not None and rival.is_better and gain >= 0:
            better.append(dataset)
        else:
            kept[dataset] = present
    return better, kept


def _against_present(
    db: Database, training: Training, present: str, judged: Sequence[BeforeAndAfter], outcome: Outcome
) -> MeasuredAgainst | None:
    """Compare the adapter with the present default over the same sessions; None if that is not possible."""
    settings = training.job.settings
    if present == (settings.began_from or ""):
        return outcome.deciding
    if present == SHIPPED:
        # Its bundles are those of the pattern student. Its intents are measured by trainings that begin from it.
        named = [each for each in outcome.floors if each.name == PATTERNS]
        return named[0] if settings.form != "intents" and named else None
    try:
        other = get_job(db, present)
    except NotFound:
        return None
    answers = other.folder / ADAPTER / ANSWERS
    if (other.settings.form == "intents") != (settings.form == "intents") or not answers.is_file():
        return None
    values = {
        (each.dataset, each.session.id): each.after
        for each in score_answers(db, Training(other, training.status), answers)
    }
    if any((each.dataset, each.session.id) not in values for each in judged):
        return None
    wanted = [values[each.dataset, each.session.id] for each in judged]
    return _compared_with([each.after for each in judged], {present: wanted})[0]
