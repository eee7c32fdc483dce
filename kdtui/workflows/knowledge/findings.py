"""What a teacher has found, and what storing it does to what it said before.

Findings are stored beside what is there. What was there and is not found again goes only where somebody has agreed,
after being told how much that is; and never where no finding can be used instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kdtui.text import counted, one_line
from kdtui.workflows.knowledge.pieces import what_hangs_on
from store.knowledge import NewKnowledge
from store.knowledge_removal import dependents_of
from store.knowledge_renewal import Renewal, compare_findings, renew_knowledge, replaceable_pieces
from store.records import Format
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Findings:
    """What a teacher has found in a dataset, by format."""

    dataset: str
    teacher: str
    pieces: Mapping[Format, Sequence[NewKnowledge]]


@dataclass(frozen=True, slots=True)
class Distilled:
    """What came out of one format, and what that did to what was there.

    Attributes:
        is_replaced: whether what was not found again is gone, and what is rejected by the findings is rejected.
        is_whole: whether all sessions were looked at that should have been.
    """

    format: Format
    renewal: Renewal
    is_replaced: bool = False
    is_whole: bool = True

    @property
    def kept(self) -> int:
        """How many findings are to be used."""
        return self.renewal.kept

    @property
    def rejected(self) -> int:
        """How many findings are kept apart, with the reason."""
        return self.renewal.rejected

    @property
    def aftermath(self) -> str:
        """What happened to the pieces of before, as the rest of a sentence; empty where they are all found again."""
        missing, worse, better = len(self.renewal.missing), len(self.renewal.worse), self.renewal.better
        again = [f"kept {better:,} that had been rejected"] if better else []
        if self.is_replaced:
            said = [f"deleted {missing:,} that {'was' if missing == 1 else 'were'} not found again"] if missing else []
            said += [f"rejected {worse:,} that had been kept"] if worse else []
            return " and ".join([*said, *again])
        said = [f"{missing:,} of before {'was' if missing == 1 else 'were'} not found again"] if missing else []
        said += [f"{worse:,} of before would be rejected now"] if worse else []
        if not said:
            return "".join(again)
        why = "" if self.is_whole else ", since not all sessions gave an answer"
        why = why if self.renewal.can_replace else ", since no finding can be used instead"
        stays = "it stays as it is" if missing + worse == 1 else "they stay as they are"
        return "; ".join([f"{' and '.join(said)}; {stays}{why}", *again])


def store_findings(
    db: Database, findings: Findings, *, replace: bool = False, is_whole: bool = True
) -> Iterator[Distilled]:
    """Store what was found, format by format.

    Args:
        replace: whether what was not found again goes, where something was found.
        is_whole: whether all sessions were looked at; if not, nothing goes.

    Raises:
        NotFound: there is no such dataset.
    """
    for format, pieces in findings.pieces.items():
        agreed = replace and is_whole
        renewal = renew_knowledge(db, findings.dataset, format, findings.teacher, pieces, replace=agreed)
        yield Distilled(format, renewal, agreed and renewal.can_replace, is_whole)


@dataclass(frozen=True, slots=True)
class Loss:
    """What would go if findings took the place of what is there.

    Attributes:
        numbers: of the pieces that would go, or that may go.
        sentence: how many these are and what hangs on them; empty where there are none.
    """

    numbers: tuple[int, ...] = field(default=(), repr=False)
    sentence: str = ""

    def __bool__(self) -> bool:
        return bool(self.numbers)


def loss_by(db: Database, findings: Findings) -> Loss:
    """What would go if these findings took the place of what is there.

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
                f"{len(renewal.missing):,} of the {counted(total, format)} that are here would be deleted, since "
                f"{reason} not found again"
            )
        if renewal.worse:
            parts.append(f"{counted(len(renewal.worse), format)} would be rejected, and had been kept")
    return _loss(db, numbers, "; ".join(parts))


def largest_loss(db: Database, dataset: str, formats: Sequence[Format], teacher: str) -> Loss:
    """What may go at most, where it is not known yet what a teacher will find.

    Raises:
        NotFound: there is no such dataset.
    """
    numbers: list[int] = []
    parts: list[str] = []
    for format in formats:
        there = replaceable_pieces(db, dataset, format, teacher)
        if there:
            numbers += there
            parts.append(counted(len(there), format))
    said = (
        f"dataset {dataset} has {' and '.join(parts)} of {one_line(teacher)}; what is not found again would be deleted"
    )
    return _loss(db, numbers, said)


def _loss(db: Database, numbers: Sequence[int], said: str) -> Loss:
    if not numbers:
        return Loss()
    return Loss(tuple(numbers), f"{said}. {what_hangs_on(dependents_of(db, numbers))}")
