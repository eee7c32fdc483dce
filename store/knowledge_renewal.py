"""Replacing what a teacher said before by new findings: findings are stored, older pieces are kept or deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields

from store.datasets import dataset_id
from store.knowledge import NewKnowledge, add_knowledge, sessions_of_piece
from store.knowledge_removal import remove_knowledge
from store.records import Format
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Renewal:
    """How new findings change a teacher's pieces of one dataset and format. Imported pieces are never counted.

    Attributes:
        kept: number of usable findings.
        rejected: number of rejected findings.
        new: number of findings, usable or rejected, that did not exist before.
        missing: numbers of the older pieces that were not found again.
        worse: numbers of the older usable pieces that the findings reject.
        better: number of older rejected pieces that were made usable; 0 while nothing is stored.
    """

    kept: int
    rejected: int
    new: int
    missing: tuple[int, ...] = ()
    worse: tuple[int, ...] = ()
    better: int = 0

    @property
    def lost(self) -> tuple[int, ...]:
        """Numbers of the older usable pieces that are lost if these findings replace them."""
        return (*self.missing, *self.worse)

    @property
    def can_replace(self) -> bool:
        """Whether there is any usable finding to replace older pieces with."""
        return self.kept > 0


def compare_findings(
    db: Database, dataset: str, format: Format, teacher: str, findings: Sequence[NewKnowledge]
) -> Renewal:
    """Return what storing these findings would change; write nothing.

    Raises:
        NotFound: there is no such dataset.
    """
    before = _existing_pieces(db, dataset, format, teacher)
    by_statement = {piece.statement: piece for piece in _distinct(findings)}
    return Renewal(
        kept=sum(piece.rejected is None for piece in by_statement.values()),
        rejected=sum(piece.rejected is not None for piece in by_statement.values()),
        new=sum(statement not in before for statement in by_statement),
        missing=tuple(
            piece.number for statement, piece in before.items() if piece.can_go and statement not in by_statement
        ),
        worse=tuple(
            piece.number
            for statement, piece in before.items()
            if piece.can_go and _rejects(by_statement.get(statement), piece)
        ),
    )


def renew_knowledge(
    db: Database,
    dataset: str,
    format: Format,
    teacher: str,
    findings: Sequence[NewKnowledge],
    *,
    replace: bool,
    is_sample: bool = False,
) -> Renewal:
    """Store a teacher's new findings for a dataset in a format, and return what changed.

    A statement that existed before keeps its row number. Imported pieces are never deleted.

    Args:
        replace: whether to delete older pieces that were not found again, and to reject those that the findings
            reject. Otherwise, or if no finding is usable, these pieces stay as they are.
        is_sample: whether the findings come from some of the training sessions only. Then, unless pieces are replaced,
            a piece that was found again stays as it is if it was found in as many sessions before: its measures can be
            those of more. A usable finding of a piece that stays rejected counts as rejected.

    Raises:
        NotFound: there is no such dataset.
    """
    with db.atomic():
        renewal = compare_findings(db, dataset, format, teacher, findings)
        is_replaced = replace and renewal.can_replace
        before = _existing_pieces(db, dataset, format, teacher)
        changes = []
        better = left_rejected = 0
        for piece in _distinct(findings):
            other = before.get(piece.statement)
            if other is not None and not (is_replaced and other.can_go):
                if _rejects(piece, other):
                    continue
                before_in = len(sessions_of_piece(db, other.number)) if is_sample else 0
                if before_in and len(piece.sessions) <= before_in:
                    left_rejected += piece.rejected is None and not other.is_kept
                    continue
            better += other is not None and not other.is_kept and piece.rejected is None
            changes.append(piece)
        add_knowledge(db, dataset, format, teacher, changes)
        if is_replaced and renewal.missing:
            remove_knowledge(db, renewal.missing)
    return replace_fields(
        renewal, kept=renewal.kept - left_rejected, rejected=renewal.rejected + left_rejected, better=better
    )


def _distinct(findings: Sequence[NewKnowledge]) -> list[NewKnowledge]:
    """Return one finding for each statement: a usable one with the most support, and the first of those.

    The same sentence can be found twice, for example about two categories that are called the same.
    """
    best: dict[str, NewKnowledge] = {}
    for piece in sorted(findings, key=lambda each: (each.rejected is not None, -(each.support or 0.0))):
        best.setdefault(piece.statement, piece)
    return [piece for piece in findings if best[piece.statement] is piece]


def replaceable_pieces(db: Database, dataset: str, format: Format, teacher: str) -> tuple[int, ...]:
    """Return the numbers of the pieces that findings could replace: all of the teacher's, except imported ones.

    Raises:
        NotFound: there is no such dataset.
    """
    return tuple(piece.number for piece in _existing_pieces(db, dataset, format, teacher).values() if piece.can_go)


def count_replaceable(db: Database, teacher: str) -> dict[tuple[str, str], int]:
    """Count the pieces of a teacher that findings could replace, by dataset and format; ignore imported ones."""
    counts: dict[tuple[str, str], int] = {}
    for sign, condition in ((1, "TRUE"), (-1, "import_id IS NOT NULL")):
        for dataset, format, count in db.execute(
            f"""
            SELECT name, format, count FROM datasets JOIN (
                SELECT dataset_id, format, count(*) AS count FROM knowledge WHERE teacher = ? AND {condition}
                GROUP BY dataset_id, format
            ) ON dataset_id = datasets.id
            """,
            [teacher],
        ).fetchall():
            counts[dataset, format] = counts.get((dataset, format), 0) + sign * int(count)
    return {key: count for key, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class _ExistingPiece:
    """An existing piece; it can be replaced unless it was imported."""

    number: int
    is_kept: bool
    can_go: bool


def _rejects(finding: NewKnowledge | None, before: _ExistingPiece) -> bool:
    """Whether a finding rejects a usable piece."""
    return finding is not None and finding.rejected is not None and before.is_kept


def _existing_pieces(db: Database, dataset: str, format: Format, teacher: str) -> dict[str, _ExistingPiece]:
    """Return the existing pieces of a teacher, by statement."""
    rows = db.execute(
        """
        SELECT statement, id, status = 'kept', import_id IS NULL FROM knowledge
        WHERE dataset_id = ? AND format = ? AND teacher = ? ORDER BY id
        """,
        [dataset_id(db, dataset), format, teacher],
    )
    return {
        statement: _ExistingPiece(number, bool(is_kept), bool(can_go))
        for statement, number, is_kept, can_go in rows.fetchall()
    }
