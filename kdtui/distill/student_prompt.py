"""The messages that a student gets about a session."""

from collections.abc import Sequence
from dataclasses import replace as replace_fields

from kdtui.bundling.prompt import session_messages
from kdtui.distill.applicable import Applicable
from models.messages import Message
from models.student_protocol import (
    Form,
)
from store.records import Session


def prompt(
    session: Session, knowledge: Applicable, form: Form, order: Sequence[int], *, has_evidence: bool = False
) -> list[Message]:
    """What the student is shown of a session, its products in this order, with the knowledge that applies to it.

    Args:
        has_evidence: what the patterns say stands in the questions about pairs.
    """
    if has_evidence and form == "pairs":
        knowledge = replace_fields(knowledge, patterns=())
    ordered = Session(session.id, tuple(session.items[position - 1] for position in order))
    hints = [(match.positions, match.pattern.categories[-1][-1]) for match in knowledge.hints(ordered)]
    return session_messages(
        ordered,
        hints,
        form,
        rules=knowledge.rule_lines(ordered),
        examples=knowledge.examples(),
        demonstrations=knowledge.demonstrations,
    )
