"""The form for the tags and the note of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import Field, FormDialog
from store.errors import StoreError

if TYPE_CHECKING:
    from store.runs import Run
    from store.sqlite import Database


def note_form(run: "Run", database: Path | None) -> FormDialog:
    """Return the form for the tags and the note of a run.

    Args:
        database: the path by which a command names the store, or None for the default.
    """

    def check(values: Mapping[str, str]) -> str | None:
        from store.runs import check_tags

        try:
            check_tags(values["tags"].split())
        except StoreError as error:
            return str(error)
        return None

    def command(values: Mapping[str, str]) -> str:
        return " && ".join(
            command_line(words, [str(run.id), *arguments], database=database)
            for words, arguments in _changes(run, values)
        )

    fields = [
        Field("tags", "Tags", value=" ".join(run.tags), help="words to find the run by, separated by blanks"),
        Field("note", "Note", value=run.note),
    ]
    return FormDialog(f"Tags and a note of run {run.id}", fields, verb="Save", check=check, command=command)


def save_note(db: "Database", run: "Run", values: Mapping[str, str]) -> None:
    """Save the tags and the note of a form.

    Raises:
        NotFound: the run, or a tag to remove, no longer exists.
    """
    from store.runs import note_run, tag_run

    tags = values["tags"].split()
    tag_run(db, run.id, add=tags, remove=[tag for tag in run.tags if tag not in tags])
    note_run(db, run.id, values["note"])


def _changes(run: "Run", values: Mapping[str, str]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return the commands that make the changes, each with its arguments after the number of the run."""
    tags = values["tags"].split()
    added = [tag for tag in dict.fromkeys(tags) if tag not in run.tags]
    removed = [tag for tag in run.tags if tag not in tags]
    note = values["note"].strip()
    return [
        *([(("run", "tag"), added)] if added else []),
        *([(("run", "tag", "--remove"), removed)] if removed else []),
        *([(("run", "note"), [note])] if note != run.note else []),
    ]
