"""Text files from users and their programs: UTF-8 with or without a byte order mark."""

import codecs

_MARK = codecs.BOM_UTF8

_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "it is compressed by gzip; unpack it with gunzip first"),
    (b"BZh", "it is compressed by bzip2; unpack it with bunzip2 first"),
    (b"\xfd7zXZ\0", "it is compressed by xz; unpack it with unxz first"),
    (b"\x28\xb5\x2f\xfd", "it is compressed by Zstandard; unpack it with unzstd first"),
    (b"PK\x03\x04", "it is a zip archive, or a spreadsheet; unpack it, or save it as text first"),
    (b"PAR1", "it is a Parquet file, and text is expected"),
    (b"SQLite format 3\0", "it is a database, and text is expected"),
    (codecs.BOM_UTF32_LE, "it is UTF-32 text; save the file as UTF-8"),
    (codecs.BOM_UTF32_BE, "it is UTF-32 text; save the file as UTF-8"),
    (codecs.BOM_UTF16_LE, "it is UTF-16 text; save the file as UTF-8"),
    (codecs.BOM_UTF16_BE, "it is UTF-16 text; save the file as UTF-8"),
)
"""The first bytes of files of other kinds, and what to do about them."""


class NotText(ValueError):
    """The bytes are not UTF-8 text; the message says what they are and what to do.

    Attributes:
        line: counted from 1, if one line of many is wrong.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def without_mark(data: bytes) -> bytes:
    """Return the beginning of a file, or its first line, without a byte order mark.

    Raises:
        NotText: it is the beginning of a file of another kind.
    """
    if data.startswith(_MARK):
        return data[len(_MARK) :]
    for beginning, kind in _KINDS:
        if data.startswith(beginning):
            raise NotText(kind)
    # UTF-16 without a mark: every second byte of text that is mostly ASCII is zero.
    if b"\0" in data[:2]:
        raise NotText("it is UTF-16 text, or no text at all; save the file as UTF-8")
    return data


def decode_text(data: bytes) -> str:
    """Decode the content of a file.

    Raises:
        NotText: it is not text.
    """
    try:
        return without_mark(data).decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotText("this is not UTF-8 text; save the file as UTF-8", line) from error
