"""The knowledge that applies to one session, as its prompt shows it. Importing this is cheap."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from kdtui.distill.patterns import Match, Pattern, patterns_for
from kdtui.distill.rules import Rule, applies_to
from kdtui.distill.thoughts import Thought
from store.records import Session

_Value = TypeVar("_Value", Rule, Thought)

AICL = "aicl"
"""The strategy that shows a student the nearest training session, as AICL does."""

_PATTERNS = 6
"""Most patterns that a prompt shows: a small student is lost among more."""


@dataclass(frozen=True, slots=True)
class AppliedPiece(Generic[_Value]):
    """A piece of knowledge that applies to a session: its number in the store, and what it says."""

    number: int
    value: _Value


@dataclass(frozen=True, slots=True)
class Applicable:
    """What a student is shown for one session."""

    patterns: tuple[Pattern, ...] = ()
    rules: tuple[AppliedPiece[Rule], ...] = ()
    thoughts: tuple[AppliedPiece[Thought], ...] = ()
    demonstrations: tuple[Session, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of the rules and the thoughts, in the store."""
        return (*(rule.number for rule in self.rules), *(thought.number for thought in self.thoughts))

    def hints(self, session: Session) -> list[Match]:
        """The patterns that join products of the session, the best first."""
        return patterns_for(session, self.patterns, _PATTERNS)

    def rule_lines(self, session: Session) -> list[str]:
        """The rules as lines that name the products that they are about."""
        return [line_of(piece.value, session) for piece in self.rules]

    def examples(self) -> list[str]:
        """The thoughts as texts."""
        return [piece.value.statement for piece in self.thoughts]


def roughly(text: str) -> int:
    """Tokens of a text, where the tokenizer is not at hand: about a token for three characters, rather too many."""
    return roughly_for(len(text))


def roughly_for(characters: int) -> int:
    """The same for a text of so many characters."""
    return characters // 3 + 1


def line_of(rule: Rule, session: Session) -> str:
    """A rule with the products of a session that it is about."""
    pairs = ", ".join(f"{a} and {b}" for a, b in applies_to(rule, session))
    return f"{rule.text}: {pairs}." if pairs else rule.text
