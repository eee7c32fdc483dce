"""Sessions that were typed or pasted: they last until the app ends. And what generates bundles for any session."""

import shlex
from array import array
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from kdtui.exchange.pasted_text import texts_of
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.widgets.rows import Row
from store.records import Session


class TypedSessions:
    """Sessions under numbers below zero: those of the store have numbers above it."""

    def __init__(self) -> None:
        self._order: list[int] = []
        self._sessions: dict[int, Session] = {}
        self._texts: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def next_number(self) -> int:
        """Of the next one that has no name."""
        return len(self) + 1

    def add(self, sessions: Iterable[Session], text: str) -> int:
        """Put sessions that were read from a text before the others; the number of the first."""
        new = []
        sessions = list(sessions)
        texts = texts_of(text)
        # That of JSON is one for all of them.
        if len(texts) != len(sessions):
            texts = [text] * len(sessions)
        for session, own in zip(sessions, texts, strict=True):
            number = -1 - len(self)
            self._sessions[number], self._texts[number] = session, own
            new.append(number)
        self._order = new + self._order
        return new[0]

    def session(self, number: int) -> Session:
        """One of them."""
        return self._sessions[number]

    def text(self, number: int) -> str:
        """What was typed of it."""
        return self._texts[number]

    def numbers(self, text: str) -> "array[int]":
        """Those in whose names, titles and categories all words of a text are."""
        words = text.lower().split()
        return array(
            "q", [each for each in self._order if all(word in _searched(self.session(each)) for word in words)]
        )

    def row(self, number: int) -> Row:
        """One of them as a row beside those of the store."""
        session = self.session(number)
        first = session.items[0].title or "–"
        return Row(str(number), (session.id, "typed", f"{len(session.items):,}", f"{len(session.bundles):,}", first))


def _searched(session: Session) -> str:
    words = [
        word for item in session.items for word in (item.title or "", *(" ".join(path) for path in item.categories))
    ]
    return " ".join([session.id, *words]).lower()


def generate_command(
    session: Session | str,
    dataset: str | None,
    choice: StudentChoice,
    database: Path | None,
    *,
    show_prompt: bool = False,
    has_default: bool = False,
) -> str:
    """The command that generates bundles for a stored session, told by its id, or for one that is not stored.

    Args:
        database: the store, where a command does not open it by itself.
        show_prompt: show what the student is asked, instead of asking it.
        has_default: whether the dataset has a default adapter.
    """
    options = {"--dataset": dataset, **(choice.options_in_full if has_default else choice.options)}
    flags = ["--show-prompt"] if show_prompt else []
    if isinstance(session, str):
        return command_line(("generate", *flags), session, options, database=database)
    titles = [item.title or "" for item in session.items]
    # A title with nothing to read in it is none for --title.
    if all(title.strip() for title in titles) and [
        (str(number), title, ()) for number, title in enumerate(titles, start=1)
    ] == [(item.id, item.title, item.categories) for item in session.items]:
        return command_line(("generate", *flags), options={"--title": titles, **options}, database=database)
    return piped_command([session], dataset, choice, database, show_prompt=show_prompt)


def piped_command(
    sessions: Iterable[Session],
    dataset: str | None,
    choice: StudentChoice,
    database: Path | None,
    *,
    show_prompt: bool = False,
) -> str:
    """The command that generates bundles for sessions that are not stored, which it reads as JSON Lines."""
    # Imported here: nobody types a session before the first paint.
    from kdtui.exchange.jsonl import encode_session

    lines = (encode_session(replace(each, bundles=(), split=None)).decode().rstrip("\n") for each in sessions)
    flags = ["--show-prompt"] if show_prompt else []
    command = command_line(
        ("generate", "-", *flags), options={"--dataset": dataset, **choice.options}, database=database
    )
    return f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} | {command}"
