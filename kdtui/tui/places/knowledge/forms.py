"""Forms about pieces of knowledge that have been chosen."""

from collections.abc import Mapping
from pathlib import Path

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import Field, FormDialog
from kdtui.tui.places.knowledge.tasks import so_many
from kdtui.tui.widgets.path_input import typed_path


def sample_form(
    count: int, chosen: Mapping[str, str | None], named_database: Path | None, *, rejected: bool
) -> FormDialog:
    """What a sample of pieces is to be called.

    Args:
        count: how many pieces.
        chosen: how a command names them.
        rejected: whether rejected pieces were asked for.
    """

    def command(values: Mapping[str, str]) -> str:
        flags = [f"--{flag}" for flag in ("all", "replace") if values[flag]]
        name = values["name"].strip() or "NAME"
        return command_line(("sample", "create", *flags), name, chosen, database=named_database)

    return FormDialog(
        f"A sample of {so_many(count)}",
        [
            Field("name", "Name"),
            Field(
                "all",
                "Rejected too",
                "switch",
                "yes" if rejected else "",
                help="Take what is rejected, too. No student is shown it.",
            ),
            Field("replace", "Replace", "switch", help="Take the place of a sample of this name."),
        ],
        verb="Make it",
        check=lambda values: None if values["name"].strip() else "a sample needs a name",
        command=command,
    )


def export_form(count: int, chosen: Mapping[str, str | None], named_database: Path | None) -> FormDialog:
    """Where pieces are to go, and as what; otherwise as `sample_form`."""

    def command(values: Mapping[str, str]) -> str:
        options = {
            "--output": str(typed_path(values["folder"])) if values["folder"].strip() else "FOLDER",
            "--as": None if values["kind"] == "jsonl" else values["kind"],
            "--licence": values["licence"].strip() or None,
        }
        flags = ["--replace"] if values["replace"] else []
        return command_line(("knowledge", "export", *flags), options={**options, **chosen}, database=named_database)

    return FormDialog(
        f"Export {so_many(count)}",
        [
            Field("folder", "Folder", "path", help="It is made where it is not there; load_dataset can read it."),
            Field("kind", "Kind", "choice", options=(("JSON Lines", "jsonl"), ("Parquet", "parquet"))),
            Field("licence", "Licence", help="Of the knowledge, for the dataset card; it may be left out."),
            Field("replace", "Replace", "switch", help="Take the place of an export that is in the folder."),
        ],
        verb="Export",
        check=lambda values: None if values["folder"].strip() else "say which folder to write",
        command=command,
    )
