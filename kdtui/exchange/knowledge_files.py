"""Knowledge files: one line, or one Parquet row, per piece, and a card that describes them.

An exported folder is a dataset for `datasets.load_dataset`:

    {"id": 7, "format": "rule", "statement": "…", "content": "{…}", "teacher": "annotations", "status": "kept",
     "reason": null, "support": 0.04, "confidence": null, "lift": null, "precision": 0.7, "sessions": ["s1"],
     "parents": [], "session_keys": ["5f0c…"], "dataset": "electronic", "imported_from": null, "imported_file": null,
     "imported_at": null}

(on one line).

`content` is JSON in the shape of the format, encoded as text so that all lines have the same columns. `id` and
`parents` are numbers within the file. `session_keys` distinguish the sessions from those of other datasets. `dataset`
is the dataset that the piece was exported from; the fields after it say where that dataset had imported it from, if it
had.
"""

import codecs
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from kdtui.distill.patterns import Pattern
from kdtui.distill.rules import Rule
from kdtui.distill.thoughts import Thought
from kdtui.errors import BadFile, KdtuiError
from kdtui.exchange.lines import LONGEST_LINE, bounded_lines
from kdtui.text import one_line
from models.errors import ModelError
from models.files.text_files import NotText, without_mark
from models.subprocess_call import run_in_process
from store.records import CategoryPath, Format

FileKind: TypeAlias = Literal["jsonl", "parquet"]

FILE_KINDS: tuple[FileKind, ...] = ("jsonl", "parquet")

CARD = "README.md"
_NO_LICENCE = "not stated. The titles and intents in it belong to the source; ask there before you publish it"
_NAME = "knowledge"
_SHAPES: dict[Format, type[Any]] = {"pattern": Pattern, "rule": Rule, "thought": Thought}


_PATIENCE = 60.0
"""Seconds that reading the sizes in a Parquet file can take."""

_REPEATS = "it repeats its rows"

_ROWS_AT_ONCE = 1024
"""Rows of a Parquet file in memory, besides the pieces that they become."""

_MOST_REPEATED = 100
"""How much more the rows of a Parquet file can hold than the file, which is compressed."""

_TOO_DEEP = "JSON within JSON, deeper than any piece is"


class KnowledgeLine(Struct, frozen=True):
    """A piece of knowledge in a file; the module's docstring describes the fields."""

    id: int
    format: Format
    statement: str
    content: str
    teacher: str
    status: Literal["kept", "rejected"] = "kept"
    reason: str | None = None
    support: float | None = None
    confidence: float | None = None
    lift: float | None = None
    precision: float | None = None
    sessions: tuple[str, ...] = ()
    parents: tuple[int, ...] = ()
    session_keys: tuple[str, ...] = ()
    dataset: str | None = None
    imported_from: str | None = None
    imported_file: str | None = None
    imported_at: str | None = None

    @property
    def source(self) -> str | None:
        """The dataset that the piece was first exported from; None if the file does not say."""
        return self.dataset if self.imported_at is None else self.imported_from

    def sessions_among(self, keys: Mapping[str, str]) -> tuple[str, ...]:
        """Return those of the piece's sessions that a dataset has, with the same products as far as the file says.

        Args:
            keys: keys of the dataset's sessions.
        """
        own_keys = dict(zip(self.sessions, self.session_keys, strict=False))
        return tuple(each for each in self.sessions if each in keys and own_keys.get(each, keys[each]) == keys[each])


def knowledge_file(folder: Path, kind: FileKind) -> Path:
    """Return the path of the pieces in an exported folder."""
    return folder / f"{_NAME}.{kind}"


def encode_knowledge(lines: Iterable[KnowledgeLine], kind: FileKind) -> Iterator[bytes]:
    """Encode pieces as the contents of a file.

    Raises:
        KdtuiError: the kind is Parquet, and pyarrow is not installed.
    """
    if kind == "jsonl":
        return (msgspec.json.encode(line) + b"\n" for line in lines)
    return iter([_parquet(list(lines))])


def read_knowledge(path: Path) -> list[KnowledgeLine]:
    """Read the pieces of a file, or of an exported folder.

    Raises:
        BadFile: the file holds something else, or a piece does not have the shape of its format.
        KdtuiError: the file is Parquet, and pyarrow is not installed.
    """
    if path.is_dir():
        files = [file for file in (knowledge_file(path, "jsonl"), knowledge_file(path, "parquet")) if file.is_file()]
        if not files:
            raise BadFile(path, f"there is no {_NAME}.jsonl or {_NAME}.parquet in this folder")
        path = files[0]
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)
    lines = []
    for number, row in rows:
        try:
            line = msgspec.convert(row, KnowledgeLine)
            msgspec.json.decode(line.content, type=_SHAPES[line.format])
        except msgspec.ValidationError as error:
            raise BadFile(path, f"a piece of knowledge is not as expected: {error}", number) from error
        except msgspec.DecodeError as error:
            raise BadFile(path, f"the content of a piece is not JSON ({error})", number) from error
        except RecursionError as error:
            raise BadFile(path, f"the content of a piece is {_TOO_DEEP}", number) from error
        if not line.statement.strip() or (line.reason is None) != (line.status == "kept"):
            raise BadFile(path, "a piece needs a statement, and a reason if it is rejected", number)
        lines.append(line)
    return lines


def categories_of(line: KnowledgeLine) -> set[CategoryPath]:
    """Return the categories that products must have for a piece to apply to them; thoughts need none."""
    if line.format == "thought":
        return set()
    value: Pattern | Rule = msgspec.json.decode(line.content, type=_SHAPES[line.format])
    return set(value.categories)


def knowledge_card(
    dataset: str, source: str, lines: Sequence[KnowledgeLine], kind: FileKind, prompts: str, licence: str | None
) -> str:
    """Return the dataset card: what the pieces are, where they come from, and how many there are.

    Args:
        source: what the dataset was imported from.
        prompts: hash of the teachers' prompts.
        licence: licence of the knowledge; None if nobody has stated one.
    """
    counts: dict[tuple[str, str, str], int] = {}
    for line in lines:
        key = (line.format, line.teacher, line.status)
        counts[key] = counts.get(key, 0) + 1
    table = "\n".join(
        f"| {format} | {one_line(teacher).replace('|', '/')} | {status} | {count:,} |"
        for (format, teacher, status), count in sorted(counts.items())
    )
    foreign: dict[str, int] = {}
    for line in lines:
        if line.imported_at is not None:
            source = line.imported_from or line.imported_file or "unknown"
            foreign[source] = foreign.get(source, 0) + 1
    imported = "".join(
        f"\n{count:,} of the pieces had been imported from `{one_line(source)}`.\n"
        for source, count in sorted(foreign.items())
    )
    name = one_line(dataset)
    licence_text = one_line(licence or _NO_LICENCE)
    header = [f"license: {one_line(licence)}"] if licence else []
    front = "\n".join(
        [
            "---",
            *header,
            "tags: [product-bundles, knowledge-distillation]",
            "configs:",
            "- config_name: default",
            f"  data_files: {_NAME}.{kind}",
            "---",
        ]
    )
    return f"""{front}

# Knowledge of product bundles: {name}

Distilled from the training sessions of `{name}` ({one_line(source)}) with kdtui.

| format | teacher | status | pieces |
|---|---|---|---|
{table}
{imported}
Prompts for teachers that are models: `{prompts}` (hash). Titles and intents in the texts are those of the dataset.

Licence: {licence_text}.

`content` is JSON in the shape of its format; `kdtui knowledge import FOLDER` reads the folder back.
"""


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(bounded_lines(file, path, what="piece"), start=1):
                try:
                    text = without_mark(line) if number == 1 or line.startswith(codecs.BOM_UTF8) else line
                    if text and not text.isspace():
                        yield number, msgspec.json.decode(text)
                except NotText as error:
                    raise BadFile(path, str(error)) from error
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise BadFile(path, f"this is not JSON ({error}); each line must hold one piece", number) from error
                except RecursionError as error:
                    raise BadFile(path, f"this is {_TOO_DEEP}", number) from error
    except OSError as error:
        raise BadFile(path, str(error.strerror)) from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    pyarrow, parquet = _pyarrow()
    number = size = 0
    try:
        most = LONGEST_LINE + _MOST_REPEATED * path.stat().st_size
        repeats = BadFile(path, f"its rows have more than {most / 1e6:,.0f} MB; it repeats them")
        try:
            # Arrow ends the process on some damaged sizes.
            run_in_process(check_stated_size, str(path), most, patience=_PATIENCE)
        except ModelError as error:
            raise repeats if str(error) == _REPEATS else ValueError(str(error)) from error
        metadata = parquet.read_metadata(path)
        # A file can hold a text once, and the text can be that of all its rows. As a dictionary, memory holds it once
        # too, until the size of the rows is known.
        columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            for batch in _batches(file):
                size += sum(map(_size, batch.columns))
                if size > most:
                    raise repeats
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    # A text can be something other than UTF-8, and a number or a date something that Python does not have.
    except (OSError, ValueError, OverflowError, TypeError, pyarrow.ArrowException) as error:
        raise BadFile(path, f"this is not a readable Parquet file ({one_line(str(error), 120)})") from error


def _batches(file: Any) -> Iterator[Any]:
    # Arrow cannot join lists of two groups of rows, whose dictionaries differ.
    for group in range(file.num_row_groups):
        yield from file.iter_batches(_ROWS_AT_ONCE, row_groups=[group])


def check_stated_size(path: str, most: int) -> None:
    """Refuse a Parquet file whose columns, by its own words, take too many bytes; each repeated text counts once.

    Raises:
        OverflowError: they do.
        pyarrow.ArrowException: it is not such a file.
    """
    _, parquet = _pyarrow()
    metadata, size = parquet.read_metadata(path), 0
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            # A run of equal numbers takes no place in the file.
            width = max(8, metadata.schema.column(index).length or 0)
            size += max(column.total_uncompressed_size, column.num_values * width)
    if size > most:
        raise OverflowError(_REPEATS)


def _size(array: Any) -> int:
    """Return the approximate number of bytes of the values of an Arrow array, outside Arrow, where texts repeat."""
    from pyarrow import ExtensionArray, compute, types

    if isinstance(array, ExtensionArray):
        return _size(array.storage)
    kind = array.type
    size = 8 * len(array)
    if types.is_dictionary(kind):
        lengths = compute.take(compute.binary_length(array.dictionary), array.indices)
        return size + int(compute.sum(lengths).as_py() or 0)
    if types.is_nested(kind):
        parts = array.flatten()
        return size + sum(map(_size, parts if isinstance(parts, list) else [parts]))
    return max(size, int(array.nbytes))


def _parquet(lines: Sequence[KnowledgeLine]) -> bytes:
    pyarrow, parquet = _pyarrow()
    text, number, measure = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    types = {
        "id": number,
        **dict.fromkeys(("format", "statement", "content", "teacher", "status", "reason"), text),
        **dict.fromkeys(("support", "confidence", "lift", "precision"), measure),
        "sessions": pyarrow.list_(text),
        "parents": pyarrow.list_(number),
        "session_keys": pyarrow.list_(text),
        **dict.fromkeys(("dataset", "imported_from", "imported_file", "imported_at"), text),
    }
    table = pyarrow.Table.from_pylist([msgspec.to_builtins(line) for line in lines], schema=pyarrow.schema(types))
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink)
    return bytes(sink.getvalue())


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise KdtuiError("Parquet needs pyarrow; install it with: pip install 'kdtui[parquet]'") from error
    return pyarrow, pyarrow.parquet
