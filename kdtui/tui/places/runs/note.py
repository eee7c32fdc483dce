"""The form for the tags and the note of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, Form

if TYPE_CHECKING:
    from store.runs import Run
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class RunNote:
    """The tags and the note that a run gets."""

    tags: tuple[str, ...]
    note: str


class NoteForm(Form[RunNote]):
    """Asks for the tags and the note of a run.

    Args:
        named_database: the path by which a command names the store, or None for the default.
    """

    verb = "Save"

    def __init__(self, run: "Run", named_database: Path | None) -> None:
        self.title = f"Tags and a note of run {run.id}"
        self._run, self._named_database = run, named_database

    @property
    def fields(self) -> Sequence[Field]:
        tags = " ".join(self._run.tags)
        return [
            Field("tags", "Tags", value=tags, help="words to find the run by, separated by blanks"),
            Field("note", "Note", value=self._run.note),
        ]

    def parse(self, values: Mapping[str, str]) -> RunNote:
        from store.runs import check_tags

        tags = tuple(values["tags"].split())
        check_tags(tags)
        return RunNote(tags, values["note"])

    def command(self, parsed: RunNote) -> str:
        """Return the commands that make the same changes; empty if nothing changes."""
        run = self._run
        added = [tag for tag in dict.fromkeys(parsed.tags) if tag not in run.tags]
        removed = [tag for tag in run.tags if tag not in parsed.tags]
        note = parsed.note.strip()
        changes = [
            *([(("run", "tag"), added)] if added else []),
            *([(("run", "tag", "--remove"), removed)] if removed else []),
            *([(("run", "note"), [note])] if note != run.note else []),
        ]
        return " && ".join(
            command_line(words, [str(run.id), *arguments], database=self._named_database)
            for words, arguments in changes
        )


def save_note(db: "Database", run: "Run", note: RunNote) -> None:
    """Save the tags and the note of a run.

    Raises:
        NotFound: the run, or a tag to remove, no longer exists.
    """
    from store.runs import note_run, tag_run

    tag_run(db, run.id, add=note.tags, remove=[tag for tag in run.tags if tag not in note.tags])
    note_run(db, run.id, note.note)
