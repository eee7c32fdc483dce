"""Formalized rules, the second format of knowledge: which products to put together, and which to leave apart.

A rule is a sentence. If it names the categories that it is about, it can be tested on any session: then it has a
support and a precision, and identifies products.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from msgspec import Struct

from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import true_bundles
from store.full_text import words_in
from store.records import CategoryPath, Session

LEAST_SESSIONS = 2
"""Sessions that a rule must have been found in: a single one can be chance."""

_ALIKE = 0.8
"""Minimum Jaccard index of the words of two rules without categories that count as equal."""


class Rule(Struct, frozen=True):
    """One rule.

    Attributes:
        text: the rule as a sentence.
        together: whether to bundle products of the two categories, or to leave them apart; None if the rule says
            something else.
        categories: the two category paths that it is about, sorted; the same path twice for two products of one
            category; empty if the rule names none.
        intents: what shoppers want such bundles for, most frequent first.
    """

    text: str
    together: bool | None = None
    categories: tuple[CategoryPath, ...] = ()
    intents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsolidatedRule:
    """A rule, with the sessions that it was found in."""

    rule: Rule
    sessions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleTrial:
    """The results of a rule on the sessions that test it.

    Attributes:
        sessions: number of these sessions.
        applies: number of sessions with products of its categories.
        right: number of the latter in which all such products share a true bundle, or none do if the rule leaves them
            apart.
    """

    sessions: int
    applies: int
    right: int

    @property
    def support(self) -> float:
        """Share of the sessions that the rule applies to."""
        return self.applies / self.sessions if self.sessions else 0.0

    @property
    def precision(self) -> float | None:
        """Share of these sessions in which it is right; None if it applies to none."""
        return self.right / self.applies if self.applies else None


def positions_of(session: Session, category: CategoryPath) -> list[int]:
    """Return the positions of the products whose main category is this one, or is below it."""
    depth = len(category)
    return [
        position
        for position, item in enumerate(session.items, start=1)
        if item.categories and item.categories[0][:depth] == category
    ]


def applies_to(rule: Rule, session: Session) -> tuple[tuple[int, int], ...]:
    """Return the pairs of products that a rule is about, as positions (1-based, ascending)."""
    if len(rule.categories) != 2:
        return ()
    one, other = rule.categories
    if one == other:
        return tuple(combinations(positions_of(session, one), 2))
    pairs_about = {
        (min(a, b), max(a, b)) for a in positions_of(session, one) for b in positions_of(session, other) if a != b
    }
    return tuple(sorted(pairs_about))


def try_rules(
    rules: Sequence[ConsolidatedRule], sessions: Sequence[Session], least_sessions: int = 1
) -> list[RuleTrial]:
    """Test each rule on each session, as if the session had not been there (leave-one-out).

    A session that a rule comes from tests the rule only if enough others remain for it to be found. A rule often comes
    from every session in which it is right, so the sessions that it does not come from would mostly contradict it.

    Args:
        least_sessions: that a rule must be found in.
    """
    by_category: defaultdict[CategoryPath, set[int]] = defaultdict(set)
    for number, session in enumerate(sessions):
        for item in session.items:
            path = item.main_category
            for depth in range(1, len(path) + 1):
                by_category[path[:depth]].add(number)
    bundled = [pairs(true_bundles(session)) for session in sessions]
    number_of = {session.id: number for number, session in enumerate(sessions)}
    trials = []
    for each in rules:
        needed = () if len(each.sessions) > least_sessions else each.sessions
        untested = {number_of[session] for session in needed if session in number_of}
        applies = right = 0
        sessions_with = [by_category.get(category, set()) for category in each.rule.categories]
        for number in (set.intersection(*sessions_with) if sessions_with else set()) - untested:
            about = applies_to(each.rule, sessions[number])
            if about:
                applies += 1
                right += all((pair in bundled[number]) == each.rule.together for pair in about)
        trials.append(RuleTrial(len(sessions) - len(untested), applies, right))
    return trials


def consolidate(found: Iterable[tuple[Rule, str]]) -> list[ConsolidatedRule]:
    """Merge equal rules of many sessions; return those of most sessions first.

    Rules about the same categories are equal if both put together, or both leave apart; rules without categories if
    they have nearly the same words. The first sentence is kept.

    Args:
        found: rules, each with the session that it comes from.
    """
    by_categories: dict[tuple[object, ...], list[tuple[Rule, str]]] = {}
    in_words: list[tuple[frozenset[str], list[tuple[Rule, str]]]] = []
    for rule, session in found:
        if rule.categories and rule.together is not None:
            by_categories.setdefault((rule.together, rule.categories), []).append((rule, session))
            continue
        words = frozenset(words_in(rule.text))
        group = next((group for others, group in in_words if _are_similar(words, others)), None)
        if group is None:
            in_words.append((words, [(rule, session)]))
        else:
            group.append((rule, session))
    merged = [_merge(group) for group in [*by_categories.values(), *(group for _, group in in_words)]]
    return sorted(merged, key=lambda each: -len(each.sessions))


def _are_similar(one: frozenset[str], other: frozenset[str]) -> bool:
    # Sets of very different sizes cannot be similar; most pairs have different sizes.
    if min(len(one), len(other)) < _ALIKE * max(len(one), len(other)):
        return False
    return len(one & other) >= _ALIKE * len(one | other)


def _merge(group: Sequence[tuple[Rule, str]]) -> ConsolidatedRule:
    first = group[0][0]
    counts: dict[str, int] = {}
    for rule, _ in group:
        for intent in rule.intents:
            counts[intent] = counts.get(intent, 0) + 1
    intents = tuple(sorted(counts, key=lambda intent: -counts[intent]))
    sessions = tuple(dict.fromkeys(session for _, session in group))
    return ConsolidatedRule(Rule(first.text, first.together, first.categories, intents), sessions)
