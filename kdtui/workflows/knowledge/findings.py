"""The findings of a teacher, and the effect of storing them on its earlier pieces.

Findings are stored next to existing pieces. Pieces that are not found again are deleted only if the user has agreed,
knowing how many they are, and never if no finding can be used instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kdtui.text import counted, one_line
from kdtui.workflows.knowledge.pieces import dependents_in_words
from store.knowledge import NewKnowledge
from store.knowledge_removal import dependents_of
from store.knowledge_renewal import Renewal, compare_findings, renew_knowledge, replaceable_pieces
from store.records import Format
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of a teacher in a dataset, by format.

    Attributes:
        is_sample: whether they come from a draw of the training sessions; otherwise, they come from all.
    """

    dataset: str
    teacher: str
    pieces: Mapping[Format, Sequence[NewKnowledge]]
    is_sample: bool = False


@dataclass(frozen=True, slots=True)
class Distilled:
    """The result of one format, and its effect on earlier pieces.

    Attributes:
        is_replaced: whether pieces that were not found again are deleted, and pieces that the findings reject are
            rejected.
        is_whole: whether all sessions were used.
    """

    format: Format
    renewal: Renewal
    is_replaced: bool = False
    is_whole: bool = True

    @property
    def kept(self) -> int:
        """The number of usable findings."""
        return self.renewal.kept

    @property
    def rejected(self) -> int:
        """The number of rejected findings, which are stored with a reason."""
        return self.renewal.rejected

    @property
    def aftermath(self) -> str:
        """What happened to earlier pieces, as the rest of a sentence; empty if all are found again."""
        missing, worse, better = len(self.renewal.missing), len(self.renewal.worse), self.renewal.better
        again = [f"kept {better:,} that had been rejected"] if better else []
        if self.is_replaced:
            changes = (
                [f"deleted {missing:,} that {'was' if missing == 1 else 'were'} not found again"] if missing else []
            )
            changes += [f"rejected {worse:,} that had been kept"] if worse else []
            return " and ".join([*changes, *again])
        changes = (
            [f"{missing:,} earlier {'one was' if missing == 1 else 'ones were'} not found again"] if missing else []
        )
        changes += [f"{worse:,} earlier {'one' if worse == 1 else 'ones'} would be rejected now"] if worse else []
        if not changes:
            return "".join(again)
        why = "" if self.is_whole else ", since not all sessions gave an answer"
        why = why if self.renewal.can_replace else ", since no finding can be used instead"
        stays = "it stays as it is" if missing + worse == 1 else "they stay as they are"
        return "; ".join([f"{' and '.join(changes)}; {stays}{why}", *again])


def store_findings(
    db: Database, findings: Findings, *, replace: bool = False, is_whole: bool = True
) -> Iterator[Distilled]:
    """Store findings format by format.

    Args:
        replace: delete pieces that are not found again, if there are findings.
        is_whole: whether all sessions were used; if not, nothing is deleted.

    Raises:
        NotFound: there is no such dataset.
    """
    for format, pieces in findings.pieces.items():
        agreed = replace and is_whole
        renewal = renew_knowledge(
            db,
            findings.dataset,
            format,
            findings.teacher,
            pieces,
            replace=agreed,
            is_sample=findings.is_sample or not is_whole,
        )
        yield Distilled(format, renewal, agreed and renewal.can_replace, is_whole)


@dataclass(frozen=True, slots=True)
class LostPieces:
    """What would be lost if findings replaced earlier pieces.

    Attributes:
        numbers: of the pieces that would be lost, or could be.
        sentence: how many they are and what depends on them; empty if there are none.
    """

    numbers: tuple[int, ...] = field(default=(), repr=False)
    sentence: str = ""

    def __bool__(self) -> bool:
        return bool(self.numbers)


def loss_by(db: Database, findings: Findings) -> LostPieces:
    """Return what would be lost if these findings replaced earlier pieces.

    Raises:
        NotFound: there is no such dataset.
    """
    numbers: list[int] = []
    parts: list[str] = []
    for format, pieces in findings.pieces.items():
        renewal = compare_findings(db, findings.dataset, format, findings.teacher, pieces)
        if not renewal.can_replace:
            continue
        numbers += renewal.lost
        if renewal.missing:
            total = len(replaceable_pieces(db, findings.dataset, format, findings.teacher))
            reason = "it is" if len(renewal.missing) == 1 else "they are"
            parts.append(
                f"{len(renewal.missing):,} of the existing {counted(total, format)} would be deleted, since "
                f"{reason} not found again"
            )
        if renewal.worse:
            parts.append(f"{counted(len(renewal.worse), format)} would be rejected, and had been kept")
    return _loss(db, numbers, "; ".join(parts))


def possible_loss(db: Database, dataset: str, formats: Sequence[Format], teacher: str) -> LostPieces:
    """Return what could be lost at most, before it is known what a teacher will find.

    Raises:
        NotFound: there is no such dataset.
    """
    numbers: list[int] = []
    parts: list[str] = []
    for format in formats:
        earlier = replaceable_pieces(db, dataset, format, teacher)
        if earlier:
            numbers += earlier
            parts.append(counted(len(earlier), format))
    sentence = (
        f"dataset {dataset} has {' and '.join(parts)} of {one_line(teacher)}; those not found again would be deleted"
    )
    return _loss(db, numbers, sentence)


def _loss(db: Database, numbers: Sequence[int], sentence: str) -> LostPieces:
    if not numbers:
        return LostPieces()
    return LostPieces(tuple(numbers), f"{sentence}. {dependents_in_words(dependents_of(db, numbers))}")
