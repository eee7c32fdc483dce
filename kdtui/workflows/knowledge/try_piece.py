"""Try a piece of knowledge: a student answers one session without the piece, and with only it."""

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from kdtui.distill.patterns import Pattern, patterns_for
from kdtui.distill.rules import Rule, applies_to
from kdtui.errors import KdtuiError
from kdtui.workflows.knowledge.about_piece import Content, about_piece
from kdtui.workflows.knowledge.sample import pick_sample
from kdtui.workflows.model_names import PATTERNS
from models.embedded import NAME, SHIPPED
from store.errors import NotFound
from store.records import RunSettings, Session, Split
from store.samples import pieces_of_sample
from store.sessions import draw_sessions
from store.sqlite import Database

_LOOKED_AT = 20_000
"""Sessions of a split at most that are searched for one that the piece is about."""


@dataclass(frozen=True, slots=True)
class PieceTrial:
    """The students to compare, and the session to ask them about.

    Attributes:
        session: its id.
        without: the settings without the piece.
        having: the same with a sample of only the piece.
    """

    dataset: str
    session: str
    without: RunSettings
    having: RunSettings


def trial_of(db: Database, number: int, usual: RunSettings) -> PieceTrial:
    """Say how to try a piece, on a session that it does not come from. Its sample is made if it does not exist.

    Args:
        usual: the usual student. The embedded student replaces one that is shown no knowledge, or whose evidence
            changes as soon as a sample is named.

    Raises:
        NotFound: there is no such piece.
        KdtuiError: it is about no session that is left to try it on, or its sample has been changed.
    """
    about = about_piece(db, number)
    piece = about.piece
    session = next(_sessions(db, piece.dataset, about.content), None)
    if session is None:
        raise KdtuiError(
            f"{piece.format} {number} says nothing about any validation or test session of {piece.dataset}, "
            "so there is none to try it on"
        )
    sample = f"only-{number}"
    try:
        held = pieces_of_sample(db, sample)
    except NotFound:
        pick_sample(db, sample, [number])
    else:
        if held != [number]:
            raise KdtuiError(f"sample {sample} holds other pieces than {number}; delete it, and it is made again")
    without = replace(usual, knowledge=(), sample=None, domains="own", neighbours=None, budget=None, near=None)
    without = replace(without, limit=None, seed=None)
    if usual.student in (PATTERNS, SHIPPED):
        without = RunSettings(NAME)
    return PieceTrial(piece.dataset, session.id, without, replace(without, knowledge=(piece.format,), sample=sample))


def _sessions(db: Database, dataset: str, content: Content | None) -> Iterator[Session]:
    """Yield sessions that the knowledge is about and does not come from."""
    splits: tuple[Split, ...] = ("valid", "test")
    for split in splits:
        for session in draw_sessions(db, dataset, split, _LOOKED_AT):
            if _is_about(content, session):
                yield session


def _is_about(content: Content | None, session: Session) -> bool:
    match content:
        case Pattern():
            return bool(patterns_for(session, [content], 1))
        # A rule without categories is about any session, as a thought is.
        case Rule() if content.categories:
            return bool(applies_to(content, session))
    return True
