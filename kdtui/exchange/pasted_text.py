"""Sessions that a user types or pastes: one product per line, or JSON Lines of other programs.

Two-person tent | Outdoor > Shelter
Sleeping bag

An empty line ends a session.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby

import msgspec

from kdtui.errors import BadFile
from kdtui.exchange.jsonl import read_sessions
from kdtui.text import one_line
from models.files.text_files import NotText, without_mark
from store.records import LONGEST_TEXT, Item, Session

_CATEGORY = " | "
_STEP = ">"
_JSON = ("{", "[{")


def read_typed(text: str, number: int = 1) -> list[Session]:
    """Read the sessions of a text: JSON Lines, or products on lines.

    Products form sessions named "typed 1", "typed 2", …, which empty lines separate, as in a stream.

    Args:
        number: number of the first session of products.

    Raises:
        BadFile: the text is empty, a title is too long, or the text begins like JSON but contains no valid session.
    """
    text = _readable(text)
    if text.startswith(_JSON):
        sessions = [session for _, session, _ in read_sessions(_json_lines(text), "the text")]
    else:
        sessions = [Session(f"typed {at}", _items(block, "the text")) for at, block in enumerate(_blocks(text), number)]
    if not sessions:
        raise BadFile("the text", "it contains no product")
    return sessions


def session_texts(text: str) -> list[str]:
    """Split a text into parts with one session each; JSON stays whole."""
    text = _readable(text)
    if text.startswith(_JSON):
        return [text]
    return ["\n".join(line for _, line in block) for block in _blocks(text)]


def _readable(text: str) -> str:
    # Text that UTF-8 cannot encode could be neither stored nor passed on.
    return text.encode("utf-8", "replace").decode("utf-8").removeprefix("\ufeff").strip()


def _blocks(text: str) -> list[list[tuple[int, str]]]:
    """Return blocks of lines with products, separated by empty lines; each line has its number."""
    lines = enumerate(text.splitlines(), start=1)
    return [list(block) for is_blank, block in groupby(lines, lambda line: _is_blank(line[1])) if not is_blank]


def read_stream(source: Iterable[bytes], name: object) -> Iterator[Session]:
    """Read sessions from a file or a pipe, each as soon as it is complete: JSON Lines, or products on lines.

    Products form sessions named 1, 2, 3, …, which empty lines separate.

    Args:
        source: the lines; the first non-empty one decides between the two formats.
        name: name of the source in errors.

    Raises:
        BadFile: a line is not UTF-8, a title is too long, or the first line begins like JSON and a line is not a
            session.
    """
    lines = iter(source)
    passed: list[bytes] = []
    for line in lines:
        try:
            passed.append(without_mark(line) if not passed else line)
        except NotText as error:
            raise BadFile(name, str(error)) from error
        if not line.isspace() and passed[-1]:
            break
    whole = chain(passed, lines)
    if passed and passed[-1].lstrip().startswith(tuple(each.encode() for each in _JSON)):
        yield from (session for _, session, _ in read_sessions(whole, name))
    else:
        yield from _read_products(whole, name)


def _read_products(lines: Iterable[bytes], name: object) -> Iterator[Session]:
    products: list[tuple[int, str]] = []
    read = 0
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadFile(name, "this is not UTF-8 text; save the file as UTF-8", number) from error
        if not _is_blank(line):
            products.append((number, line))
        elif products:
            read += 1
            yield Session(str(read), _items(products, name))
            products = []
    if products:
        yield Session(str(read + 1), _items(products, name))


def _items(lines: Iterable[tuple[int, str]], name: object) -> tuple[Item, ...]:
    """Parse the products of numbered lines."""
    items = []
    for position, (number, line) in enumerate(lines, start=1):
        if len(line) > LONGEST_TEXT:
            raise BadFile(
                name, f"this title has {len(line):,} characters; a title can have {LONGEST_TEXT:,} at most", number
            )
        title, _, category = line.rpartition(_CATEGORY) if _CATEGORY in line else (line, "", "")
        path = tuple(part.strip() for part in category.split(_STEP) if part.strip())
        items.append(Item(str(position), title.strip() or None, (path,) if path else ()))
    return tuple(items)


def _is_blank(line: str) -> bool:
    """Whether a line has no visible text."""
    return not one_line(line, 1)


def _json_lines(text: str) -> list[bytes]:
    """Split JSON Lines into lines; convert one object or list on several lines to one object per line."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text.encode("utf-8").splitlines()
    return [msgspec.json.encode(each) for each in (value if isinstance(value, list) else [value])]
