"""What a terminal sends, whatever it is: keys, clicks and pasted text, without anything that could end the app."""

import re
from codecs import getincrementaldecoder
from collections.abc import Generator, Iterator

from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.events import Paste
from textual.message import Message

_LINE_ENDS = re.compile(r"\r\n?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What could be more than text; not the ends of lines, and not tabs."""


class TerminalInput:
    """Turns bytes into messages.

    Textual's own way ends the app at a byte that is no UTF-8, and at a sequence of control characters that it does not
    expect; and it takes what follows an escape character in a pasted text for keys.
    """

    def __init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._parser = XTermParser()
        self._last = ""
        self._pasted: list[str] | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that the next bytes complete."""
        text = self._decode(data)
        while text:
            if self._pasted is None:
                text = yield from self._type(text)
            else:
                text = yield from self._paste(text)

    def tick(self) -> Iterator[Message]:
        """The messages that are complete since nothing more has come: an escape character alone is a key."""
        try:
            yield from self._parser.tick()
        except Exception:
            self._start_anew()

    def _type(self, text: str) -> Generator[Message, None, str]:
        """Read what is not pasted; returns what follows the beginning of a pasted text."""
        for at, character in enumerate(text, start=1):
            try:
                # One by one: what comes behind a sequence that cannot be read is read again.
                yield from self._parser.feed(character)
            except Exception:
                self._start_anew()
            self._last = (self._last + character)[-len(BRACKETED_PASTE_START) :]
            if self._last == BRACKETED_PASTE_START:
                self._last, self._pasted = "", []
                # The parser is told that the text has ended, and gets none of it.
                for end in BRACKETED_PASTE_END:
                    yield from (each for each in self._parser.feed(end) if not isinstance(each, Paste))
                return text[at:]
        return ""

    def _paste(self, text: str) -> Generator[Message, None, str]:
        """Read what is pasted; returns what follows its end."""
        assert self._pasted is not None
        # The end may have begun in what was read before.
        before = self._pasted.pop() if self._pasted else ""
        text = before + text
        pasted, end, rest = text.partition(BRACKETED_PASTE_END)
        if not end:
            keep = max(0, len(text) - len(BRACKETED_PASTE_END) + 1)
            self._pasted += [text[:keep], text[keep:]]
            return ""
        whole = "".join([*self._pasted, pasted])
        self._pasted = None
        yield Paste(_CONTROLS.sub("", _LINE_ENDS.sub("\n", whole)))
        return rest

    def _start_anew(self) -> None:
        """Forget a sequence that cannot be read."""
        before, self._parser = self._parser, XTermParser()
        for name in ("last_x", "last_y", "mouse_pixels", "terminal_size", "terminal_pixel_size"):
            setattr(self._parser, name, getattr(before, name))
