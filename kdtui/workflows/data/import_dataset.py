"""Import a file or directory as a dataset."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kdtui.errors import BadFile
from kdtui.exchange import bundlerec, jsonl
from kdtui.exchange.lines import bounded_lines
from kdtui.text import counted
from store.dataset_contents import DatasetContents
from store.dataset_writer import WriteProgress, write_dataset
from store.errors import DuplicateSession
from store.records import Session, Split
from store.sqlite import Database

_BLOCK: tuple[Split, ...] = ("train",) * 7 + ("valid",) + ("test",) * 2


def import_dataset(
    db: Database, path: Path, name: str, *, seed: int = 0, replace: bool = False
) -> Iterator[WriteProgress]:
    """Import a BundleRec directory or a JSON Lines file or pipe in one transaction, yielding what is written so far.

    Sessions with bundles but without a split are split 7:1:2 by `seed`; sessions without bundles are in no split.

    Raises:
        BadFile: the file or directory is invalid; nothing was imported.
        StoreError: the name is taken and `replace` is not set; nothing was imported.
    """
    source = str(path.resolve())
    if path.is_dir():
        sessions, has_split = bundlerec.read_directory(path)
        with_split = ((session, has_split) for session in sessions)
        yield from write_dataset(db, name, source, assign_splits(with_split, seed), replace=replace)
        return
    try:
        with path.open("rb") as file:
            if path.is_file() and path.stat().st_size == 0:
                raise BadFile(path, "the file is empty")
            lines = jsonl.read_sessions(bounded_lines(file, path), path)
            with_split = ((session, has_split) for _, session, has_split in lines)
            yield from write_dataset(db, name, source, assign_splits(with_split, seed), replace=replace)
    except DuplicateSession as error:
        if not path.is_file():
            # A pipe cannot be read again.
            raise
        first, second, *_ = jsonl.lines_of_session(path, error.session)
        raise BadFile(path, f"session {error.session!r} comes twice (first in line {first:,})", second) from None
    except OSError as error:
        raise BadFile(path, f"{error.strerror}; give a BundleRec directory or a JSON Lines file") from error


def imported_in_words(written: WriteProgress, dataset: str) -> str:
    """Describe an import in a sentence without a full stop."""
    sentence = (
        f"imported {counted(written.sessions, 'session')}, {counted(written.items, 'item')} and "
        f"{counted(written.bundles, 'bundle')} as dataset {dataset}"
    )
    if written.differing:
        mentions = counted(written.differing, "mention of an item differs", "mentions of items differ")
        sentence += f"; {mentions} in title or categories from an earlier one, which was kept"
    return sentence


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A file or directory to import.

    Attributes:
        format: its name for users.
        has_splits: whether it has splits; None if only reading all of it would tell.
    """

    format: str
    has_splits: bool | None


_FIRST_LINE = 1_000_000
"""Bytes of a file that are read to detect its format."""


def look_at_source(path: Path) -> DatasetSource:
    """Detect the format of a path by its file names, or by the beginning of the file. An import finds its errors.

    Raises:
        BadFile: there is nothing to import.
    """
    if path.is_dir():
        if not (path / bundlerec.SESSION_ITEM).is_file():
            raise BadFile(path, f"this is not a dataset: a BundleRec directory contains {bundlerec.SESSION_ITEM}")
        return DatasetSource("BundleRec directory", (path / bundlerec.SPLIT).exists())
    if path.exists() and not path.is_file():
        raise BadFile(path, "this is neither a directory nor a file")
    try:
        with path.open("rb") as file:
            line = file.readline(_FIRST_LINE)
    except OSError as error:
        raise BadFile(path, f"{error.strerror}; give a BundleRec directory or a JSON Lines file") from error
    if not line:
        raise BadFile(path, "the file is empty")
    if len(line) == _FIRST_LINE:
        return DatasetSource("JSON Lines", None)
    first = next(iter(jsonl.read_sessions([line], path)), None)
    return DatasetSource("JSON Lines", None if first is None else first[2])


def what_goes_with(contents: DatasetContents) -> str:
    """List in words what is lost with a dataset."""
    counts = (
        (contents.sessions, "session", ""),
        (contents.knowledge, "piece of knowledge", "pieces of knowledge"),
        (contents.runs, "run", ""),
        (contents.vectors, "vector", ""),
        (contents.calibrations, "calibration", ""),
        (contents.default_adapters, "choice of a default adapter", ""),
    )
    lost = [counted(count, one, many) for count, one, many in counts if count]
    some = f"; {counted(contents.samples, 'sample loses pieces', 'samples lose pieces')}" if contents.samples else ""
    return f"{', '.join(lost) or 'nothing'}{some}"


def assign_splits(sessions: Iterable[tuple[Session, bool]], seed: int) -> Iterator[Session]:
    """Give a split to each session with bundles whose flag says that it has none.

    Every ten such sessions in a row have seven training, one validation and two test sessions in an order drawn by
    `seed`, so a file of any size is split 7:1:2 while it is streamed.
    """
    draw = random.Random(seed)
    block: list[Split] = []
    for session, has_split in sessions:
        if has_split or not session.bundles:
            yield session
            continue
        if not block:
            block = list(_BLOCK)
            draw.shuffle(block)
        yield Session(session.id, session.items, session.bundles, block.pop())
