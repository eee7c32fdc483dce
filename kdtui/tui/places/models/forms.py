"""The forms of the place Models: add, quantize, merge and export."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import Field, FormDialog
from kdtui.tui.places.models.model_work import BitOptions
from kdtui.tui.student.settings_form import whole_number
from kdtui.tui.widgets.path_input import typed_path
from kdtui.workflows.adapters.merge_request import check_merge
from kdtui.workflows.student.command_options import adapters as weighted

_LISTED = 20
"""Names of adapters that a form lists."""


def add_model_form(named_database: Path | None) -> FormDialog:
    """Return the form that asks for a file or a folder, and a name for it.

    Args:
        named_database: the path by which a command names the store, or None for the default.
    """

    def command(values: Mapping[str, str]) -> str:
        name = values["name"].strip() or None
        path = str(typed_path(values["path"])) if values["path"].strip() else "FILE"
        return command_line(("model", "add"), path, {"--name": name}, database=named_database)

    fields = (
        Field(
            "path",
            "File or folder",
            "path",
            help="a GGUF file, which stays where it is, or the folder of an adapter, which is copied; from a hub: "
            "kdtui model add OWNER/NAME, in a shell",
        ),
        Field("name", "Name", help="letters, digits, dots, dashes and underscores; that of the file by default"),
    )
    return FormDialog(
        "Give a model a name",
        fields,
        verb="Add it",
        check=lambda values: None if values["path"].strip() else "say which file or folder",
        command=command,
    )


def quantize_model_form(source: str, bits: BitOptions, named_database: Path | None) -> FormDialog:
    """Return the form that asks for the number of bits of a quantization, and its name."""

    def command(values: Mapping[str, str]) -> str:
        options = {"--to": values["kind"], "--name": values["name"].strip() or None}
        return command_line(("model", "quantize"), source, options, database=named_database)

    fields = (
        Field(
            "kind",
            "Bits",
            "choice",
            bits.suitable,
            help=f"{bits.suitable} suits this machine: {bits.reason}",
            options=[(name, name) for name in bits.names],
        ),
        Field("name", "Name", help="letters, digits, dots, dashes and underscores; by default the model and its bits"),
    )
    return FormDialog(f"Write {source} in another number of bits", fields, verb="Write it", command=command)


def merge_adapters_form(first: str, names: Sequence[str], named_database: Path | None) -> FormDialog:
    """Return the form that asks which adapters to merge, with which weights.

    Args:
        first: the adapter that the form begins with.
        names: names of all adapters.
        named_database: the path by which a command names the store, or None for the default.
    """

    def command(values: Mapping[str, str]) -> str:
        options = {"--rank": values["rank"].strip() or None, "--name": values["name"].strip() or None}
        adapters = _lines(values["adapters"]) or ["ADAPTER"]
        return command_line(("model", "merge"), adapters, options, database=named_database)

    def check(values: Mapping[str, str]) -> str | None:
        try:
            check_merge(*merge_values(values))
        except KdtuiError as error:
            return str(error)
        return None

    others = [name for name in names if name != first]
    more = f", and {len(others) - _LISTED:,} more" if len(others) > _LISTED else ""
    there_are = f"; there are: {', '.join([first, *others[:_LISTED]])}{more}" if others else ""
    return FormDialog(
        "Merge adapters into one",
        (
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
            Field(
                "name", "Name", help="letters, digits, dots, dashes and underscores; by default those of the adapters"
            ),
        ),
        verb="Merge them",
        check=check,
        command=command,
    )


def merge_values(values: Mapping[str, str]) -> tuple[tuple[tuple[str, float], ...], int | None]:
    """Return the adapters with their weights, and the rank, from the values of a form.

    Raises:
        KdtuiError: the rank is not a number.
    """
    return weighted(_lines(values["adapters"])) or (), whole_number(values["rank"], "rank", 1)


def export_adapter_form(adapter: str, named_database: Path | None) -> FormDialog:
    """Return the form that asks for the folder to export an adapter to."""

    def command(values: Mapping[str, str]) -> str:
        options = {
            "--output": str(typed_path(values["folder"])) if values["folder"].strip() else "FOLDER",
            "--licence": values["licence"].strip() or None,
            "--base": values["base"].strip() or None,
        }
        flags = ["--replace"] if values["replace"] else []
        return command_line(("model", "export", *flags), adapter, options, database=named_database)

    return FormDialog(
        f"Export adapter {adapter}",
        (
            Field("folder", "Folder", "path", help="It is created; PEFT, llama.cpp, vLLM and kdtui load it as it is."),
            Field("licence", "Licence", help="Of the adapter, for its card, such as apache-2.0. It can be left empty."),
            Field("base", "Base", help="OWNER/NAME of its base on a hub, if kdtui does not know it."),
            Field("replace", "Replace", "switch", help="Replace an export that is in the folder."),
        ),
        verb="Export",
        check=lambda values: None if values["folder"].strip() else "say which folder to write",
        command=command,
    )


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
