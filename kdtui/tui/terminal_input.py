"""Keys, clicks and pasted text from any bytes that a terminal sends. No input ends the app."""

import re
from codecs import getincrementaldecoder
from collections.abc import Generator, Iterator

from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.events import Paste
from textual.message import Message

_LINE_ENDS = re.compile(r"\r\n?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters, without line ends and tabs."""


class TerminalInput:
    """Turns bytes into messages.

    Textual's own input ends the app at a byte that is not UTF-8, and at an unexpected control sequence. It also reads
    the text after an escape character in pasted text as keys.
    """

    def __init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._parser = XTermParser()
        self._last = ""
        self._pasted: list[str] | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that the next bytes complete."""
        text = self._decode(data)
        while text:
            if self._pasted is None:
                text = yield from self._type(text)
            else:
                text = yield from self._paste(text)

    def tick(self) -> Iterator[Message]:
        """Yield the messages that a pause completes: a single escape character is a key."""
        try:
            yield from self._parser.tick()
        except Exception:
            self._reset()

    def _type(self, text: str) -> Generator[Message, None, str]:
        """Read typed text; return the text after the start of a paste."""
        for at, character in enumerate(text, start=1):
            try:
                # One by one: the text after an invalid sequence is parsed again.
                yield from self._parser.feed(character)
            except Exception:
                self._reset()
            self._last = (self._last + character)[-len(BRACKETED_PASTE_START) :]
            if self._last == BRACKETED_PASTE_START:
                self._last, self._pasted = "", []
                # The parser gets the end of the paste at once, and none of its text.
                for end in BRACKETED_PASTE_END:
                    yield from (each for each in self._parser.feed(end) if not isinstance(each, Paste))
                return text[at:]
        return ""

    def _paste(self, text: str) -> Generator[Message, None, str]:
        """Read pasted text; return the text after its end."""
        assert self._pasted is not None
        # The end marker can be split over two reads.
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

    def _reset(self) -> None:
        """Drop an invalid sequence."""
        before, self._parser = self._parser, XTermParser()
        for name in ("last_x", "last_y", "mouse_pixels", "terminal_size", "terminal_pixel_size"):
            setattr(self._parser, name, getattr(before, name))
