"""What is new in a log since it was last read, in pieces. A log can be shortened or replaced in between."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_PIECE = 1 << 16
"""Bytes of a piece."""

_KNOWN = 1 << 8
"""Bytes before a position by which its log is recognized."""


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A part of a log from an offset on."""

    offset: int
    text: bytes


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A position up to which a log was read.

    Attributes:
        end: the last bytes before the position. If a log has other bytes there, it is another log.
    """

    offset: int = 0
    end: bytes = b""

    def after(self, piece: LogPiece) -> "LogPosition":
        """Return the position after the next piece."""
        before = self.end if piece.offset == self.offset else b""
        return LogPosition(piece.offset + len(piece.text), (before + piece.text)[-_KNOWN:])


def new_pieces(log: Path, position: LogPosition) -> Iterator[LogPiece]:
    """Yield what a log has after a position now; if it is another log by now, all of it, from offset 0 on.

    A log that is missing has nothing new.

    Raises:
        OSError: it cannot be read.
    """
    while (piece := _next_piece(log, position)) is not None:
        yield piece
        position = position.after(piece)


def _next_piece(log: Path, position: LogPosition) -> LogPiece | None:
    # Opened for each piece: the log can change while the consumer shows the last one.
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return None
    with file:
        offset = position.offset
        # Its size does not tell: it can be longer by now than the earlier one was.
        file.seek(offset - len(position.end))
        if file.read(len(position.end)) != position.end:
            offset = file.seek(0)
        text = file.read(MOST_PIECE)
    return LogPiece(offset, text) if text else None
