"""Distil the annotations of the training sessions into rules and thoughts."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from kdtui.bundling.truth import minimal_bundles
from kdtui.distill import annotations
from kdtui.distill.rules import LEAST_SESSIONS, ConsolidatedRule, RuleTrial, consolidate, try_rules
from kdtui.distill.thoughts import rejection_reason
from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.knowledge.findings import Distilled, Findings, store_findings
from store.knowledge import NewKnowledge
from store.records import Format, Session
from store.sessions import draw_sessions, iter_sessions, split_size
from store.sqlite import Database

DISTILLED: tuple[Format, ...] = ("rule", "thought")
"""Formats that are distilled; patterns are mined."""

LEAST_PRECISION = 0.5
"""Below this precision, a rule is wrong more often than right."""


def distill_annotations(
    db: Database,
    dataset: str,
    formats: Sequence[Format],
    limit: int | None = None,
    seed: int = 0,
    *,
    replace: bool = False,
) -> Iterator[Distilled]:
    """Compose rules and thoughts from the bundles of the training sessions, and store them next to earlier ones.

    Args:
        limit, seed: as in `training_sessions`.
        replace: delete earlier ones that are not found again.

    Raises:
        As `compose_findings`.
    """
    yield from store_findings(db, compose_findings(db, dataset, formats, limit, seed), replace=replace)


def compose_findings(
    db: Database, dataset: str, formats: Sequence[Format], limit: int | None = None, seed: int = 0
) -> Findings:
    """Compose rules and thoughts from the bundles of the training sessions. Nothing is stored.

    Args:
        limit, seed: as in `training_sessions`.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: it has no training session with bundles.
    """
    sessions = training_sessions(db, dataset, limit, seed)
    pieces: dict[Format, list[NewKnowledge]] = {}
    if "rule" in formats:
        rules = [(rule, session.id) for session in sessions for rule in annotations.derive_rules(session)]
        pieces["rule"] = list(rule_pieces(consolidate(rules), sessions))
    if "thought" in formats:
        pieces["thought"] = list(_thoughts(sessions))
    return Findings(dataset, annotations.TEACHER, pieces, is_sample=is_sample(db, dataset, sessions))


def training_sessions(db: Database, dataset: str, limit: int | None = None, seed: int = 0) -> list[Session]:
    """Return the sessions that knowledge is distilled from.

    Args:
        limit: sessions at most, drawn by chance; None for all.
        seed: of the draw.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: it has none with bundles.
    """
    if limit is None:
        sessions = list(iter_sessions(db, dataset, split="train"))
    else:
        sessions = list(draw_sessions(db, dataset, "train", limit, seed))
    if not sessions:
        raise KdtuiError(f"dataset {dataset!r} has no training sessions with bundles; there is nothing to distil")
    return sessions


def is_sample(db: Database, dataset: str, sessions: Sequence[Session]) -> bool:
    """Return whether these are only some of the training sessions.

    Raises:
        NotFound: there is no such dataset.
    """
    return len(sessions) < split_size(db, dataset, "train")


def rule_pieces(
    rules: Sequence[ConsolidatedRule], sessions: Sequence[Session], *, least_sessions: int = LEAST_SESSIONS
) -> Iterator[NewKnowledge]:
    """Yield the rules with their results on the training sessions that test them.

    Args:
        least_sessions: that a rule must have been found in.
    """
    for each, trial in zip(rules, try_rules(rules, sessions, least_sessions), strict=True):
        measured = bool(each.rule.categories)
        yield NewKnowledge(
            statement=each.rule.text,
            content=msgspec.json.encode(each.rule).decode(),
            support=trial.support if measured else None,
            precision=trial.precision,
            rejected=_rejection(each, trial, least_sessions),
            sessions=each.sessions,
        )


def _rejection(each: ConsolidatedRule, trial: RuleTrial, least_sessions: int) -> str | None:
    if len(each.sessions) < least_sessions:
        return f"found in one session, and {least_sessions} are needed"
    if not each.rule.categories:
        # A model can repeat instructions from a product title. Other sessions get only what their categories test.
        return "names fewer than two categories of its session, so other sessions cannot test it"
    if trial.precision is not None and trial.precision < LEAST_PRECISION:
        return f"right in only {trial.right} of {counted(trial.applies, 'session')} that it applies to"
    return None


def _thoughts(sessions: Iterable[Session]) -> Iterator[NewKnowledge]:
    for session in sessions:
        thought = annotations.compose_thought(session, minimal_bundles(session.bundles))
        yield NewKnowledge(
            statement=thought.statement,
            content=msgspec.json.encode(thought).decode(),
            rejected=rejection_reason(thought, session),
            sessions=(session.id,),
        )
