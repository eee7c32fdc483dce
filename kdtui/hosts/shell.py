"""Starts a program on a machine through the login shell of its user.

Start-up files (`~/.bashrc`, `config.fish`, …) can print, read from the input, or replace the shell, which need not be a
POSIX shell. So the command line means the same to every shell: it starts `sh`, which reads from its input what to run.
Marks in the output separate the output of the program from that of start-up files.
"""

import re
import secrets
import shlex
from collections.abc import Sequence

from kdtui.text import one_line

STARTS = 60.0
"""Seconds until a shell has to run a command."""

NO_INPUT = 66
"""The exit code of `sh` if a start-up file has read its input."""

_LINES_TO_READ = 16
"""Empty lines before the input, which start-up files can read."""

_MAX_GREETING = 1 << 22
"""Bytes that start-up files may print; some never stop."""

_HEAD = 400
_TAIL = 1 << 14
"""Bytes of a text that are kept, from its beginning and from its end."""


class ShellCommand:
    """A program with its arguments, as it is sent.

    Attributes:
        mark: encloses its output, see `MarkedOutput`. It begins with a character that no text ends with.
        line: the command line, for any shell.
        input: has to precede the program's own input.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        key = secrets.token_hex(8)
        self.mark = f"\x1e{key}"
        # Without ', \, ! and line breaks: shells differ in what these mean within quotes.
        self.line = (
            f"exec sh -c 'while IFS= read -r l || exit {NO_INPUT}; do case $l in {key}:*) break;; esac; done; "
            f'eval "$(printf %b "${{l#*:}}")"\''
        )
        script = (
            f"printf '%s\\n' {self.mark}; printf '%s\\n' {self.mark} >&2; {shlex.join(arguments)}; c=$?; "
            f"printf '%s:%d\\n' {self.mark} $c; printf '%s:%d\\n' {self.mark} $c >&2"
        )
        # A start-up file can have replaced the shell by one that reads commands from its input: it gets the line there
        # too.
        self.input = ("\n" * _LINES_TO_READ + f"{self.line}\n{key}:{_escaped(script)}\n").encode("ascii")


def _escaped(script: str) -> str:
    """Escape a script to characters that every shell reads as they are; `printf %b` reverses it."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != ord("\\") else f"\\0{byte:03o}" for byte in script.encode()
    )


class TextEnds:
    """The first and the last bytes of a text of any length.

    Attributes:
        size: bytes of the whole text.
    """

    def __init__(self, tail: int = _TAIL) -> None:
        self.size = 0
        self._limit = tail
        self._head, self._tail = b"", b""

    def add(self, more: bytes) -> None:
        """Append to the text."""
        self.size += len(more)
        if len(self._head) < _HEAD:
            self._head += more[: _HEAD - len(self._head)]
        self._tail = (self._tail + more[-self._limit :])[-self._limit :]

    @property
    def first_words(self) -> str:
        """Its beginning on one line, safe for a terminal."""
        return one_line(self._head.decode("utf-8", "replace"), 80)

    @property
    def last_words(self) -> str:
        """Its last non-empty line, safe for a terminal."""
        lines = [one_line(line, 80) for line in self.end.splitlines()]
        return next((line for line in reversed(lines) if line), "")

    @property
    def end(self) -> str:
        """Its last bytes as text."""
        return self._tail.decode("utf-8", "replace")


class EndlessOutput(Exception):
    """Start-up files print without end."""


class MarkedOutput:
    """One output of a program: the text between two marks.

    Attributes:
        before: what start-up files print.
        has_begun: whether the program was started.
        code: its exit code; None while it runs.
    """

    def __init__(self, mark: str) -> None:
        self.before = TextEnds()
        self.has_begun = False
        self.code: int | None = None
        self._opening, self._closing = f"{mark}\n".encode(), f"{mark}:".encode()
        self._ending = re.compile(re.escape(self._closing) + rb"(\d{1,10})\n")
        self._held = b""

    def take(self, chunk: bytes) -> bytes:
        """Return the part of the next bytes that the program has written.

        Raises:
            EndlessOutput: start-up files have printed too much.
        """
        if self.code is not None:
            return b""
        held = self._held + chunk
        if not self.has_begun:
            before, mark, rest = held.partition(self._opening)
            if not mark:
                # The mark can arrive in two parts.
                ready = max(0, len(held) - len(self._opening) + 1)
                self.before.add(held[:ready])
                self._held = held[ready:]
                if self.before.size > _MAX_GREETING:
                    raise EndlessOutput
                return b""
            self.before.add(before)
            self.has_begun, held = True, rest
        if ending := self._ending.search(held):
            self.code, self._held = int(ending[1]), b""
            return held[: ending.start()]
        # The mark with its code can arrive in parts. A mark that no code follows is output like any other.
        last = held.rfind(self._closing[:1])
        ready = last if last >= 0 and self._may_be_ending(held[last:]) else len(held)
        self._held = held[ready:]
        return held[:ready]

    def _may_be_ending(self, end: bytes) -> bool:
        """Return whether the last bytes so far can be a part of the closing mark and its code."""
        code = end.removeprefix(self._closing)
        return self._closing.startswith(end) or (end.startswith(self._closing) and len(code) <= 10 and code.isdigit())

    def rest(self) -> bytes:
        """Return what was held back in case it was part of a mark, at the end of the output."""
        held, self._held = self._held, b""
        if not self.has_begun:
            self.before.add(held)
            return b""
        return held


def start_up_words(out: TextEnds, err: TextEnds) -> str:
    """Return what start-up files print, as the end of a sentence: a quotation of their first words."""
    # The beginning of stderr can be from ssh itself, unless there is very much of it.
    words = out.first_words or (err.first_words if err.size > _TAIL else err.last_words)
    size = f", {(out.size + err.size) / 1e6:,.1f} MB in all" if out.size + err.size > 1e5 else ""
    return f"it prints “{words}”{size}" if words else "it prints nothing"


START_UP_ADVICE = (
    "let that file do nothing where there is no terminal, with a first line such as “[ -t 0 ] || return” in ~/.bashrc"
)
"""What to do about start-up files."""


def ended_early(name: str, code: int | None, words: str) -> str:
    """Return the sentence about a shell that ended before it ran the command.

    Args:
        words: what it printed, see `start_up_words`.
    """
    if code == NO_INPUT:
        return (
            f"host {name}: the login works, but a start-up file of its shell, such as ~/.bashrc, reads the input that "
            f"is meant for our command ({words}); {START_UP_ADVICE}"
        )
    how = "" if code is None else f" with exit code {code}"
    return (
        f"host {name}: the login works, but its shell ended{how} before it ran our command ({words}); if a start-up "
        f"file such as ~/.bashrc ends it or starts something else, {START_UP_ADVICE}"
    )


def never_ran(name: str, words: str) -> str:
    """Return the sentence about a shell that does not run the command."""
    return (
        f"host {name}: the login works, but its shell has not run our command after {STARTS:g} seconds ({words}); if a "
        f"start-up file such as ~/.bashrc waits for an answer or starts something else, {START_UP_ADVICE}"
    )


def never_stops(name: str, words: str) -> str:
    """Return the sentence about start-up files that print without end."""
    return (
        f"host {name}: a start-up file of its shell, such as ~/.bashrc, does not stop printing ({words}); "
        f"{START_UP_ADVICE}"
    )
