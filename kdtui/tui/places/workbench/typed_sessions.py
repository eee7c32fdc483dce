"""Typed and pasted sessions, which last until the app ends, and the commands that generate bundles for sessions."""

import shlex
from array import array
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from kdtui.exchange.pasted_text import session_texts
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.widgets.rows import Row
from store.records import Session


class TypedSessions:
    """Typed sessions under negative numbers; sessions of the store have positive ones."""

    def __init__(self) -> None:
        self._order: list[int] = []
        self._sessions: dict[int, Session] = {}
        self._texts: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def next_number(self) -> int:
        """The number in the name of the next session without a name."""
        return len(self) + 1

    def add(self, sessions: Iterable[Session], text: str) -> int:
        """Put sessions from a text before the others; return the number of the first."""
        added = []
        sessions = list(sessions)
        texts = session_texts(text)
        # JSON is one text for all its sessions.
        if len(texts) != len(sessions):
            texts = [text] * len(sessions)
        for session, own in zip(sessions, texts, strict=True):
            number = -1 - len(self)
            self._sessions[number], self._texts[number] = session, own
            added.append(number)
        self._order = added + self._order
        return added[0]

    def session(self, number: int) -> Session:
        return self._sessions[number]

    def text(self, number: int) -> str:
        return self._texts[number]

    def numbers(self, text: str) -> "array[int]":
        """Return the numbers of the sessions with all words of a text in names, titles and categories."""
        words = text.lower().split()
        return array(
            "q", [each for each in self._order if all(word in _searchable_text(self.session(each)) for word in words)]
        )

    def row(self, number: int) -> Row:
        """Return a session as a row, like those of the store."""
        session = self.session(number)
        first = session.items[0].title or "–"
        return Row(str(number), (session.id, "typed", f"{len(session.items):,}", f"{len(session.bundles):,}", first))


def _searchable_text(session: Session) -> str:
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
    """Return the command that generates bundles for a session.

    Args:
        session: the id of a stored session, or a session that is not stored.
        database: the store, if commands have to name it.
        show_prompt: whether to show the prompt instead of asking the student.
        has_default: whether the dataset has a default adapter.
    """
    options = {"--dataset": dataset, **(choice.options_in_full if has_default else choice.options)}
    flags = ["--show-prompt"] if show_prompt else []
    if isinstance(session, str):
        return command_line(("generate", *flags), session, options, database=database)
    titles = [item.title or "" for item in session.items]
    # --title does not accept a blank title.
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
    """Return the command that generates bundles for sessions that are not stored, from JSON Lines on its input."""
    # Imported here to keep the start fast.
    from kdtui.exchange.jsonl import encode_session

    lines = (encode_session(replace(each, bundles=(), split=None)).decode().rstrip("\n") for each in sessions)
    flags = ["--show-prompt"] if show_prompt else []
    command = command_line(
        ("generate", "-", *flags), options={"--dataset": dataset, **choice.options}, database=database
    )
    return f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} | {command}"
