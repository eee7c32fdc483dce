"""Sessions that somebody types or pastes: a product a line, or the JSON Lines that other programs write.

Two-person tent | Outdoor > Shelter
Sleeping bag
"""

import msgspec

from kdtui.errors import BadFile
from kdtui.exchange.jsonl import read_sessions
from store.records import Item, Session

_CATEGORY = " | "
_STEP = ">"


def read_typed(text: str, name: str) -> list[Session]:
    """The sessions of a text: those of JSON Lines, or one of the products that stand in lines.

    Args:
        name: of a session whose products stand in lines.

    Raises:
        BadFile: there is nothing in the text, or it begins like JSON and no session can be read.
    """
    # What cannot be written in UTF-8 could be neither stored nor handed on.
    text = text.encode("utf-8", "replace").decode("utf-8").removeprefix("\ufeff").strip()
    if text.startswith(("{", "[{")):
        sessions = [session for _, session, _ in read_sessions(_lines(text), "the text")]
    else:
        items = [_item(number, line) for number, line in enumerate(filter(str.strip, text.splitlines()), start=1)]
        sessions = [Session(name, tuple(items))] if items else []
    if not sessions:
        raise BadFile("the text", "there is no product in it")
    return sessions


def _item(number: int, line: str) -> Item:
    title, _, category = line.rpartition(_CATEGORY) if _CATEGORY in line else (line, "", "")
    path = tuple(part.strip() for part in category.split(_STEP) if part.strip())
    return Item(str(number), title.strip() or None, (path,) if path else ())


def _lines(text: str) -> list[bytes]:
    """The lines of JSON Lines; those of one object or list that stands on several lines are made one for each."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text.encode("utf-8").splitlines()
    return [msgspec.json.encode(each) for each in (found if isinstance(found, list) else [found])]
