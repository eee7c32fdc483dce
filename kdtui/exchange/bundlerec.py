"""The BundleRec format: a directory of comma-separated files, each with one header line.

The documentation of the format says tab-separated, but the published files have commas. Items of a session are in the
order of the lines. Titles contain HTML entities (`&amp;`). Items can lack a title or categories, sessions can lack
bundles, and intents are free text with quotes and line breaks. A list of category paths is written `[[A,B,C],[A,D]]`,
which is not JSON, as names are not quoted. A comma without a blank after it separates two levels; a comma with a blank
is part of a name, as in `Clothing, Shoes & Jewelry`.
"""

import csv
import html
import io
import re
from collections.abc import Iterator
from pathlib import Path

from kdtui.errors import BadFile
from models.files.text_files import NotText, decode_text
from store.records import LONGEST_TEXT, SPLITS, Bundle, CategoryPath, Item, Session, Split

SESSION_ITEM = "session_item.csv"
SESSION_BUNDLE = "session_bundle.csv"
BUNDLE_ITEM = "bundle_item.csv"
BUNDLE_INTENT = "bundle_intent.csv"
ITEM_TITLES = "item_titles.csv"
ITEM_CATEGORIES = "item_categories.csv"
SPLIT = "split.csv"

_BETWEEN_LEVELS = re.compile(r",(?! )")

_COLUMNS = {
    SESSION_ITEM: ("session ID", "item ID"),
    SESSION_BUNDLE: ("session ID", "bundle ID"),
    BUNDLE_ITEM: ("bundle ID", "item ID"),
    BUNDLE_INTENT: ("bundle ID", "intent"),
    ITEM_TITLES: ("item ID", "titles"),
    ITEM_CATEGORIES: ("item ID", "categories"),
    SPLIT: ("session ID", "split"),
}


def read_directory(path: Path) -> tuple[list[Session], bool]:
    """Read the sessions of a BundleRec directory; return them, and whether it assigns them to splits.

    Raises:
        BadFile: a file or column is missing, an id is duplicate or unknown, a bundle has items of other sessions, or a
            file is not UTF-8 or has broken quoting.
    """
    if not (path / SESSION_ITEM).is_file():
        raise BadFile(path, f"this is not a dataset: a BundleRec directory contains {SESSION_ITEM}")
    titles = {item: html.unescape(title) for item, (_, title) in _texts(path, ITEM_TITLES).items()}
    categories = {
        item: _category_paths(text, path / ITEM_CATEGORIES, line)
        for item, (line, text) in _texts(path, ITEM_CATEGORIES).items()
    }
    sessions: dict[str, dict[str, int]] = {}
    unknown: dict[str, tuple[int, str]] = {}
    for line, session, item in _rows(path, SESSION_ITEM):
        positions = sessions.setdefault(session, {})
        if item in positions:
            raise BadFile(path / SESSION_ITEM, f"session {session!r} has item {item!r} twice", line)
        positions[item] = len(positions) + 1
        if item not in titles and item not in categories:
            unknown.setdefault(session, (line, item))
    if not sessions:
        raise BadFile(path / SESSION_ITEM, "the file is empty: it has no session")
    bundles = _bundles(path, sessions)
    # The published data lacks some items, but only in sessions without bundles.
    for session, (line, item) in unknown.items():
        if session in bundles:
            raise BadFile(
                path / SESSION_ITEM, f"session {session!r} has item {item!r}, which no other file describes", line
            )
    has_split = (path / SPLIT).exists()
    splits = _splits(path, sessions) if has_split else {}
    return [
        Session(
            session,
            tuple(Item(item, titles.get(item), categories.get(item, ())) for item in positions),
            tuple(bundles.get(session, ())),
            splits.get(session) if session in bundles else None,
        )
        for session, positions in sessions.items()
    ], has_split


def _bundles(path: Path, sessions: dict[str, dict[str, int]]) -> dict[str, list[Bundle]]:
    session_of: dict[str, str] = {}
    for line, session, bundle in _rows(path, SESSION_BUNDLE):
        if session not in sessions:
            raise BadFile(path / SESSION_BUNDLE, f"session {session!r} is not in {SESSION_ITEM}", line)
        if bundle in session_of:
            raise BadFile(path / SESSION_BUNDLE, f"bundle {bundle!r} comes twice", line)
        session_of[bundle] = session
    members: dict[str, set[int]] = {bundle: set() for bundle in session_of}
    for line, bundle, item in _rows(path, BUNDLE_ITEM):
        if bundle not in session_of:
            raise BadFile(path / BUNDLE_ITEM, f"bundle {bundle!r} is not in {SESSION_BUNDLE}", line)
        session = session_of[bundle]
        if item not in sessions[session]:
            problem = f"bundle {bundle!r} has item {item!r}, which is not in its session {session!r}"
            raise BadFile(path / BUNDLE_ITEM, problem, line)
        if sessions[session][item] in members[bundle]:
            raise BadFile(path / BUNDLE_ITEM, f"bundle {bundle!r} has item {item!r} twice", line)
        members[bundle].add(sessions[session][item])
    intents = _by_id(path, BUNDLE_INTENT)
    for bundle, (line, _) in intents.items():
        if bundle not in session_of:
            raise BadFile(path / BUNDLE_INTENT, f"bundle {bundle!r} is not in {SESSION_BUNDLE}", line)
    result: dict[str, list[Bundle]] = {}
    for bundle, session in session_of.items():
        if len(members[bundle]) < 2:
            raise BadFile(path / BUNDLE_ITEM, f"bundle {bundle!r} of session {session!r} has fewer than two items")
        intent = intents[bundle][1].strip() if bundle in intents else ""
        result.setdefault(session, []).append(Bundle(tuple(sorted(members[bundle])), intent))
    return result


def _splits(path: Path, sessions: dict[str, dict[str, int]]) -> dict[str, Split]:
    names: dict[str, Split] = {split: split for split in SPLITS}
    splits: dict[str, Split] = {}
    for session, (line, text) in _by_id(path, SPLIT).items():
        if text not in names:
            raise BadFile(path / SPLIT, f"split {text!r} is none of {', '.join(SPLITS)}", line)
        if session not in sessions:
            raise BadFile(path / SPLIT, f"session {session!r} is not in {SESSION_ITEM}", line)
        splits[session] = names[text]
    return splits


def _by_id(path: Path, name: str) -> dict[str, tuple[int, str]]:
    """Return line number and second column of a file by its first column, which must be unique."""
    values: dict[str, tuple[int, str]] = {}
    for line, key, value in _rows(path, name):
        if key in values:
            raise BadFile(
                path / name, f"{_COLUMNS[name][0]} {key!r} comes twice (first in line {values[key][0]:,})", line
            )
        values[key] = line, value
    return values


def _texts(path: Path, name: str) -> dict[str, tuple[int, str]]:
    """Return the same for titles and categories, with a limit on their length."""
    texts = _by_id(path, name)
    for line, text in texts.values():
        if len(text) > LONGEST_TEXT:
            raise BadFile(path / name, f"a title or a category has more than {LONGEST_TEXT:,} characters", line)
    return texts


def _rows(path: Path, name: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number and both columns of each row of a file."""
    file = path / name
    columns = _COLUMNS[name]
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadFile(file, f"{error.strerror}; a BundleRec directory has this file") from error
    try:
        text = decode_text(data)
    except NotText as error:
        raise BadFile(file, str(error), error.line) from error
    # Titles can exceed the limit of the csv module; no field is longer than its file.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    started = 1
    try:
        header = next(reader, None)
        if header is None:
            raise BadFile(file, f"the file is empty; its first line must be: {','.join(columns)}")
        missing = [column for column in columns if column not in header]
        if missing:
            raise BadFile(file, f"column {missing[0]!r} is missing; the first line must be: {','.join(columns)}", 1)
        first, second = (header.index(column) for column in columns)
        started = reader.line_num + 1
        for row in reader:
            if not row:
                started = reader.line_num + 1
                continue
            if len(row) != len(header):
                problem = f"{len(header)} columns expected, {len(row)} found; text with commas must stand in quotes"
                raise BadFile(file, problem, started)
            if not row[first]:
                raise BadFile(file, f"{columns[0]} is empty", started)
            yield started, row[first], row[second]
            started = reader.line_num + 1
    except csv.Error as error:
        raise BadFile(file, f"broken quoting ({error})", started) from error


def _category_paths(text: str, file: Path, line: int) -> tuple[CategoryPath, ...]:
    if not (text.startswith("[[") and text.endswith("]]")):
        raise BadFile(file, "categories must be written as [[A,B,C],[A,D]]", line)
    paths = (tuple(name.strip() for name in _BETWEEN_LEVELS.split(path)) for path in text[2:-2].split("],["))
    return tuple(path for path in paths if any(path))
