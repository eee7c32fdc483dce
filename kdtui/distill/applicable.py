"""The knowledge that applies to one session, as its prompt shows it. Importing this is cheap."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from kdtui.distill.patterns import Pattern, PatternMatch, patterns_for
from kdtui.distill.rules import Rule, applies_to
from kdtui.distill.thoughts import Thought
from store.records import Session

_Value = TypeVar("_Value", Rule, Thought)

AICL = "aicl"
"""The strategy that shows the nearest training session as a demonstration, as AICL does."""

_PATTERNS = 6
"""Maximum number of patterns in a prompt: a small student cannot handle more."""


@dataclass(frozen=True, slots=True)
class AppliedPiece(Generic[_Value]):
    """A piece of knowledge that applies to a session: its number in the store, and its content."""

    number: int
    value: _Value


@dataclass(frozen=True, slots=True)
class Applicable:
    """The knowledge shown to a student for one session."""

    patterns: tuple[Pattern, ...] = ()
    rules: tuple[AppliedPiece[Rule], ...] = ()
    thoughts: tuple[AppliedPiece[Thought], ...] = ()
    demonstrations: tuple[Session, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the rules and thoughts in the store."""
        return (*(rule.number for rule in self.rules), *(thought.number for thought in self.thoughts))

    def hints(self, session: Session) -> list[PatternMatch]:
        """Return the patterns that join products of the session, best first."""
        return patterns_for(session, self.patterns, _PATTERNS)

    def rule_lines(self, session: Session) -> list[str]:
        """Return the rules as lines that list the matching products."""
        return [rule_line(piece.value, session) for piece in self.rules]

    def examples(self) -> list[str]:
        """Return the thoughts as texts."""
        return [piece.value.statement for piece in self.thoughts]


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text without a tokenizer: a token per three characters, which is rather too many."""
    return estimate_tokens_of(len(text))


def estimate_tokens_of(characters: int) -> int:
    """Estimate the tokens of a text with this number of characters."""
    return characters // 3 + 1


def rule_line(rule: Rule, session: Session) -> str:
    """Return a rule, along with the pairs of products in the session that it is about."""
    pairs = ", ".join(f"{a} and {b}" for a, b in applies_to(rule, session))
    return f"{rule.text}: {pairs}." if pairs else rule.text
