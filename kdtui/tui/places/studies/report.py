"""The form and the task that write the report of a study, or a table of its sessions."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import Field, FormDialog
from kdtui.tui.core.task import Task
from kdtui.tui.widgets.path_input import typed_path

if TYPE_CHECKING:
    from store.sqlite import Database

_REPORT = "report"

_KINDS = (
    ("the report: an HTML file and the same as Markdown", _REPORT),
    ("the measures of each cell and session: CSV", "csv"),
    ("the measures of each cell and session: Parquet", "parquet"),
)


def report_form(study: str, before: object, database: Path | None) -> FormDialog:
    """Return the form that asks what to write about a study, and where.

    Args:
        before: the values when the form was last used; the user may have edited them.
        database: the path by which a command names the store, or None for the default.
    """
    last = before if isinstance(before, dict) else {}
    kind, folder = last.get("kind"), last.get("folder")
    return FormDialog(
        f"Write about study {study}",
        [
            Field("kind", "What", "choice", kind if isinstance(kind, str) else _REPORT, options=_KINDS),
            Field(
                "folder",
                "Folder",
                "path",
                folder if isinstance(folder, str) else ".",
                help=f"The files are called {study}; existing ones are replaced.",
            ),
        ],
        verb="Write",
        check=lambda values: None if values["folder"].strip() else "name a folder; a dot is the current one",
        command=lambda values: _command(study, values, database),
    )


def _command(study: str, values: Mapping[str, str], database: Path | None) -> str:
    folder = typed_path(values["folder"])
    if values["kind"] == _REPORT:
        return command_line(("study", "report"), study, {"--output": str(folder)}, database=database)
    return command_line(
        ("study", "export"), study, {"--output": str(_table(study, folder, values["kind"]))}, database=database
    )


def _table(study: str, folder: Path, kind: str) -> Path:
    return folder / f"{study}.{kind}"


class StudyReport(Task):
    """Writes the report of a study, or a table of its sessions.

    Args:
        values: the values of the form.
    """

    kind: ClassVar[str] = "study report"
    action: ClassVar[str] = "study.report"

    def __init__(
        self, database: Path, study: str, values: Mapping[str, str], post: Callable[[Message], object]
    ) -> None:
        self._written: list[Path] = []
        folder, kind = typed_path(values["folder"]), values["kind"]

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.studies.overview import open_study

            _, plan = open_study(db, study)
            if kind == _REPORT:
                from kdtui.workflows.studies.report import write_report

                yield write_report(db, plan, folder)
            else:
                from kdtui.workflows.studies.export import export_rows, write_csv, write_parquet

                folder.mkdir(parents=True, exist_ok=True)
                path = _table(study, folder, kind)
                write = write_parquet if kind == "parquet" else write_csv
                write(path, export_rows(db, plan))
                yield [path]

        super().__init__(f"writing about study {study}", database, work, post, values)

    def note(self, event: object) -> None:
        """Note the written files."""
        self._written = event  # type: ignore[assignment]

    @property
    def is_done(self) -> bool:
        """Whether all files are written."""
        return bool(self._written)

    @property
    def outcome(self) -> str:
        return f"wrote {' and '.join(map(str, self._written))}"

    @property
    def when_stopped(self) -> str:
        return f"{self.name} was stopped; existing files are unchanged"
