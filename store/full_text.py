"""Words to search for, and queries in the syntax of SQLite's full-text search (FTS5)."""

import re
from collections.abc import Iterable

from store.records import Session

_WORD = re.compile(r"[^\W_]+")


def words_in(text: str) -> list[str]:
    """Return the words of a text in lower case, in order and with repetitions."""
    return _WORD.findall(text.lower())


def session_words(session: Session) -> list[str]:
    """Return the distinct words of the products' titles and narrowest category names, in lower case."""
    texts = [text for item in session.items for text in (item.title or "", *(path[-1] for path in item.categories[:1]))]
    return list(dict.fromkeys(word for text in texts for word in words_in(text)))


def match_any(words: Iterable[str]) -> str:
    """Return an FTS5 query for texts that have any of these words, as whole words."""
    return " OR ".join(map(_quoted, words)) or '""'


def match_all(words: Iterable[str]) -> str:
    """Return an FTS5 query for texts that have all these words, each as a word or the beginning of one.

    A word with blanks is a phrase.
    """
    return " ".join(f"{_quoted(word)}*" for word in words) or '""'


def match_words(text: str) -> str:
    """Return an FTS5 query for texts that have all words of `text`, each as a word or the beginning of one."""
    return match_all(text.replace("\0", " ").split())


def _quoted(word: str) -> str:
    return '"' + word.replace("\0", " ").replace('"', '""') + '"'
