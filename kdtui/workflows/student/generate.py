"""Sessions become bundles."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from kdtui.workflows.student.session_student import SessionStudent
from models.bundle_list import WrittenBundle
from models.student_protocol import Answered, Grew, Noted, Refused
from store.predictions import PredictedBundle, Prediction
from store.records import Session

if TYPE_CHECKING:
    from kdtui.distill.routing import AdapterChoice


@dataclass(frozen=True, slots=True)
class BundleGrew:
    """A bundle of the session that is being answered has more of its intent, or is complete."""

    session: Session
    bundle: WrittenBundle


@dataclass(frozen=True, slots=True)
class SessionAnswered:
    """The answer to a session is whole, or there is none and the prediction says why.

    Attributes:
        choice: which of several adapters answered, where a router chose.
    """

    session: Session
    prediction: Prediction
    choice: "AdapterChoice | None" = None


GenerateEvent: TypeAlias = BundleGrew | SessionAnswered | Noted


def generate(student: SessionStudent, sessions: Iterable[Session | None]) -> Iterator[GenerateEvent]:
    """Answer sessions, several at a time; one that the student cannot answer does not stop the others.

    Args:
        sessions: None stands for "none at the moment".

    Closing the iterator stops the student within one batch.

    Raises:
        ModelError: the model fails in a way that the next session would meet too.
    """
    for event in student.answer(sessions):
        session = cast("Session", event.key)
        match event:
            case Grew(_, bundle):
                yield BundleGrew(session, bundle)
            case Answered(_, bundles, seconds, usage):
                predicted = tuple(_predicted(bundle, session) for bundle in bundles)
                prediction = Prediction(session.id, predicted, None, seconds, usage.prompt, usage.completion)
                yield SessionAnswered(session, prediction, student.choose(session) if student.choose else None)
            case Refused(_, reason, seconds, usage):
                prediction = Prediction(session.id, None, reason, seconds, usage.prompt, usage.completion)
                yield SessionAnswered(session, prediction)
            case Noted():
                yield event


def _predicted(bundle: WrittenBundle, session: Session) -> PredictedBundle:
    items = tuple(session.items[position - 1].id for position in bundle.positions)
    return PredictedBundle(items, bundle.positions, bundle.intent, bundle.confidence)
