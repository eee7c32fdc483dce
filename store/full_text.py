"""Words to search for, and full-text queries in the syntax of SQLite's FTS5."""

import re
from collections.abc import Iterable

from store.records import Session

_WORD = re.compile(r"[^\W_]+")


def words_of(session: Session) -> list[str]:
    """The words that tell what the products of a session are: of titles, and of the narrowest categories."""
    texts = [text for item in session.items for text in (item.title or "", *(path[-1] for path in item.categories[:1]))]
    return list(dict.fromkeys(word for text in texts for word in _WORD.findall(text.lower())))


def match_any(words: Iterable[str]) -> str:
    """An FTS5 query for any of these words, each whole."""
    return " OR ".join('"' + word.replace('"', '""') + '"' for word in words) or '""'


def match_words(text: str) -> str:
    """An FTS5 query for the words of any text: all must occur, each may be the beginning of a word."""
    words = ['"' + word.replace('"', '""') + '"*' for word in text.replace("\0", " ").split()]
    return " ".join(words) or '""'
