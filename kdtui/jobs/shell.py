"""How a program is started through a shell that its user has set up.

Start-up files (`~/.bashrc`, `config.fish`, …) may print, read from the input, or put another shell in place of the
first one, which need not be a POSIX shell. So the command line that travels means the same to every shell: it starts
`sh`, which reads from its input what to run. Marks in the output tell what the program says from what such files say.
"""

import re
import secrets
import shlex
from collections.abc import Sequence

from kdtui.text import one_line

STARTS = 60.0
"""Seconds that a shell may take until it runs a command."""

NO_INPUT = 66
"""The exit code of our `sh` where something has read its input before it could."""

_LINES_TO_READ = 16
"""Empty lines before the input, which start-up files may read."""

_MOST = 1 << 22
"""Bytes that start-up files may print; some never stop."""

_HEAD = 400
_TAIL = 1 << 14
"""Bytes that are kept of a text, from its beginning and from its end."""


class Command:
    """A program with its arguments, as it travels.

    Attributes:
        mark: what its output lies between, as `Between` finds it. It begins with a character that no text ends with.
        line: the command line, for any shell.
        input: what has to come before the program's own input.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        key = secrets.token_hex(8)
        self.mark = f"\x1e{key}"
        # Neither ' nor \ nor ! nor a line break: within quotes not all shells take them for the same.
        self.line = (
            f"exec sh -c 'while IFS= read -r l || exit {NO_INPUT}; do case $l in {key}:*) break;; esac; done; "
            f'eval "$(printf %b "${{l#*:}}")"\''
        )
        script = (
            f"printf '%s\\n' {self.mark}; printf '%s\\n' {self.mark} >&2; {shlex.join(arguments)}; c=$?; "
            f"printf '%s:%d\\n' {self.mark} $c; printf '%s:%d\\n' {self.mark} $c >&2"
        )
        # A start-up file may have replaced the shell by one that takes its commands from the input: it gets the line
        # there too.
        self.input = ("\n" * _LINES_TO_READ + f"{self.line}\n{key}:{_escaped(script)}\n").encode("ascii")


def _escaped(script: str) -> str:
    """Characters that every shell reads as they are; `printf %b` makes the script of them again."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != ord("\\") else f"\\0{byte:03o}" for byte in script.encode()
    )


class Kept:
    """The first and the last bytes of a text, however long it is.

    Attributes:
        size: bytes of all of it.
    """

    def __init__(self, tail: int = _TAIL) -> None:
        self.size = 0
        self._limit = tail
        self._head, self._tail = b"", b""

    def add(self, more: bytes) -> None:
        """It goes on."""
        self.size += len(more)
        if len(self._head) < _HEAD:
            self._head += more[: _HEAD - len(self._head)]
        self._tail = (self._tail + more[-self._limit :])[-self._limit :]

    @property
    def first_words(self) -> str:
        """How it begins, on one line that is fit for a terminal."""
        return one_line(self._head.decode("utf-8", "replace"), 80)

    @property
    def last_words(self) -> str:
        """Its last line that says something, fit for a terminal."""
        lines = [one_line(line, 80) for line in self.end.splitlines()]
        return next((line for line in reversed(lines) if line), "")

    @property
    def end(self) -> str:
        """Its last part, as it is."""
        return self._tail.decode("utf-8", "replace")


class TooMuch(Exception):
    """Start-up files print without end."""


class Between:
    """One output of a program: what lies between two marks.

    Attributes:
        before: what start-up files say.
        has_begun: whether the program was started.
        code: its exit code; None as long as it runs.
    """

    def __init__(self, mark: str) -> None:
        self.before = Kept()
        self.has_begun = False
        self.code: int | None = None
        self._opening, self._closing = f"{mark}\n".encode(), f"{mark}:".encode()
        self._held = b""

    def take(self, chunk: bytes) -> bytes:
        """The part of the next bytes that the program has written.

        Raises:
            TooMuch: they are all from start-up files, and there is no end of them.
        """
        if self.code is not None:
            return b""
        held = self._held + chunk
        if not self.has_begun:
            before, found, rest = held.partition(self._opening)
            if not found:
                # The mark may come in two parts.
                ready = max(0, len(held) - len(self._opening) + 1)
                self.before.add(held[:ready])
                self._held = held[ready:]
                if self.before.size > _MOST:
                    raise TooMuch
                return b""
            self.before.add(before)
            self.has_begun, held = True, rest
        body, found, behind = held.partition(self._closing)
        if found:
            told = re.match(rb"(\d+)\n", behind)
            self.code = None if told is None else int(told[1])
            self._held = b"" if told else held[len(body) :]
            return body
        may_be = max((n for n in range(1, len(self._closing)) if held.endswith(self._closing[:n])), default=0)
        self._held = held[len(held) - may_be :]
        return held[: len(held) - may_be]

    def rest(self) -> bytes:
        """What was held back in case it was a part of a mark: there is no more to come."""
        held, self._held = self._held, b""
        if not self.has_begun:
            self.before.add(held)
            return b""
        return held


def said(out: Kept, err: Kept) -> str:
    """What start-up files say, as the end of a sentence: their first words, as a quotation."""
    # What comes first on stderr may be of ssh itself, unless there is very much of it.
    words = out.first_words or (err.first_words if err.size > _TAIL else err.last_words)
    size = f", {(out.size + err.size) / 1e6:,.1f} MB in all" if out.size + err.size > 1e5 else ""
    return f"it says “{words}”{size}" if words else "it says nothing"


START_UP_ADVICE = (
    "let that file do nothing where there is no terminal, with a first line such as “[ -t 0 ] || return” in ~/.bashrc"
)
"""What to do about start-up files."""


def ended_early(name: str, code: int | None, words: str) -> str:
    """The sentence about a shell that ended before it ran our command.

    Args:
        words: what it said, see `said`.
    """
    if code == NO_INPUT:
        return (
            f"host {name}: it lets us in, but a start-up file of its shell, such as ~/.bashrc, reads the input that is "
            f"meant for our command ({words}); {START_UP_ADVICE}"
        )
    how = "" if code is None else f" with exit code {code}"
    return (
        f"host {name}: it lets us in, but its shell ended{how} before it ran our command ({words}); if a start-up file "
        f"such as ~/.bashrc ends it or starts something else, {START_UP_ADVICE}"
    )


def never_ran(name: str, words: str) -> str:
    """The sentence about a shell that does not come to our command."""
    return (
        f"host {name}: it lets us in, but its shell has not run our command after {STARTS:g} seconds ({words}); if a "
        f"start-up file such as ~/.bashrc waits for an answer or starts something else, {START_UP_ADVICE}"
    )


def never_stops(name: str, words: str) -> str:
    """The sentence about start-up files that print without end."""
    return (
        f"host {name}: a start-up file of its shell, such as ~/.bashrc, does not stop printing ({words}); "
        f"{START_UP_ADVICE}"
    )
