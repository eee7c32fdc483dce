"""Knowledge goes out to a folder, and comes in from one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kdtui.distill.prompt_files import prompts_hash
from kdtui.errors import BadFile, KdtuiError
from kdtui.exchange.knowledge_files import (
    CARD,
    FILE_KINDS,
    FileKind,
    KnowledgeLine,
    categories_of,
    encode_knowledge,
    knowledge_card,
    knowledge_file,
    read_knowledge,
)
from kdtui.exchange.output import write_lines
from kdtui.text import counted
from store.categories import main_categories
from store.datasets import dataset_id, dataset_source
from store.errors import NotFound
from store.knowledge import (
    NewKnowledge,
    count_shares,
    find_knowledge,
    parents_by_knowledge,
    sessions_by_knowledge,
)
from store.knowledge_imports import ImportOutcome, put_imported, record_import, session_keys
from store.records import FORMATS, STATUSES, Format
from store.sqlite import Database


def export_knowledge(
    db: Database,
    dataset: str,
    folder: Path,
    *,
    formats: tuple[Format, ...] = FORMATS,
    sample: str | None = None,
    pieces: Iterable[int] | None = None,
    kind: FileKind = "jsonl",
    licence: str | None = None,
    replace: bool = False,
) -> int:
    """Write knowledge with a card into a folder, and return how many pieces. What is rejected goes too.

    Args:
        pieces: the numbers of those that are wanted; None for all.
        replace: take the place of what has these names there.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: there is no knowledge, or pyarrow is missing.
        BadFile: the folder cannot be written, or has something of these names.
    """
    lines: list[KnowledgeLine] = []
    wanted = None if pieces is None else set(pieces)
    for format in formats:
        lines += (line for line in _lines(db, dataset, format, sample) if wanted is None or line.id in wanted)
    if not lines:
        raise KdtuiError(f"there is no such knowledge of dataset {dataset!r}; kdtui knowledge ls shows what there is")
    there = [path for path in (folder / CARD, *(knowledge_file(folder, each) for each in FILE_KINDS)) if path.exists()]
    if there and not replace:
        raise BadFile(there[0], "it is there already; choose another folder, or replace it with --replace")
    if folder.exists() and not folder.is_dir():
        raise BadFile(folder, "this is no folder; name one, which the files are written into")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFile(folder, f"{error.strerror}; nothing was written") from error
    # The name of the file or folder alone: where it was is nobody's business.
    source = Path(dataset_source(db, dataset)).name
    text = knowledge_card(dataset, source, lines, kind, prompts_hash(), licence)
    write_lines(knowledge_file(folder, kind), encode_knowledge(lines, kind))
    for other in set(FILE_KINDS) - {kind}:
        # It would be read instead.
        knowledge_file(folder, other).unlink(missing_ok=True)
    write_lines(folder / CARD, [text.encode()])
    return len(lines)


def dataset_of(db: Database, pieces: Iterable[int]) -> str:
    """The one dataset that pieces are of.

    Raises:
        NotFound: none of them is there.
        KdtuiError: they are of several.
    """
    names = sorted({share.dataset for share in count_shares(db, pieces)})
    if not names:
        raise NotFound("there is no knowledge of these numbers; kdtui knowledge ls shows the numbers")
    if len(names) > 1:
        raise KdtuiError(f"the pieces are of several datasets, which have a folder each: {', '.join(names)}")
    return names[0]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import.

    Attributes:
        new: pieces that were not there.
        again: pieces that had been imported from the same dataset before.
        known: pieces that were there already, and stay as they are.
        sources: the datasets that the pieces were exported from, as far as the file says.
        without_session: pieces that name training sessions, none of which the dataset has.
        without_category: pieces about categories, one of which at least no product of the dataset has.
    """

    new: int
    again: int
    known: int
    sources: tuple[str, ...]
    without_session: int
    without_category: int

    @property
    def pieces(self) -> int:
        """How many pieces the file has."""
        return self.new + self.again + self.known

    def sentences(self, dataset: str) -> Iterator[str]:
        """What a person has to know of it."""
        source = f" from {' and '.join(self.sources)}" if self.sources else ""
        said = [f"{self.new:,} new"]
        said += [f"{self.again:,} imported again"] if self.again else []
        said += [f"{self.known:,} that were there already and stay as they are"] if self.known else []
        yield f"imported {counted(self.pieces, 'piece')} of knowledge{source} into dataset {dataset}: {', '.join(said)}"
        if self.without_session:
            named = counted(self.without_session, "piece comes", "pieces come")
            yield f"{named} from training sessions that are not in dataset {dataset}"
        if self.without_category:
            about = counted(self.without_category, "piece is", "pieces are")
            yield f"{about} about categories that no product of dataset {dataset} has: no session is shown these"


def import_knowledge(db: Database, dataset: str, path: Path) -> Imported:
    """Add the knowledge of a folder or a file to a dataset, all or nothing, with where it comes from.

    What the dataset knows already stays as it is. Sessions that the dataset does not have, with the same
    products, are left out; so are parents that are not in the file.

    Raises:
        NotFound: there is no such dataset.
        BadFile: it holds something else.
        KdtuiError: pyarrow is missing.
    """
    dataset_id(db, dataset)
    lines = read_knowledge(path)
    keys = session_keys(db, dataset, (session for line in lines for session in line.sessions))
    categories = main_categories(db, dataset)
    outcomes: Counter[ImportOutcome] = Counter()
    with db.atomic():
        numbers: dict[int, int] = {}
        imports: dict[str | None, int] = {}
        # Patterns before rules before thoughts: what a piece was given is there before it.
        for format in FORMATS:
            for line in (each for each in lines if each.format == format):
                piece = NewKnowledge(
                    line.statement,
                    line.content,
                    line.support,
                    line.confidence,
                    line.lift,
                    line.precision,
                    line.reason,
                    None,
                    line.sessions_among(keys),
                    tuple(numbers[parent] for parent in line.parents if parent in numbers),
                )
                if line.source not in imports:
                    imports[line.source] = record_import(db, dataset, line.source, str(path.absolute()))
                numbers[line.id], outcome = put_imported(db, dataset, format, line.teacher, piece, imports[line.source])
                outcomes[outcome] += 1
    return Imported(
        outcomes["new"],
        outcomes["again"],
        outcomes["known"],
        tuple(sorted({line.source for line in lines if line.source is not None})),
        sum(bool(line.sessions) and not line.sessions_among(keys) for line in lines),
        sum(not categories.issuperset(categories_of(line)) for line in lines),
    )


def _lines(db: Database, dataset: str, format: Format, sample: str | None) -> Iterator[KnowledgeLine]:
    """The pieces of a format, those that are kept first."""
    sessions, parents = sessions_by_knowledge(db, dataset, format), parents_by_knowledge(db, dataset, format)
    keys = session_keys(db, dataset, (session for each in sessions.values() for session in each))
    for status in STATUSES:
        for piece in find_knowledge(db, dataset=dataset, format=format, status=status, sample=sample):
            yield KnowledgeLine(
                piece.id,
                piece.format,
                piece.statement,
                piece.content,
                piece.teacher,
                piece.status,
                piece.reason,
                piece.support,
                piece.confidence,
                piece.lift,
                piece.precision,
                tuple(sessions.get(piece.id, ())),
                tuple(parents.get(piece.id, ())),
                tuple(keys[session] for session in sessions.get(piece.id, ())),
                dataset,
                None if piece.origin is None else piece.origin.dataset,
                # Where the file was is nobody's business.
                None if piece.origin is None else Path(piece.origin.file).name,
                None if piece.origin is None else piece.origin.imported_at,
            )
