"""A reader of something from outside: it reads any bytes, or refuses them in one sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kdtui.errors import KdtuiError
from models.errors import ModelError
from store.errors import StoreError

REFUSALS = (KdtuiError, ModelError, StoreError)
"""The errors whose message is a sentence for the user."""


CORPUS = Path(__file__).parent / "corpus"
"""A folder for each reader with the inputs that are kept."""

JSON = (
    b"{}",
    b"[]",
    b'""',
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"NaN",
    b'"\\ud800"',
    b'"\\u0000"',
    b"[" * 2000,
    b"\xff",
    b"\x00",
)
"""Parts of JSON that mean something to every reader of it."""


@dataclass(frozen=True)
class Reader:
    """A reader of something from outside.

    Attributes:
        read: reads it, or raises one of `REFUSALS`; checks what it returns.
        examples: inputs that it accepts, to be changed.
        words: parts of inputs that mean something to it.
        weight: its share of the inputs, which is smaller for a slow reader.
        quick: number of inputs that the tests try; `make soak` tries more.
        elsewhere: whether it reads in another process, where coverage guides no inputs.
    """

    name: str
    read: Callable[[bytes], object]
    examples: Sequence[bytes]
    words: Sequence[bytes] = ()
    weight: float = 1.0
    quick: int = 100
    elsewhere: bool = False

    @property
    def corpus(self) -> Sequence[Path]:
        """Files with inputs that are kept: each was once a problem, or reaches code that the examples do not."""
        return sorted((CORPUS / self.name.replace(" ", "-")).glob("*"))


def as_text(data: bytes) -> str:
    """Decode as Python decodes arguments and file names: what is not UTF-8 becomes lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def read_bytes(data: bytes) -> object:
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            return read(path)

    return read_bytes
