"""The conversations in which a language model gives rules and thoughts."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import msgspec

from kdtui.distill.applicable import rule_line
from kdtui.distill.conversations import (
    RULES_SCHEMA,
    correction_prompt,
    detection_prompt,
    read_rules,
    read_thought,
    reflection_prompt,
    thought_prompt,
    thought_schema,
)
from kdtui.distill.feedback import write_feedback
from kdtui.distill.patterns import Pattern, patterns_for
from kdtui.distill.retrieval import decode_piece, rules_that_apply
from kdtui.distill.rules import Rule, applies_to
from kdtui.distill.thoughts import rejection_reason
from kdtui.workflows.calls.answers import read_answer, text_of
from kdtui.workflows.calls.asker import Asker
from models.endpoint.json_answer import answer_schema, parse_answer
from models.messages import Message
from store.knowledge import Knowledge, NewKnowledge, find_knowledge
from store.records import Format, Session
from store.sqlite import Database

_PATTERNS = 3


_RULES = 5
"""Patterns and rules that a teacher is given for a session."""


@dataclass(frozen=True, slots=True)
class LearnedRule:
    """A rule from a teacher, and its sources."""

    rule: Rule
    session: str
    call: int
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LearnedThought:
    """A thought, and the teacher that gave it."""

    teacher: str
    piece: NewKnowledge


Lesson: TypeAlias = LearnedRule | LearnedThought


_Tell: TypeAlias = Callable[[Lesson], Awaitable[None]]


def conversation_about(
    db: Database, dataset: str, format: Format, asker: Asker, tell: _Tell
) -> Callable[[Session], Awaitable[None]]:
    """Return the conversation that distils a format from a session."""
    if format == "rule":
        pieces = find_knowledge(db, dataset=dataset, format="pattern")
        patterns = {decode_piece(piece, Pattern): piece.id for piece in pieces}
        return partial(_reflect, asker, patterns, tell)
    # All rules rather than those of a search: its results, and so the questions, would change with the store.
    return partial(_think, asker, find_knowledge(db, dataset=dataset, format="rule"), tell)


async def forget_lesson(_: Lesson) -> None:
    """Keep nothing, as in a rehearsal."""


async def _reflect(asker: Asker, patterns: dict[Pattern, int], tell: _Tell, session: Session) -> None:
    """Detect bundles, correct them, and learn rules from what people did instead."""
    matches = patterns_for(session, patterns, _PATTERNS)
    known = [f"{','.join(map(str, each.positions))}: {each.pattern.statement}" for each in matches]
    schema = answer_schema(len(session.items))
    messages = [detection_prompt(session, known)]
    first = await asker.ask("detect", messages, schema)
    messages += [Message("assistant", text_of(first)), correction_prompt()]
    second = await asker.ask("correct", messages, schema)
    bundles = read_answer(second, lambda text: parse_answer(text, len(session.items), 1.0))
    messages += [Message("assistant", text_of(second)), reflection_prompt(write_feedback(session, bundles))]
    third = await asker.ask("reflect", messages, RULES_SCHEMA)
    parents = tuple(patterns[each.pattern] for each in matches)
    for rule in read_answer(third, lambda text: read_rules(text, session)):
        await tell(LearnedRule(rule, session.id, third.id, parents))


async def _think(asker: Asker, rules: Sequence[Knowledge], tell: _Tell, session: Session) -> None:
    """Have the teacher explain how the products lead to the bundles. Reject that unless it leads to the true ones."""
    given = [piece for piece in rules_that_apply(rules, session, _RULES) if applies_to(piece.value, session)]
    known = [rule_line(piece.value, session) for piece in given]
    call = await asker.ask("thought", [thought_prompt(session, known)], thought_schema(len(session.items)))
    thought = read_answer(call, lambda text: read_thought(text, session))
    piece = NewKnowledge(
        thought.statement,
        msgspec.json.encode(thought).decode(),
        rejected=rejection_reason(thought, session),
        call=call.id,
        sessions=(session.id,),
        parents=tuple(piece.number for piece in given),
    )
    await tell(LearnedThought(call.teacher, piece))
