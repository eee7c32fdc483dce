"""The forms of the place Models: add, quantize, merge and export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, Form, whole_number
from kdtui.tui.places.models.model_work import BitOptions
from kdtui.tui.widgets.path_input import typed_path
from kdtui.workflows.adapters.check_merge import check_merge
from kdtui.workflows.student.command_options import adapters as weighted_adapters

_LISTED = 20
"""Most names of adapters that a form lists."""

_NAME_RULE = "letters, digits, dots, dashes and underscores"


@dataclass(frozen=True, slots=True)
class AddRequest:
    """A file or folder to add as a model.

    Attributes:
        path: None while the user has named none.
        name: None for the name of the file.
    """

    path: Path | None
    name: str | None


class AddForm(Form[AddRequest]):
    """Asks for a file or a folder, and a name for it.

    Args:
        named_database: the path by which a command names the store, or None for the default.
    """

    title = "Give a model a name"
    verb = "Add it"

    def __init__(self, named_database: Path | None) -> None:
        self._named_database = named_database

    @property
    def fields(self) -> Sequence[Field]:
        return [
            Field(
                "path",
                "File or folder",
                "path",
                help="a GGUF file, which stays where it is, or the folder of an adapter, which is copied; from a hub: "
                "kdtui model add OWNER/NAME, in a shell",
            ),
            Field("name", "Name", help=f"{_NAME_RULE}; that of the file by default"),
        ]

    def parse(self, values: Mapping[str, str]) -> AddRequest:
        path = typed_path(values["path"]) if values["path"].strip() else None
        return AddRequest(path, values["name"].strip() or None)

    def problem(self, parsed: AddRequest) -> str | None:
        return "say which file or folder" if parsed.path is None else None

    def command(self, parsed: AddRequest) -> str:
        options = {"--name": parsed.name}
        return command_line(("model", "add"), str(parsed.path or "FILE"), options, database=self._named_database)


@dataclass(frozen=True, slots=True)
class QuantizeRequest:
    """A quantization to make.

    Attributes:
        kind: the quantization, such as Q4_0.
        name: None for the model and its bits.
    """

    kind: str
    name: str | None


class QuantizeForm(Form[QuantizeRequest]):
    """Asks for the number of bits of a quantization, and its name.

    Args:
        source: the model to quantize.
    """

    verb = "Write it"

    def __init__(self, source: str, bits: BitOptions, named_database: Path | None) -> None:
        self.title = f"Quantize {source}"
        self._source, self._bits, self._named_database = source, bits, named_database

    @property
    def fields(self) -> Sequence[Field]:
        bits = self._bits
        return [
            Field(
                "kind",
                "Bits",
                "choice",
                bits.suitable,
                help=f"{bits.suitable} suits this machine: {bits.reason}",
                options=[(name, name) for name in bits.names],
            ),
            Field("name", "Name", help=f"{_NAME_RULE}; by default the model and its bits"),
        ]

    def parse(self, values: Mapping[str, str]) -> QuantizeRequest:
        return QuantizeRequest(values["kind"], values["name"].strip() or None)

    def command(self, parsed: QuantizeRequest) -> str:
        options = {"--to": parsed.kind, "--name": parsed.name}
        return command_line(("model", "quantize"), self._source, options, database=self._named_database)


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """A merge of adapters.

    Attributes:
        lines: the adapters as typed, NAME=WEIGHT each.
        adapters: their names and weights.
        rank: the rank of the result; None for the sum of the ranks.
        name: None for the names of the adapters.
    """

    lines: tuple[str, ...]
    adapters: tuple[tuple[str, float], ...]
    rank: int | None
    name: str | None


class MergeForm(Form[MergeRequest]):
    """Asks which adapters to merge, with which weights.

    Args:
        first: the adapter that the form begins with.
        names: names of all adapters.
    """

    title = "Merge adapters into one"
    verb = "Merge them"

    def __init__(self, first: str, names: Sequence[str], named_database: Path | None) -> None:
        self._first, self._names, self._named_database = first, names, named_database

    @property
    def fields(self) -> Sequence[Field]:
        first = self._first
        others = [name for name in self._names if name != first]
        more = f", and {len(others) - _LISTED:,} more" if len(others) > _LISTED else ""
        there_are = f"; there are: {', '.join([first, *others[:_LISTED]])}{more}" if others else ""
        return [
            Field(
                "adapters",
                "Adapters",
                "lines",
                f"{first}=1\n",
                help=f"NAME=WEIGHT, one a line, all for the same base{there_are}",
            ),
            Field(
                "rank",
                "Rank",
                help="reduces the sum to this rank, by its largest singular values; by default the ranks add up, and "
                "the sum is exact",
            ),
            Field("name", "Name", help=f"{_NAME_RULE}; by default those of the adapters"),
        ]

    def parse(self, values: Mapping[str, str]) -> MergeRequest:
        lines = tuple(line.strip() for line in values["adapters"].splitlines() if line.strip())
        adapters, rank = weighted_adapters(list(lines)) or (), whole_number(values["rank"], "rank", 1)
        return MergeRequest(lines, adapters, rank, values["name"].strip() or None)

    def problem(self, parsed: MergeRequest) -> str | None:
        try:
            check_merge(parsed.adapters, parsed.rank)
        except KdtuiError as error:
            return str(error)
        return None

    def command(self, parsed: MergeRequest) -> str:
        options = {"--rank": None if parsed.rank is None else str(parsed.rank), "--name": parsed.name}
        adapters = list(parsed.lines) or ["ADAPTER"]
        return command_line(("model", "merge"), adapters, options, database=self._named_database)


@dataclass(frozen=True, slots=True)
class AdapterExportRequest:
    """An export of an adapter.

    Attributes:
        folder: None while the user has named none.
        base: OWNER/NAME of the base on a hub; None if kdtui knows it.
        replace: whether to replace an export in the folder.
    """

    folder: Path | None
    licence: str | None
    base: str | None
    replace: bool


class AdapterExportForm(Form[AdapterExportRequest]):
    """Asks for the folder to export an adapter to."""

    verb = "Export"

    def __init__(self, adapter: str, named_database: Path | None) -> None:
        self.title = f"Export adapter {adapter}"
        self._adapter, self._named_database = adapter, named_database

    @property
    def fields(self) -> Sequence[Field]:
        return [
            Field("folder", "Folder", "path", help="It is created; PEFT, llama.cpp, vLLM and kdtui load it as it is."),
            Field("licence", "Licence", help="Of the adapter, for its card, such as apache-2.0; optional."),
            Field("base", "Base", help="OWNER/NAME of its base on a hub, if kdtui does not know it."),
            Field("replace", "Replace", "switch", help="Replace an existing export in the folder."),
        ]

    def parse(self, values: Mapping[str, str]) -> AdapterExportRequest:
        return AdapterExportRequest(
            typed_path(values["folder"]) if values["folder"].strip() else None,
            values["licence"].strip() or None,
            values["base"].strip() or None,
            bool(values["replace"]),
        )

    def problem(self, parsed: AdapterExportRequest) -> str | None:
        return "say which folder to write" if parsed.folder is None else None

    def command(self, parsed: AdapterExportRequest) -> str:
        options = {"--output": str(parsed.folder or "FOLDER"), "--licence": parsed.licence, "--base": parsed.base}
        flags = ["--replace"] * parsed.replace
        return command_line(("model", "export", *flags), self._adapter, options, database=self._named_database)
