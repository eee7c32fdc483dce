"""Export knowledge to a folder, and import it from one."""

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
from store.knowledge_imports import ImportOutcome, held_out_among, put_imported, record_import, session_keys
from store.records import FORMATS, STATUSES, Format
from store.sqlite import Database

_HELD_OUT = "validation or test sessions"


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
    """Write knowledge with a card into a folder, and return the number of pieces. Rejected pieces are written too.

    Args:
        pieces: the numbers of the pieces; None for all.
        replace: replace existing files of these names.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: there is no knowledge, or pyarrow is missing.
        BadFile: the folder cannot be written, or has files of these names.
    """
    lines: list[KnowledgeLine] = []
    wanted = None if pieces is None else set(pieces)
    for format in formats:
        lines += (line for line in _lines(db, dataset, format, sample) if wanted is None or line.id in wanted)
    if not lines:
        raise KdtuiError(f"there is no such knowledge of dataset {dataset!r}; kdtui knowledge ls shows all of it")
    existing_files = [
        path for path in (folder / CARD, *(knowledge_file(folder, each) for each in FILE_KINDS)) if path.exists()
    ]
    if existing_files and not replace:
        raise BadFile(existing_files[0], "it exists already; choose another folder, or replace it with --replace")
    if folder.exists() and not folder.is_dir():
        raise BadFile(folder, "this is not a folder; name a folder to write the files into")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFile(folder, f"{error.strerror}; nothing was written") from error
    # Only the name of the file or folder: its path is private.
    source = Path(dataset_source(db, dataset)).name
    text = knowledge_card(dataset, source, lines, kind, prompts_hash(), licence)
    write_lines(knowledge_file(folder, kind), encode_knowledge(lines, kind))
    for other in set(FILE_KINDS) - {kind}:
        # An import would read it instead.
        knowledge_file(folder, other).unlink(missing_ok=True)
    write_lines(folder / CARD, [text.encode()])
    return len(lines)


def dataset_of(db: Database, pieces: Iterable[int]) -> str:
    """Return the only dataset of some pieces.

    Raises:
        NotFound: there is no such piece.
        KdtuiError: they are of several datasets.
    """
    names = sorted({share.dataset for share in count_shares(db, pieces)})
    if not names:
        raise NotFound("there is no knowledge of these numbers; kdtui knowledge ls shows the numbers")
    if len(names) > 1:
        raise KdtuiError(f"the pieces are of several datasets, and each needs a folder of its own: {', '.join(names)}")
    return names[0]


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes:
        new: new pieces.
        again: pieces that had been imported from the same dataset before.
        known: pieces that existed already, and stay as they are.
        origins: the datasets that the pieces were exported from, as far as the file says.
        without_session: pieces that name training sessions, none of which the dataset has.
        without_category: pieces about at least one category that no product of the dataset has.
        held_out: pieces that come from validation or test sessions of the dataset, which are rejected.
    """

    new: int
    again: int
    known: int
    origins: tuple[str, ...]
    without_session: int
    without_category: int
    held_out: int

    @property
    def pieces(self) -> int:
        """The number of pieces in the file."""
        return self.new + self.again + self.known

    def sentences(self, dataset: str) -> Iterator[str]:
        """Yield what the user should know about it."""
        source = f" from {' and '.join(self.origins)}" if self.origins else ""
        parts = [f"{self.new:,} new"]
        parts += [f"{self.again:,} imported again"] if self.again else []
        parts += [f"{self.known:,} that existed already and stay as they are"] if self.known else []
        pieces = counted(self.pieces, "piece")
        yield f"imported {pieces} of knowledge{source} into dataset {dataset}: {', '.join(parts)}"
        if self.without_session:
            named = counted(self.without_session, "piece comes", "pieces come")
            yield f"{named} from training sessions that are not in dataset {dataset}"
        if self.without_category:
            about = counted(self.without_category, "piece is", "pieces are")
            yield f"{about} about categories that no product of dataset {dataset} has: no session is shown these"
        if self.held_out:
            come = counted(self.held_out, "piece comes", "pieces come")
            yield f"rejected, since students are scored on these sessions: {come} from {_HELD_OUT} of dataset {dataset}"


def import_knowledge(db: Database, dataset: str, path: Path) -> Imported:
    """Add the knowledge of a folder or a file to a dataset with its origin, all of it or nothing.

    Pieces that the dataset has already stay as they are. Sessions that the dataset lacks, or that have other products
    in it, are left out; so are parents that are not in the file. Pieces from its validation or test sessions are
    rejected: students are scored on these.

    Raises:
        NotFound: there is no such dataset.
        BadFile: the file holds something else.
        KdtuiError: pyarrow is missing.
    """
    dataset_id(db, dataset)
    lines = read_knowledge(path)
    keys = session_keys(db, dataset, (session for line in lines for session in line.sessions))
    held_out = held_out_among(db, dataset, keys)
    categories = main_categories(db, dataset)
    outcomes: Counter[ImportOutcome] = Counter()
    rejected = 0
    with db.atomic():
        numbers: dict[int, int] = {}
        imports: dict[str | None, int] = {}
        # Patterns before rules before thoughts, so that parents come before their children.
        for format in FORMATS:
            for line in (each for each in lines if each.format == format):
                sessions = line.sessions_among(keys)
                leaks = not held_out.isdisjoint(sessions)
                piece = NewKnowledge(
                    line.statement,
                    line.content,
                    line.support,
                    line.confidence,
                    line.lift,
                    line.precision,
                    f"it comes from {_HELD_OUT}" if leaks and line.reason is None else line.reason,
                    None,
                    sessions,
                    tuple(numbers[parent] for parent in line.parents if parent in numbers),
                )
                if line.source not in imports:
                    imports[line.source] = record_import(db, dataset, line.source, str(path.absolute()))
                numbers[line.id], outcome = put_imported(db, dataset, format, line.teacher, piece, imports[line.source])
                outcomes[outcome] += 1
                rejected += leaks and outcome != "known"
    return Imported(
        outcomes["new"],
        outcomes["again"],
        outcomes["known"],
        tuple(sorted({line.source for line in lines if line.source is not None})),
        sum(bool(line.sessions) and not line.sessions_among(keys) for line in lines),
        sum(not categories.issuperset(categories_of(line)) for line in lines),
        rejected,
    )


def _lines(db: Database, dataset: str, format: Format, sample: str | None) -> Iterator[KnowledgeLine]:
    """Yield the pieces of a format, kept ones first."""
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
                # The path of the file is private.
                None if piece.origin is None else Path(piece.origin.file).name,
                None if piece.origin is None else piece.origin.imported_at,
            )
