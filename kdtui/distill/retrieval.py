"""What of the knowledge applies to a session, the best first, within a budget of tokens."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

from kdtui.distill.applicable import AICL, Applicable, AppliedPiece, line_of
from kdtui.distill.lacking import why_lacking
from kdtui.distill.patterns import Pattern, unseen_patterns
from kdtui.distill.rules import Rule, applies_to
from kdtui.distill.thoughts import Thought
from kdtui.errors import KdtuiError
from store.full_text import words_of
from store.knowledge import Knowledge, find_knowledge, matching_knowledge, pieces_from, sessions_of_piece
from store.records import Format, RunSettings, Session
from store.sessions import get_session
from store.sqlite import Database

Value = TypeVar("Value", Pattern, Rule, Thought)
Shown = TypeVar("Shown", Rule, Thought)

Nearest: TypeAlias = Callable[[Session, int], list[str]]
"""Gives the ids of so many training sessions that are nearest to a session, and not the session itself."""

NearestOfAll: TypeAlias = Callable[[Session, int], list[tuple[str, str]]]
"""The same among the training sessions of several datasets: gives the dataset and the id of each."""

DEFAULT_NEIGHBOURS = 1
"""Training sessions whose thoughts are shown, or that are the demonstration."""

DEFAULT_BUDGET = 600
"""Tokens of rules and thoughts for one session."""

_RULES = 8
"""Most rules that a prompt shows: a small student is lost among more."""

_CANDIDATES = 200
"""Rules that share words with a session and are looked at."""

_FURTHER = 4
"""Nearest sessions that are looked at for each that is wanted: not all of them have a thought."""


class Retriever:
    """Finds the knowledge for sessions of one dataset.

    Args:
        settings: which formats, of which sample, of which datasets, how many neighbours, and the budget.
        nearest: finds the neighbours.
        count: tokens of a text.
        nearest_of_all: finds them in all datasets that the sample has knowledge of, where all of it is to be shown.

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
                raise KdtuiError(why_lacking(db, dataset, format, settings.sample, settings.domains))
        # Patterns are few, and any of them may join products that share no word with it.
        pieces = self._all("pattern")
        self._patterns = tuple(decoded(piece, Pattern) for piece in pieces if piece.dataset == dataset)
        self._patterns_of_others = tuple(decoded(piece, Pattern) for piece in pieces if piece.dataset != dataset)

    def __call__(self, session: Session) -> Applicable:
        """What applies to a session, without what it tells of its own bundles.

        Its thoughts are left out, rules that come from it alone, and what it adds to patterns. A rule that was found in
        another session too stays: it would be there without this one.
        """
        budget = self._settings.budget or DEFAULT_BUDGET
        # A thought is longer than all rules together: it gets what they leave.
        rules, left = self._within(self._rules(session), lambda rule: line_of(rule, session), budget)
        thoughts, _ = self._within(self._thoughts(session), lambda thought: thought.statement, left)
        patterns = unseen_patterns(session, self._patterns) if session.split == "train" else self._patterns
        return Applicable((*patterns, *self._patterns_of_others), rules, thoughts, self._demonstrations(session))

    def _rules(self, session: Session) -> list[AppliedPiece[Rule]]:
        if "rule" not in self._settings.knowledge:
            return []
        pieces = matching_knowledge(
            self._db, words_of(session), self._shown_of, "rule", sample=self._settings.sample, limit=_CANDIDATES
        )
        own = {
            piece.id
            for piece in pieces_from(self._db, self._dataset, session.id, "rule")
            if sessions_of_piece(self._db, piece.id) == [session.id]
        }
        return rules_that_apply([piece for piece in pieces if piece.id not in own], session, _RULES)

    def _thoughts(self, session: Session) -> list[AppliedPiece[Thought]]:
        if "thought" not in self._settings.knowledge:
            return []
        wanted = self._settings.neighbours or DEFAULT_NEIGHBOURS
        found: list[AppliedPiece[Thought]] = []
        for dataset, neighbour in self._near(session, wanted * _FURTHER):
            if len(found) == wanted:
                break
            pieces = pieces_from(self._db, dataset, neighbour, "thought", sample=self._settings.sample)
            found += [AppliedPiece(piece.id, decoded(piece, Thought)) for piece in pieces[:1]]
        return found

    def _near(self, session: Session, limit: int) -> list[tuple[str, str]]:
        """The nearest training sessions of the datasets whose knowledge is shown, each with its dataset."""
        if self._nearest_of_all is not None:
            return self._nearest_of_all(session, limit)
        return [(self._dataset, neighbour) for neighbour in self._nearest(session, limit)]

    def _demonstrations(self, session: Session) -> tuple[Session, ...]:
        """The nearest training sessions, where these settings want them."""
        if self._settings.strategy != AICL:
            return ()
        wanted = self._settings.neighbours or DEFAULT_NEIGHBOURS
        near = self._nearest(session, wanted)
        return tuple(get_session(self._db, self._dataset, each) for each in near)

    def _within(
        self, pieces: Sequence[AppliedPiece[Shown]], text_of: Callable[[Shown], str], budget: int
    ) -> tuple[tuple[AppliedPiece[Shown], ...], int]:
        """Those that fit, in order, and what is left of the budget."""
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
    """The rules that are about products of a session, the most precise first; of those about the same products, one.

    A rule that names no categories may say something of any session.

    Raises:
        KdtuiError: a piece is no rule that this version knows.
    """
    best: dict[Any, AppliedPiece[Rule]] = {}
    for piece in sorted(pieces, key=lambda each: -(each.precision or 0.0)):
        rule = decoded(piece, Rule)
        about = applies_to(rule, session)
        if about or not rule.categories:
            best.setdefault(about or piece.id, AppliedPiece(piece.id, rule))
    return list(best.values())[:most]


def decoded(piece: Knowledge, kind: type[Value]) -> Value:
    """What a stored piece says.

    Raises:
        KdtuiError: it was made by a version that this one does not know.
    """
    try:
        return msgspec.json.decode(piece.content, type=kind)
    except msgspec.MsgspecError as error:
        raise KdtuiError(f"knowledge number {piece.id} is no {piece.format} that this version knows") from error
