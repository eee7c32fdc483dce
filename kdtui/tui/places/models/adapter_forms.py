"""Forms about adapters: to merge several, and to export one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, ValuesDialog, whole_number
from kdtui.tui.widgets.path_input import typed_path
from kdtui.workflows.adapters.merge_request import check_merge
from kdtui.workflows.student.command_options import adapters as weighted

_LISTED = 20
"""Names of adapters that a form lists."""


def merge_form(first: str, names: Sequence[str], named_database: Path | None) -> ValuesDialog:
    """Which adapters to merge, by which weights.

    Args:
        first: the one that the form begins with.
        names: of all adapters.
        named_database: how a command names the store.
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
    return ValuesDialog(
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
                help="to reduce the sum to, by its largest singular values; by default the ranks add up, and the "
                "sum is exact",
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
    """The adapters with their weights, and the rank, that a form has.

    Raises:
        KdtuiError: the rank is no number.
    """
    return weighted(_lines(values["adapters"])) or (), whole_number(values["rank"], "rank", 1)


def export_form(adapter: str, named_database: Path | None) -> ValuesDialog:
    """Where an adapter is to go; otherwise as `merge_form`."""

    def command(values: Mapping[str, str]) -> str:
        options = {
            "--output": str(typed_path(values["folder"])) if values["folder"].strip() else "FOLDER",
            "--licence": values["licence"].strip() or None,
            "--base": values["base"].strip() or None,
        }
        flags = ["--replace"] if values["replace"] else []
        return command_line(("model", "export", *flags), adapter, options, database=named_database)

    return ValuesDialog(
        f"Export adapter {adapter}",
        (
            Field("folder", "Folder", "path", help="It is made; PEFT, llama.cpp, vLLM and kdtui load it as it is."),
            Field("licence", "Licence", help="Of the adapter, for its card: apache-2.0, say. It may be left out."),
            Field("base", "Base", help="OWNER/NAME of its base on a hub, where kdtui does not know it."),
            Field("replace", "Replace", "switch", help="Take the place of an export that is in the folder."),
        ),
        verb="Export",
        check=lambda values: None if values["folder"].strip() else "say which folder to write",
        command=command,
    )


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
