"""Sessions become bundles."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

from kdtui.workflows.students import SessionStudent
from models.bundle_list import WrittenBundle
from models.errors import PromptTooLong
from store.records import Session
from store.runs import Predicted, Prediction


@dataclass(frozen=True, slots=True)
class BundleGrew:
    """A bundle of the session that is being answered has more of its intent, or is complete."""

    session: Session
    bundle: WrittenBundle


@dataclass(frozen=True, slots=True)
class SessionAnswered:
    """The answer to a session is whole, or there is none and the prediction says why."""

    session: Session
    prediction: Prediction


GenerateEvent: TypeAlias = BundleGrew | SessionAnswered


def generate(student: SessionStudent, sessions: Iterable[Session]) -> Iterator[GenerateEvent]:
    """Answer the sessions one after the other; one that the student cannot answer does not stop the others.

    Closing the iterator stops the student where it yields: at its next token, once it has read the prompt.

    Raises:
        ModelError: the model fails in a way that the next session would meet too.
    """
    for session in sessions:
        started = perf_counter()
        bundles: tuple[Predicted, ...] | None = ()
        error = None
        try:
            complete = []
            for bundle in student.write_bundles(session):
                yield BundleGrew(session, bundle)
                if bundle.complete:
                    complete.append(bundle)
            bundles = tuple(_predicted(bundle, session) for bundle in complete)
        except PromptTooLong as problem:
            bundles, error = None, str(problem)
        yield SessionAnswered(session, Prediction(session.id, bundles, error, perf_counter() - started))


def _predicted(bundle: WrittenBundle, session: Session) -> Predicted:
    items = tuple(session.items[position - 1].id for position in bundle.positions)
    return Predicted(items, bundle.positions, bundle.intent, bundle.confidence)
