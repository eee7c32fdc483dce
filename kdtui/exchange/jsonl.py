"""Sessions as JSON Lines: one session per line with all item data; bundles and split are optional.

    {"session": "s1", "items": [{"id": "i1", "title": "Tent", "categories": [["Outdoor", "Shelter"]]}, ...],
     "bundles": [{"items": ["i1", "i2"], "intent": "a night outside"}], "split": "train"}

Without `"split"`, the import chooses the split; `"split": null` means that the session is in none.
"""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from kdtui.errors import BadFile
from kdtui.exchange.lines import bounded_lines
from models.files.text_files import NotText, without_mark
from store.records import LONGEST_TEXT, Bundle, Item, Name, Session, Split


class _BundleLine(Struct, gc=False):
    items: list[str]
    intent: str = ""


class _SessionLine(Struct, gc=False):
    session: Name
    items: tuple[Item, ...]
    bundles: list[_BundleLine] = []
    split: Literal["train", "valid", "test"] | UnsetType | None = UNSET


_decode = msgspec.json.Decoder(_SessionLine).decode


def read_sessions(source: Iterable[bytes], name: object) -> Iterator[tuple[int, Session, bool]]:
    """Read the sessions of a file; yield each with its line number, and whether the line specifies the split.

    Args:
        source: lines of the file; empty ones are skipped.
        name: name of the file in errors.

    Raises:
        BadFile: a line is not a session, has a duplicate item id, or has a bundle with other items than its own.
    """
    for number, line in enumerate(source, start=1):
        # Concatenated files have a byte order mark in the middle.
        if number == 1 or line.startswith(codecs.BOM_UTF8):
            try:
                line = without_mark(line)
            except NotText as error:
                raise BadFile(name, str(error)) from error
        if not line or line.isspace():
            continue
        try:
            parsed = _decode(line)
        except UnicodeDecodeError as error:
            raise BadFile(name, "this is not UTF-8 text; save the file as UTF-8", number) from error
        except msgspec.ValidationError as error:
            if f"length <= {LONGEST_TEXT}" in str(error):
                problem = f"a title or a category has more than {LONGEST_TEXT:,} characters"
                raise BadFile(name, problem, number) from error
            raise BadFile(name, f"a session is not as expected: {error}", number) from error
        except RecursionError as error:
            raise BadFile(name, "this is JSON within JSON, deeper than any session is", number) from error
        except msgspec.DecodeError as error:
            raise BadFile(name, f"this is not JSON ({error}); each line must hold one session", number) from error
        yield number, _session(parsed, name, number), parsed.split is not UNSET


def _session(line: _SessionLine, name: object, number: int) -> Session:
    positions = {item.id: position for position, item in enumerate(line.items, start=1)}
    if len(positions) < len(line.items):
        twice = next(item.id for position, item in enumerate(line.items, start=1) if positions[item.id] != position)
        raise BadFile(name, f"session {line.session!r} has item {twice!r} twice", number)
    if not line.items:
        raise BadFile(name, f"session {line.session!r} has no items", number)
    split: Split | None = None if line.split is UNSET or not line.bundles else line.split
    if not line.bundles:
        return Session(line.session, line.items, (), split)
    return Session(
        line.session, line.items, tuple(_bundle(each, positions, line, name, number) for each in line.bundles), split
    )


def _bundle(bundle: _BundleLine, positions: dict[str, int], line: _SessionLine, name: object, number: int) -> Bundle:
    outside = [item for item in bundle.items if item not in positions]
    if outside:
        raise BadFile(name, f"a bundle has item {outside[0]!r}, which is not in session {line.session!r}", number)
    members = sorted({positions[item] for item in bundle.items})
    if len(members) < len(bundle.items):
        raise BadFile(name, f"a bundle of session {line.session!r} has an item twice", number)
    if len(members) < 2:
        raise BadFile(name, f"a bundle of session {line.session!r} has fewer than two items", number)
    return Bundle(tuple(members), bundle.intent)


def lines_of_session(path: Path, session: str) -> list[int]:
    """Return the numbers of the lines with a session of this id."""
    with path.open("rb") as file:
        return [number for number, read, _ in read_sessions(bounded_lines(file, path), path) if read.id == session]


def encode_session(session: Session) -> bytes:
    """Encode a session as one line, including the line feed."""
    return (
        msgspec.json.encode(
            {
                "session": session.id,
                "split": session.split,
                "items": session.items,
                "bundles": [
                    {
                        "items": [session.items[position - 1].id for position in bundle.positions],
                        "intent": bundle.intent,
                    }
                    for bundle in session.bundles
                ],
            }
        )
        + b"\n"
    )
