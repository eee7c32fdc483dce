"""The form and the task that write the report of a study, or a table of its sessions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, Form
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


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A report or a table that the user wants to write about a study.

    Attributes:
        kind: one of `_KINDS`.
        folder: the folder as typed; None while the user has named none.
    """

    kind: str
    folder: str | None

    @property
    def directory(self) -> Path:
        """The folder as a path; the current one while the user has named none."""
        return typed_path(self.folder or ".")

    def table_path(self, study: str) -> Path:
        """Return the file for the table of a study: it has the name of the study, in the folder."""
        return self.directory / f"{study}.{self.kind}"

    def to_memory(self) -> dict[str, str]:
        """Return the values of the fields to remember."""
        return {"kind": self.kind, "folder": self.folder or ""}


class ReportForm(Form[ReportRequest]):
    """Asks what to write about a study, and where.

    Args:
        before: remembered values of the fields; the user may have edited them.
        named_database: the path by which a command names the store, or None for the default.
    """

    verb = "Write"

    def __init__(self, study: str, before: object, named_database: Path | None) -> None:
        self.title = f"Write about study {study}"
        self._study, self._named_database = study, named_database
        self._before = before if isinstance(before, dict) else {}

    @property
    def fields(self) -> Sequence[Field]:
        kind, folder = self._before.get("kind"), self._before.get("folder")
        return [
            Field("kind", "What", "choice", kind if isinstance(kind, str) else _REPORT, options=_KINDS),
            Field(
                "folder",
                "Folder",
                "path",
                folder if isinstance(folder, str) else ".",
                help=f"The files are called {self._study}; existing ones are replaced.",
            ),
        ]

    def parse(self, values: Mapping[str, str]) -> ReportRequest:
        return ReportRequest(values["kind"], values["folder"].strip() or None)

    def problem(self, parsed: ReportRequest) -> str | None:
        return "name a folder; a dot is the current one" if parsed.folder is None else None

    def command(self, parsed: ReportRequest) -> str:
        if parsed.kind == _REPORT:
            words, output = ("study", "report"), parsed.directory
        else:
            words, output = ("study", "export"), parsed.table_path(self._study)
        return command_line(words, self._study, {"--output": str(output)}, database=self._named_database)


class StudyReport(Task):
    """Writes the report of a study, or a table of its sessions.

    Args:
        request: what to write, and where.
    """

    kind: ClassVar[str] = "study report"
    action: ClassVar[str] = "study.report"

    def __init__(self, database: Path, study: str, request: ReportRequest, post: Callable[[Message], object]) -> None:
        self._written: list[Path] = []
        folder, kind = request.directory, request.kind

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.studies.overview import open_study

            _, plan = open_study(db, study)
            if kind == _REPORT:
                from kdtui.workflows.studies.report import write_report

                yield write_report(db, plan, folder)
            else:
                from kdtui.workflows.studies.export import export_rows, write_csv, write_parquet

                folder.mkdir(parents=True, exist_ok=True)
                path = request.table_path(study)
                write = write_parquet if kind == "parquet" else write_csv
                write(path, export_rows(db, plan))
                yield [path]

        super().__init__(f"writing about study {study}", database, work, post)

    def record(self, event: object) -> None:
        """Record the written files."""
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
