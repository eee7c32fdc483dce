"""The messages that ask a student about a session."""

from collections.abc import Sequence
from dataclasses import replace as replace_fields

from kdtui.bundling.prompt import session_messages
from kdtui.distill.applicable import Applicable
from models.messages import Message
from models.student_protocol import (
    Form,
)
from store.records import Session


def session_prompt(
    session: Session, knowledge: Applicable, form: Form, order: Sequence[int], *, has_evidence: bool = False
) -> list[Message]:
    """Return the prompt for a session, with its products in this order and the knowledge that applies to it.

    Args:
        has_evidence: whether the questions about pairs include the evidence; if so, patterns are left out.
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
