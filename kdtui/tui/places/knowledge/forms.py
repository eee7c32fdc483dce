"""Forms about chosen pieces of knowledge: make a sample of them, export them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, Form
from kdtui.tui.places.knowledge.store_queries import pieces_in_words
from kdtui.tui.widgets.path_input import typed_path


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A sample that the user wants to make.

    Attributes:
        with_rejected: whether it holds rejected pieces too.
        replace: whether to replace an existing sample of this name.
    """

    name: str
    with_rejected: bool
    replace: bool


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """An export that the user wants to make.

    Attributes:
        folder: where to write; None while the user has named none.
        replace: whether to replace an export in the folder.
    """

    folder: Path | None
    kind: Literal["jsonl", "parquet"]
    licence: str | None
    replace: bool


class SamplePiecesForm(Form[SampleRequest]):
    """Asks for the name of a sample of pieces.

    Args:
        count: the number of pieces.
        pieces: options that name them in a command.
        with_rejected: the initial value of the switch.
    """

    verb = "Make it"

    def __init__(
        self, count: int, pieces: Mapping[str, str | None], named_database: Path | None, *, with_rejected: bool
    ) -> None:
        self.title = f"A sample of {pieces_in_words(count)}"
        self._pieces, self._named_database, self._with_rejected = pieces, named_database, with_rejected

    @property
    def fields(self) -> Sequence[Field]:
        """The name, and two switches."""
        return [
            Field("name", "Name"),
            Field(
                "all",
                "With rejected",
                "switch",
                "yes" if self._with_rejected else "",
                help="Include rejected pieces. No student is shown them.",
            ),
            Field("replace", "Replace", "switch", help="Replace an existing sample of this name."),
        ]

    def parse(self, values: Mapping[str, str]) -> SampleRequest:
        """Return the sample that the values describe."""
        return SampleRequest(values["name"].strip(), bool(values["all"]), bool(values["replace"]))

    def problem(self, parsed: SampleRequest) -> str | None:
        """Require a name."""
        return None if parsed.name else "a sample needs a name"

    def command(self, parsed: SampleRequest) -> str:
        """Return the command that makes the same sample."""
        flags = ["--all"] * parsed.with_rejected + ["--replace"] * parsed.replace
        return command_line(
            ("sample", "create", *flags), parsed.name or "NAME", self._pieces, database=self._named_database
        )


class ExportPiecesForm(Form[ExportRequest]):
    """Asks for the folder and the format of an export. The arguments are those of `SamplePiecesForm`."""

    verb = "Export"

    def __init__(self, count: int, pieces: Mapping[str, str | None], named_database: Path | None) -> None:
        self.title = f"Export {pieces_in_words(count)}"
        self._pieces, self._named_database = pieces, named_database

    @property
    def fields(self) -> Sequence[Field]:
        """The folder, the format, the licence, and whether to replace an export."""
        return [
            Field("folder", "Folder", "path", help="A missing folder is created; load_dataset can read the files."),
            Field("kind", "Format", "choice", options=(("JSON Lines", "jsonl"), ("Parquet", "parquet"))),
            Field("licence", "Licence", help="Of the knowledge, for the dataset card; optional."),
            Field("replace", "Replace", "switch", help="Replace an existing export in the folder."),
        ]

    def parse(self, values: Mapping[str, str]) -> ExportRequest:
        """Return the export that the values describe."""
        return ExportRequest(
            typed_path(values["folder"]) if values["folder"].strip() else None,
            "parquet" if values["kind"] == "parquet" else "jsonl",
            values["licence"].strip() or None,
            bool(values["replace"]),
        )

    def problem(self, parsed: ExportRequest) -> str | None:
        """Require a folder."""
        return "say which folder to write" if parsed.folder is None else None

    def command(self, parsed: ExportRequest) -> str:
        """Return the command that writes the same files."""
        options = {
            "--output": str(parsed.folder or "FOLDER"),
            "--as": None if parsed.kind == "jsonl" else parsed.kind,
            "--licence": parsed.licence,
        }
        flags = ["--replace"] * parsed.replace
        return command_line(
            ("knowledge", "export", *flags), options={**options, **self._pieces}, database=self._named_database
        )
