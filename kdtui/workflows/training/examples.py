"""Makes the examples of a training: sessions, with the knowledge that a student is shown or learns to write.

`models/sft/examples.py` reads them as tokens.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, TypeAlias

import numpy as np
from msgspec.structs import replace

from kdtui.distill.applicable import Applicable
from kdtui.distill.retrieval import Retriever, decode_piece
from kdtui.distill.student_prompt import session_prompt
from kdtui.distill.thoughts import Thought
from kdtui.distill.training_set import (
    intent_completions,
    intent_example,
    list_completions,
    pair_completions,
    reordered,
    session_example,
    shuffled,
)
from kdtui.errors import KdtuiError
from kdtui.workflows.knowledge.distill import training_sessions
from kdtui.workflows.student.learning import tell_nobody
from kdtui.workflows.student.nearest import nearest_for
from kdtui.workflows.student.settings import uses_evidence
from models.pairs.clustering import Matrix
from store.knowledge import pieces_from, sessions_by_knowledge
from store.records import FORMATS, RunSettings, Session, TrainingSettings
from store.samples import count_formats, pieces_of_sample
from store.sessions import iter_sessions
from store.similar import suggestion
from store.sqlite import Database

_LEAST_PRODUCTS = 2

_WITHOUT_EVIDENCE = 0.2
"""Share of the training examples that do not say how likely the pairs are."""

_Make: TypeAlias = Callable[[Session, Sequence[int], bool], dict[str, Any]]
"""Makes an example of a session, with its products in a given order, with or without evidence."""


def check_training_settings(settings: TrainingSettings) -> None:
    """Refuse settings that no training set can be made with.

    Raises:
        KdtuiError: the settings contradict each other.
    """
    unknown = [format for format in settings.knowledge if format not in FORMATS]
    if unknown:
        there_are = f"there are: {', '.join(FORMATS)}"
        raise KdtuiError(
            f"there is no format {unknown[0]!r} of knowledge; {suggestion(unknown[0], FORMATS, there_are)}"
        )
    if settings.target and settings.knowledge != ("thought",):
        raise KdtuiError("what a student can learn to write is a thought; use --knowledge thought with --as target")
    if settings.form == "intents" and (settings.target or settings.knowledge != ("pattern",)):
        raise KdtuiError(
            "a student that writes only intents names the bundles of the pair model, for which --knowledge pattern "
            "stands, and is shown no other knowledge; use --knowledge pattern with --form intents"
        )
    if settings.target and settings.form != "list":
        raise KdtuiError("a thought is written before the list of bundles; use --form list with --as target")


def training_examples(
    db: Database, settings: TrainingSettings, count: Callable[[str], int]
) -> Iterator[dict[str, Any]]:
    """Yield each training session once per epoch, with its products in another order each time.

    Args:
        count: counts the tokens of a text as the base does, so that knowledge is cut to a budget as for a student.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: there is nothing to train on, or no knowledge of a format.
    """
    check_training_settings(settings)
    chosen = [(dataset, _chosen(db, dataset, settings)) for dataset in settings.datasets]
    if not any(sessions for _, sessions in chosen):
        raise nothing_to_train_on(settings)
    with ExitStack() as opened:
        learn = partial(_evidence, opened)
        makers = [(_maker(db, dataset, settings, count, learn), dataset, sessions) for dataset, sessions in chosen]
        for epoch in range(settings.epochs):
            for make, dataset, sessions in makers:
                for session in sessions:
                    yield _in_epoch(make, settings, dataset, session, epoch)


def _in_epoch(make: _Make, settings: TrainingSettings, dataset: str, session: Session, epoch: int) -> dict[str, Any]:
    order = shuffled(len(session.items), (settings.seed, epoch, dataset, session.id))
    # The student also learns to answer without evidence: not every question that it gets will have some.
    has_evidence = Random(str((settings.seed, epoch, session.id))).random() >= _WITHOUT_EVIDENCE
    return {"epoch": epoch, **make(session, order, has_evidence)}


@dataclass(frozen=True, slots=True)
class DrawnExamples:
    """Some examples of a training set, and how many examples an epoch and the validation split have.

    Attributes:
        train: examples of the first epoch, of sessions drawn by chance; all sessions if there are few.
        valid: examples of the validation split.
        sessions: training sessions in all.
        valid_sessions: validation sessions in all.
    """

    train: list[dict[str, Any]]
    valid: list[dict[str, Any]]
    sessions: int
    valid_sessions: int


def drawn_examples(db: Database, settings: TrainingSettings, most: int, count: Callable[[str], int]) -> DrawnExamples:
    """Draw at most `most` training examples and `most` validation examples.

    They are as long as the examples that are trained on, but not the same: they do not say how likely the pairs really
    are, since that takes long to find out.

    Args:
        count: as for `training_examples`.

    Raises:
        NotFound, KdtuiError: as `training_examples`.
    """
    check_training_settings(settings)
    train = [(dataset, session) for dataset in settings.datasets for session in _chosen(db, dataset, settings)]
    valid = [
        (dataset, session)
        for dataset in settings.datasets
        for session in _usable(iter_sessions(db, dataset, split="valid"), settings)
    ]
    if not train:
        raise nothing_to_train_on(settings)
    make = {dataset: _maker(db, dataset, settings, count, _constant_evidence) for dataset in settings.datasets}

    def few(sessions: list[tuple[str, Session]]) -> list[tuple[str, Session]]:
        return sessions if len(sessions) <= most else Random(settings.seed).sample(sessions, most)

    return DrawnExamples(
        [_in_epoch(make[dataset], settings, dataset, session, 0) for dataset, session in few(train)],
        [make[dataset](session, _stored_order(session), True) for dataset, session in few(valid)],
        len(train),
        len(valid),
    )


def _stored_order(session: Session) -> list[int]:
    return list(range(1, len(session.items) + 1))


def nothing_to_train_on(settings: TrainingSettings) -> KdtuiError:
    return KdtuiError(f"no training session has knowledge in sample {settings.sample!r}; there is nothing to train on")


def validation_examples(
    db: Database, settings: TrainingSettings, count: Callable[[str], int]
) -> Iterator[dict[str, Any]]:
    """Yield each validation session, with its products in the stored order.

    Args:
        count: as for `training_examples`.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: there is no knowledge of a format.
    """
    for dataset in settings.datasets:
        with ExitStack() as opened:
            make = _maker(db, dataset, settings, count, partial(_evidence, opened))
            for session in _usable(iter_sessions(db, dataset, split="valid"), settings):
                yield {"dataset": dataset, **make(session, _stored_order(session), True)}


def _usable(sessions: Iterable[Session], settings: TrainingSettings) -> list[Session]:
    """Return the sessions that a student can learn from."""
    return [
        session
        for session in sessions
        if len(session.items) >= _LEAST_PRODUCTS and (settings.form != "intents" or intent_completions(session))
    ]


def _chosen(db: Database, dataset: str, settings: TrainingSettings) -> list[Session]:
    """Return the training sessions of a dataset; with a sample, only those that its rules and thoughts come from.

    Patterns are counted in too many sessions to leave any out: if only patterns are shown, all sessions are trained on.
    """
    sessions = _usable(training_sessions(db, dataset, settings.limit), settings)
    if settings.sample is None or (
        settings.knowledge == ("pattern",) and set(count_formats(db, settings.sample)) == {"pattern"}
    ):
        return sessions
    inside = set(pieces_of_sample(db, settings.sample))
    sources = {
        session
        for format in FORMATS[1:]
        for piece, sessions_of_piece in sessions_by_knowledge(db, dataset, format).items()
        if piece in inside
        for session in sessions_of_piece
    }
    return [session for session in sessions if session.id in sources]


def _maker(
    db: Database,
    dataset: str,
    settings: TrainingSettings,
    count: Callable[[str], int],
    learn_evidence: Callable[[Database, str], Callable[[Session], Matrix | None]],
) -> _Make:
    """Return a function that makes the examples of a dataset.

    Args:
        learn_evidence: returns the function that says how likely the pairs of a session are.
    """
    if settings.form == "intents":
        return lambda session, order, _: intent_example(reordered(session, order))
    form = settings.form
    retrieve: Callable[[Session], Applicable] = lambda _: Applicable()  # noqa: E731
    evidence: Callable[[Session], Matrix | None] | None = None
    if not settings.target:
        shown = RunSettings(
            "",
            settings.knowledge,
            sample=settings.sample,
            neighbours=settings.neighbours,
            budget=settings.budget,
        )
        if uses_evidence(shown) and form == "pairs":
            evidence = learn_evidence(db, dataset)
        if shown.knowledge:
            retrieve = Retriever(db, dataset, shown, nearest_for(db, dataset, shown), count)
    kept: dict[str, Applicable] = {}

    def make(session: Session, order: Sequence[int], has_evidence: bool) -> dict[str, Any]:
        if session.id not in kept:
            kept[session.id] = retrieve(session)
        ordered = reordered(session, order)
        messages = session_prompt(session, kept[session.id], form, order, has_evidence=evidence is not None)
        if form == "pairs":
            known = evidence(session) if has_evidence and evidence is not None else None
            at = np.array(order) - 1
            completions = pair_completions(ordered, None if known is None else known[np.ix_(at, at)])
        else:
            thought = _thought(db, dataset, session, settings) if settings.target else None
            completions = list_completions(ordered, None if thought is None else _in_order(thought, order).statement)
        return session_example(ordered, messages, completions)

    return make


def _constant_evidence(_: Database, __: str) -> Callable[[Session], Matrix | None]:
    """Return a function that rates every pair 0.5, a number with as many digits as most real values have."""
    return lambda session: np.full((len(session.items), len(session.items)), 0.5)


def _evidence(opened: ExitStack, db: Database, dataset: str) -> Callable[[Session], Matrix | None]:
    """Learn how likely the pairs of sessions are. A session that is too large for the pattern student has no evidence.

    Args:
        opened: closes the pattern student.
    """
    from kdtui.distill.pattern_student import MOST_PRODUCTS
    from kdtui.workflows.student.pair_evidence import open_pattern_student

    student = opened.enter_context(open_pattern_student(db, dataset, tell_nobody))
    known: dict[str, Matrix | None] = {}

    def evidence(session: Session) -> Matrix | None:
        if session.id not in known:
            is_small = len(session.items) <= MOST_PRODUCTS
            known[session.id] = student.pair_probabilities(session) if is_small else None
        return known[session.id]

    return evidence


def _thought(db: Database, dataset: str, session: Session, settings: TrainingSettings) -> Thought | None:
    pieces = pieces_from(db, dataset, session.id, "thought", sample=settings.sample)
    return decode_piece(pieces[0], Thought) if pieces else None


def _in_order(thought: Thought, order: Sequence[int]) -> Thought:
    """Reorder the products of a thought. What it says about products left out may contain their numbers."""
    place = {position: number for number, position in enumerate(order, start=1)}
    steps = tuple(replace(step, positions=tuple(sorted(place[at] for at in step.positions))) for step in thought.steps)
    left_out = re.sub(r"\d+", lambda match: str(place.get(int(match[0]), match[0])), thought.left_out)
    products = tuple(thought.products[position - 1] for position in order)
    return replace(thought, products=products, steps=steps, left_out=left_out)
