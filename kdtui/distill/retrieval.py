"""Retrieval of the knowledge that applies to a session, best first, within a budget of tokens."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

from kdtui.distill.applicable import AICL, Applicable, AppliedPiece, rule_line
from kdtui.distill.missing_knowledge import explain_missing_knowledge
from kdtui.distill.patterns import Pattern, unseen_patterns
from kdtui.distill.rules import LEAST_SESSIONS, Rule, applies_to
from kdtui.distill.thoughts import Thought
from kdtui.errors import KdtuiError
from store.full_text import session_words
from store.knowledge import Knowledge, find_knowledge, matching_knowledge, pieces_from, sessions_of_piece
from store.records import Format, RunSettings, Session
from store.sessions import get_session
from store.sqlite import Database

Value = TypeVar("Value", Pattern, Rule, Thought)
Shown = TypeVar("Shown", Rule, Thought)

Nearest: TypeAlias = Callable[[Session, int], list[str]]
"""Returns the ids of the nearest training sessions of a session, excluding itself; takes the number of them."""

NearestOfAll: TypeAlias = Callable[[Session, int], list[tuple[str, str]]]
"""The same among the training sessions of several datasets; returns pairs of dataset and id."""

DEFAULT_NEIGHBOURS = 1
"""Training sessions whose thoughts are shown, or that serve as demonstrations."""

DEFAULT_BUDGET = 600
"""Tokens of rules and thoughts for one session."""

_RULES = 8
"""Maximum number of rules in a prompt: a small student cannot handle more."""

_CANDIDATES = 200
"""Rules to check among those that share words with a session."""

_FURTHER = 4
"""Sessions to look up per neighbour, as not all have a thought."""


class Retriever:
    """Finds the knowledge for the sessions of one dataset.

    Args:
        settings: formats, sample, domains, number of neighbours and budget.
        nearest: finds the neighbours.
        count: counts the tokens of a text.
        nearest_of_all: finds neighbours in all datasets of the sample, if the knowledge of all domains is shown.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: there is no knowledge of a format.
    """

    def __init__(
        self,
        db: Database,
        dataset: str,
        settings: RunSettings,
        nearest: Nearest,
        count: Callable[[str], int],
        nearest_of_all: NearestOfAll | None = None,
    ) -> None:
        self._db = db
        self._dataset = dataset
        self._settings = settings
        self._nearest = nearest
        self._count = count
        self._nearest_of_all = nearest_of_all
        self._shown_of = None if settings.domains == "all" else dataset
        for format in cast("tuple[Format, ...]", settings.knowledge):
            if not find_knowledge(db, dataset=self._shown_of, format=format, sample=settings.sample, limit=1):
                raise KdtuiError(explain_missing_knowledge(db, dataset, format, settings.sample, settings.domains))
        # Patterns are few, and any of them can join products without words in common.
        pieces = self._all("pattern")
        self._patterns = tuple(decode_piece(piece, Pattern) for piece in pieces if piece.dataset == dataset)
        self._patterns_of_others = tuple(decode_piece(piece, Pattern) for piece in pieces if piece.dataset != dataset)

    def __call__(self, session: Session) -> Applicable:
        """Return the knowledge that applies to a session, without knowledge of its own bundles.

        This excludes its own thoughts, rules that too few other sessions gave, and its contribution to patterns. Other
        rules would exist without this session, but their precision counts it.
        """
        budget = self._settings.budget or DEFAULT_BUDGET
        # A thought is longer than all rules together, so it gets the remaining budget.
        rules, left = self._within(self._rules(session), lambda rule: rule_line(rule, session), budget)
        thoughts, _ = self._within(self._thoughts(session), lambda thought: thought.statement, left)
        patterns = unseen_patterns(session, self._patterns) if session.split == "train" else self._patterns
        return Applicable((*patterns, *self._patterns_of_others), rules, thoughts, self._demonstrations(session))

    def _rules(self, session: Session) -> list[AppliedPiece[Rule]]:
        if "rule" not in self._settings.knowledge:
            return []
        pieces = matching_knowledge(
            self._db, session_words(session), self._shown_of, "rule", sample=self._settings.sample, limit=_CANDIDATES
        )
        own = {
            piece.id
            for piece in pieces_from(self._db, self._dataset, session.id, "rule")
            # A rule that a model wrote is kept if a single session gave it.
            if len(sessions_of_piece(self._db, piece.id)) <= (LEAST_SESSIONS if piece.call_id is None else 1)
        }
        return rules_that_apply([piece for piece in pieces if piece.id not in own], session, _RULES)

    def _thoughts(self, session: Session) -> list[AppliedPiece[Thought]]:
        if "thought" not in self._settings.knowledge:
            return []
        count = self._settings.neighbours or DEFAULT_NEIGHBOURS
        thoughts: list[AppliedPiece[Thought]] = []
        for dataset, neighbour in self._near(session, count * _FURTHER):
            if len(thoughts) == count:
                break
            pieces = pieces_from(self._db, dataset, neighbour, "thought", sample=self._settings.sample)
            thoughts += [AppliedPiece(piece.id, decode_piece(piece, Thought)) for piece in pieces[:1]]
        return thoughts

    def _near(self, session: Session, limit: int) -> list[tuple[str, str]]:
        """Return the nearest training sessions of the datasets whose knowledge is shown, with their datasets."""
        if self._nearest_of_all is not None:
            return self._nearest_of_all(session, limit)
        return [(self._dataset, neighbour) for neighbour in self._nearest(session, limit)]

    def _demonstrations(self, session: Session) -> tuple[Session, ...]:
        """Return the nearest training sessions if the strategy shows demonstrations."""
        if self._settings.strategy != AICL:
            return ()
        count = self._settings.neighbours or DEFAULT_NEIGHBOURS
        near = self._nearest(session, count)
        return tuple(get_session(self._db, self._dataset, each) for each in near)

    def _within(
        self, pieces: Sequence[AppliedPiece[Shown]], text_of: Callable[[Shown], str], budget: int
    ) -> tuple[tuple[AppliedPiece[Shown], ...], int]:
        """Return the pieces that fit, in order, and the remaining budget."""
        fitting = []
        for piece in pieces:
            cost = self._count(text_of(piece.value))
            if cost <= budget:
                budget -= cost
                fitting.append(piece)
        return tuple(fitting), budget

    def _all(self, format: Format) -> list[Knowledge]:
        if format not in self._settings.knowledge:
            return []
        return find_knowledge(self._db, dataset=self._shown_of, format=format, sample=self._settings.sample)


def rules_that_apply(pieces: Iterable[Knowledge], session: Session, most: int) -> list[AppliedPiece[Rule]]:
    """Return the rules about products of a session, most precise first; only one rule for the same products.

    A rule without categories can apply to any session.

    Raises:
        KdtuiError: a piece is not a rule that this version knows.
    """
    best: dict[Any, AppliedPiece[Rule]] = {}
    for piece in sorted(pieces, key=lambda each: -(each.precision or 0.0)):
        rule = decode_piece(piece, Rule)
        about = applies_to(rule, session)
        if about or not rule.categories:
            best.setdefault(about or piece.id, AppliedPiece(piece.id, rule))
    return list(best.values())[:most]


def decode_piece(piece: Knowledge, kind: type[Value]) -> Value:
    """Decode the content of a stored piece.

    Raises:
        KdtuiError: the piece was made by a version that this one does not know.
    """
    try:
        return msgspec.json.decode(piece.content, type=kind)
    except msgspec.MsgspecError as error:
        raise KdtuiError(f"knowledge number {piece.id} is not a {piece.format} that this version knows") from error
