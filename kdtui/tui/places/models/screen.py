"""Models: bases, quantizations and adapters, and what there is to know of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.message import Message
from textual.widgets import Static
from textual.worker import get_current_worker

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import Field, ValuesDialog
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.models.adapter_forms import export_form, merge_form, merge_values
from kdtui.tui.student.calibration_form import CalibratingScreen
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.path_input import typed_path
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Column, Row
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.manage_models import ModelRow, Quantized, Writing, own_files
from kdtui.workflows.model_names import why_uncalibrated

if TYPE_CHECKING:
    from kdtui.workflows.student.describe_model import Fit, ModelDetails
    from store.records import RunSettings
    from store.sqlite import Database

_COLUMNS = (
    Column("Model", 14, share=2),
    Column("Kind", 9),
    Column("Architecture", 12, wide=True),
    Column("Weights", 8, right=True),
    Column("Bits", 6),
    Column("Size", 8, right=True),
    Column("Context", 8, right=True),
    Column("From", 12, share=3),
)

_PAUSE = 0.05
"""Seconds that the cursor has to rest on a model before it is described."""

_LONGER = 0.4
"""The same before it is tried which bases it fits: their weights may have to be read."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """In which numbers of bits a model can be written, and which suits this machine, and why."""

    names: tuple[str, ...]
    suitable: str
    reason: str


@dataclass(slots=True)
class _Work:
    """What makes or writes a model, at the moment.

    Attributes:
        failed: what comes before the reason why it could not be done.
        stopped: what to say where it was stopped.
        is_done: whether it has made what it was to make; it may have been told to stop too late.
    """

    activity: Activity
    failed: str
    stopped: str
    is_done: bool = False


class ModelsKnown(Message):
    """The models that there are; what their files say follows."""

    def __init__(self, rows: list[ModelRow], named_database: Path | None) -> None:
        super().__init__()
        self.rows, self.named_database = rows, named_database


class ModelRead(Message):
    """What the file of a model says."""

    def __init__(self, known: ModelRow, row: ModelRow) -> None:
        super().__init__()
        self.known, self.row = known, row


class ModelsRead(Message):
    """All files have been read."""


class Described(Message):
    """What there is to know of a model."""

    def __init__(self, known: ModelRow, details: "ModelDetails") -> None:
        super().__init__()
        self.known, self.details = known, details


class FitsFound(Message):
    """Which bases an adapter fits."""

    def __init__(self, known: ModelRow, fits: "list[Fit]") -> None:
        super().__init__()
        self.known, self.fits = known, fits


class KindsFound(Message):
    """In which numbers of bits a model can be written."""

    def __init__(self, row: ModelRow, kinds: Kinds) -> None:
        super().__init__()
        self.row, self.kinds = row, kinds


class StudentFound(Message):
    """Whom to ask in the workbench, to use a model."""

    def __init__(self, settings: "RunSettings") -> None:
        super().__init__()
        self.settings = settings


class ModelsChanged(Message):
    """A model has got a name, or lost it."""

    def __init__(self, sentence: str, name: str | None = None) -> None:
        super().__init__()
        self.sentence, self.name = sentence, name


class ModelsScreen(CalibratingScreen[None]):
    """All models, and beside them what there is to know of the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("models", "rows", "screen")
    AUTO_FOCUS = "#models"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._known: list[ModelRow] = []
        # By what was known of a model before its file was read.
        self._read: dict[ModelRow, ModelRow] = {}
        self._details: dict[ModelRow, ModelDetails] = {}
        self._fits: dict[ModelRow, list[Fit]] = {}
        self._named_database: Path | None = None
        self._work: _Work | None = None
        self._wanted: object = None
        # The model that another place has asked for.
        self._asked_for: str | None = None

    def compose(self) -> ComposeResult:
        """The list, a model in full, and what is at work."""
        yield TopBar("models")
        with Container(id="halves"):
            yield RowTable(_COLUMNS, id="models")
            with VerticalScroll(id="about"):
                yield Static(id="details", markup=False)
        yield Static(id="notice", markup=False)
        yield Static(id="work", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Nothing is at work, and nothing is there to be shown yet."""
        self.query_one("#work").display = False
        self._show_instead("Looking for models…")
        self._wanted = self.remembered("models").get("model")

    def on_screen_resume(self) -> None:
        """Look for models, after the first paint, and again for those that have come meanwhile."""
        self.call_after_refresh(self._load)

    def action_reload(self) -> None:
        """Look again, and read all files again."""
        for each in (self._read, self._details, self._fits):
            each.clear()
        self._load()

    def on_row_wanted(self, message: RowWanted) -> None:
        """Go to a model."""
        self._asked_for = message.key
        self._load()

    # The list

    def _load(self) -> None:
        read = dict(self._read)

        def question(db: "Database") -> None:
            from kdtui.workflows.manage_models import known_models, read_model

            worker = get_current_worker()
            known = known_models(db)
            self.post_message(ModelsKnown(known, named_database(self.database)))
            for row in known:
                if worker.is_cancelled:
                    return
                if row not in read:
                    self.post_message(ModelRead(row, read_model(row)))

        self.ask(question, lambda _: ModelsRead(), group="models")

    def on_models_known(self, message: ModelsKnown) -> None:
        """Show their names, before their files are read."""
        self._known, self._named_database = message.rows, message.named_database
        self._show_instead("")
        self._table.show_rows(
            (_row(self._read.get(row, row), read=row in self._read) for row in self._known), keep=True
        )
        asked_for, self._asked_for = self._asked_for, None
        if asked_for in [row.name for row in self._known]:
            self._wanted = asked_for
        elif asked_for is not None:
            self.say(f"there is no model {asked_for!r} any more")
        for number, row in enumerate(self._known):
            if row.name == self._wanted:
                self._table.move_to(number)
        self._wanted = None
        self._show_details()
        self.refresh_bindings()

    def on_model_read(self, message: ModelRead) -> None:
        """Show what a file says."""
        self._read[message.known] = message.row
        if message.known in self._known:
            self._table.put_row(self._known.index(message.known), _row(message.row, read=True))

    def _show_instead(self, sentence: str) -> None:
        """Show a sentence, fit to be shown, in place of the list; the list where there is none."""
        self.show_content(self.query_one("#halves"), unless=sentence, focus=self._table)

    @property
    def _table(self) -> RowTable:
        return self.query_one("#models", RowTable)

    @property
    def _chosen(self) -> ModelRow | None:
        """The model under the cursor."""
        key = self._table.cursor_key
        return next((row for row in self._known if row.name == key), None)

    # What there is to know of one

    @on(RowTable.RowHighlighted, "#models")
    def look_at(self, event: RowTable.RowHighlighted) -> None:
        """Show the model under the cursor."""
        self.remembered("models")["model"] = event.key
        self.query_one("#about").scroll_home(animate=False)
        self._show_details()
        # What can be done with it may be something else.
        self.refresh_bindings()

    def _show_details(self) -> None:
        """Show what is known, and have found out what is not."""
        known = self._chosen
        if known is None:
            return
        self.show_command(command_line(("model", "show"), known.name, database=self._named_database))
        details = self._details.get(known)
        self.query_one("#details", Static).update(
            Text("reading…", style="dim") if details is None else self._in_full(known, details)
        )
        if details is None:
            self.ask(partial(_describe, known.name), partial(Described, known), group="details", after=_PAUSE)
        elif details.adapter is not None and known not in self._fits:
            self.ask(partial(_fitting, details), partial(FitsFound, known), group="fits", after=_LONGER)

    def _in_full(self, known: ModelRow, details: "ModelDetails") -> RenderableType:
        from kdtui.workflows.student.describe_model import detail_lines

        heading = "What its file says" if details.adapter is None else "Its manifest"
        parts: list[RenderableType] = [
            _grid(self._in_short(known, details)),
            Text(),
            Text(heading, style="bold"),
            _grid(detail_lines(details)),
        ]
        if all(row.is_shipped for row in self._known):
            key = self.kdtui.key_of
            hint = (
                f"These come with kdtui. {key('models.add')} gives a file of yours a name, {key('models.quantize')} "
                f"writes a model in fewer bits, {key('models.calibrate')} finds out which strategy suits a student, "
                "and trainings bring adapters."
            )
            parts[:0] = [Text(hint), Text()]
        return Group(*parts)

    def _in_short(self, known: ModelRow, details: "ModelDetails") -> list[tuple[str, str]]:
        from kdtui.workflows.student.describe_model import summary_lines

        # The list says its name and its kind.
        lines = [(what, value) for what, value in summary_lines(details) if what not in ("name", "kind")]
        if details.adapter is not None:
            fits = self._fits.get(known)
            lines += [("fits", "trying…")] if fits is None else [("fits", f"{fit.base}: {fit.answer}") for fit in fits]
        return lines

    def on_described(self, message: Described) -> None:
        """Show it, if the cursor is still there."""
        self._details[message.known] = message.details
        if message.known == self._chosen:
            self._show_details()
            self.refresh_bindings()

    def on_fits_found(self, message: FitsFound) -> None:
        """Show them, if the cursor is still there."""
        self._fits[message.known] = message.fits
        if message.known == self._chosen:
            self._show_details()

    @on(RowTable.RowSelected, "#models")
    async def open_details(self) -> None:
        """Do what its key does, and say why where that cannot be done."""
        await self.run_action("details")

    def action_details(self) -> None:
        """Show all that there is to know of the model over the list."""
        known = self._chosen
        assert known is not None
        from kdtui.workflows.student.describe_model import detail_lines

        details = self._details[known]
        lines = [*self._in_short(known, details), *detail_lines(details)]
        copies = "\n".join(f"{what}: {one_line(value)}" for what, value in lines)
        self.app.push_screen(TextDialog(known.name, self._in_full(known, details), copies=copies))

    def action_copy_path(self) -> None:
        """Copy the path of its file."""
        known = self._chosen
        assert known is not None
        self.app.copy_to_clipboard(str(known.path))
        self.say(f"copied: {known.path}", error=False)

    # What can be done with them

    def action_use(self) -> None:
        """Ask this model in the workbench; an adapter with a base that it fits."""
        known = self._chosen
        assert known is not None
        self.ask(partial(_student_for, known.name), StudentFound, group="use")

    def on_student_found(self, message: StudentFound) -> None:
        """Go there."""
        found = message.settings
        # An adapter is asked as it was trained; another base is asked as the one before.
        self.kdtui.use_choice(
            StudentChoice.of(found) if found.adapters else self.kdtui.choice.with_student(found.student)
        )
        self.say(f"the workbench asks {self.kdtui.choice.name} from now on", error=False)
        self.kdtui.action_show("workbench")

    def action_calibrate(self) -> None:
        """Ask on which dataset; the student is asked as the workbench asks it, or else as it was trained."""
        known = self._chosen
        assert known is not None
        asked = self.kdtui.choice.settings
        if known.name in (asked.student, *(name for name, _ in asked.adapters)):
            self.offer_calibration(lambda _: asked)
        else:
            self.offer_calibration(partial(_student_for, known.name))

    def action_add(self) -> None:
        """Ask for a file or a folder, and a name."""

        def command(values: Mapping[str, str]) -> str:
            name = values["name"].strip() or None
            path = str(typed_path(values["path"])) if values["path"].strip() else "FILE"
            return command_line(("model", "add"), path, {"--name": name}, database=self._named_database)

        def add(values: dict[str, str] | None) -> None:
            if values is None:
                return
            path, name = typed_path(values["path"]), values["name"].strip() or None
            if path.is_dir():
                self._begin(f"copying the adapter in {path}", partial(_take_in, path, name, self.database))
            else:
                self.ask(partial(_add, path, name), _added, group="change")

        fields = (
            Field(
                "path",
                "File or folder",
                "path",
                help="a GGUF file, which stays where it is, or the folder of an adapter, which is copied; of a hub: "
                "kdtui model add OWNER/NAME, in a shell",
            ),
            Field("name", "Name", help="letters, digits, dots, dashes and underscores; that of the file by default"),
        )
        form = ValuesDialog(
            "Give a model a name",
            fields,
            verb="Add it",
            check=lambda values: None if values["path"].strip() else "say which file or folder",
            command=command,
        )
        self.app.push_screen(form, add)

    def action_merge(self) -> None:
        """Ask which adapters to merge, beginning with this one."""
        known = self._chosen
        assert known is not None

        def merge(values: dict[str, str] | None) -> None:
            if values is not None:
                adapters, rank = merge_values(values)
                name = values["name"].strip() or None
                what = " and ".join(each for each, _ in adapters)
                self._begin(f"merging {what}", partial(_merge, adapters, rank, name, self.database))

        names = [row.name for row in self._known if row.kind == "adapter"]
        self.app.push_screen(merge_form(known.name, names, self._named_database), merge)

    def action_export(self) -> None:
        """Ask for the folder."""
        known = self._chosen
        assert known is not None
        adapter = known.name

        def export(values: dict[str, str] | None) -> None:
            if values is not None:
                self._begin(f"exporting {adapter}", partial(_export, adapter, values))

        self.app.push_screen(export_form(adapter, self._named_database), export)

    def action_quantize(self) -> None:
        """Ask for the number of bits, once it is known which there are."""
        known = self._chosen
        assert known is not None
        self.ask(_kinds, partial(KindsFound, known), group="kinds")

    def on_kinds_found(self, message: KindsFound) -> None:
        """Show the form."""
        source, kinds = message.row.name, message.kinds

        def command(values: Mapping[str, str]) -> str:
            options = {"--to": values["kind"], "--name": values["name"].strip() or None}
            return command_line(("model", "quantize"), source, options, database=self._named_database)

        def quantize(values: dict[str, str] | None) -> None:
            if values is not None:
                self._quantize(source, values["kind"], values["name"].strip() or None)

        fields = (
            Field(
                "kind",
                "Bits",
                "choice",
                kinds.suitable,
                help=f"{kinds.suitable} suits this machine: {kinds.reason}",
                options=[(name, name) for name in kinds.names],
            ),
            Field(
                "name", "Name", help="letters, digits, dots, dashes and underscores; by default the model and its bits"
            ),
        )
        form = ValuesDialog(f"Write {source} in another number of bits", fields, verb="Write it", command=command)
        self.app.push_screen(form, quantize)

    def _quantize(self, source: str, kind: str, name: str | None) -> None:
        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.manage_models import models_folder, quantize_model

            return quantize_model(db, source, kind, name, models_folder(self.database))

        what = f"{source} as {kind}"
        self._begin(
            f"writing {what}",
            work,
            failed=f"{what} cannot be written: ",
            stopped=f"{what} is not written; nothing is left behind",
        )

    def _begin(
        self, name: str, work: "Callable[[Database], Iterator[object]]", *, failed: str = "", stopped: str | None = None
    ) -> None:
        """Begin what makes or writes a model.

        Args:
            name: what it does.
            failed: what comes before the reason why it could not be done.
            stopped: what to say where it was stopped.
        """
        activity = Activity(name, self.database, work, self.post_message)
        self._work = _Work(activity, failed, stopped or f"{name} was stopped; nothing is left behind")
        self._show_work()
        self.kdtui.begin(activity)
        self.refresh_bindings()

    def _show_work(self, written: int | None = None) -> None:
        line = self.query_one("#work", Static)
        line.display = self._work is not None
        if self._work is not None:
            activity = self._work.activity
            state = f": {written / 1e6:,.0f} MB so far" if written is not None else "…"
            line.update(Text(one_line(f"⏳ {activity.name}{': stopping' if activity.is_cancelled else state}", 200)))

    def on_happened(self, message: Happened) -> None:
        """Show how far it is, or what was made."""
        match message.event:
            case Writing(bytes=written):
                self._show_work(written)
            case Quantized(model=model, before=before, after=after):
                self._show_made(
                    ModelsChanged(f"{model.name} has {after / 1e6:,.0f} MB, of {before / 1e6:,.0f} before", model.name)
                )
            case ModelsChanged() as changed:
                self._show_made(changed)

    def _show_made(self, made: ModelsChanged) -> None:
        assert self._work is not None
        self._work.is_done = True
        self._wanted = made.name
        self.say(made.sentence, error=False)

    def on_ended(self, message: Ended) -> None:
        """Say why nothing was made, if nothing was."""
        work = self._work
        assert work is not None
        self._work = None
        self._show_work()
        if message.problem is not None:
            self.say(f"{work.failed}{message.problem}", details=message.details)
        elif work.activity.is_cancelled and not work.is_done:
            self.say(work.stopped, error=False)
        self.refresh_bindings()
        self._load()

    def action_stop(self) -> None:
        """Stop what is at work."""
        assert self._work is not None
        self._work.activity.cancel()
        self._show_work()

    def action_remove(self) -> None:
        """Ask whether to, saying what is lost."""
        known = self._chosen
        assert known is not None
        details = self._details.get(known)
        own = own_files(known)
        if own is not None and own != known.path:
            lost, verb = f"The files are deleted, since kdtui made or copied them: {own}", "Delete it"
        elif own is not None:
            lost, verb = f"The file is deleted, since kdtui made or fetched it: {own}", "Delete it"
        else:
            lost, verb = f"The name is forgotten; the file stays: {known.path}", "Forget it"
            if details is not None and details.training is not None:
                again = command_line(("sft", "rm"), known.name, database=self._named_database)
                lost = (
                    f"Training {known.name} gives it the name again when trainings are looked at; both go with: {again}"
                )

        def answer(yes: bool | None) -> None:
            if yes:
                self.ask(partial(_remove, known.name), ModelsChanged, group="change")

        command = command_line(("model", "rm"), known.name, database=self._named_database)
        self.app.push_screen(ConfirmDialog(f"Forget model {known.name}?", lost, verb, command), answer)

    def on_models_changed(self, message: ModelsChanged) -> None:
        """Say so, and look again."""
        self.say(message.sentence, error=False)
        self._wanted = message.name
        self._load()

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        if not self._known:
            self._show_instead(f"{one_line(message.sentence)}\n\n{self.kdtui.key_of('screen.reload')} looks again.")

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        known = self._chosen
        if action in ("use", "calibrate", "quantize", "merge", "export", "remove", "details", "copy_path"):
            if known is None:
                return "there is no model"
            if action != "remove" and action != "details" and (read := self._read.get(known)) and read.problem:
                return f"the file cannot be used: {read.problem}"
        if action in ("use", "calibrate", "quantize") and known is not None and known.kind == "encoder":
            return f"{known.name} makes vectors, and answers nothing"
        match action:
            case "details" if known not in self._details:
                return "its file is being read"
            case "calibrate" if known is not None and (reason := why_uncalibrated(known.name)) is not None:
                return reason
            case "quantize" if known is not None and known.kind == "adapter":
                return "an adapter stays as it is; quantize its base"
            case "merge" | "export" if known is not None and known.kind != "adapter":
                return f"{known.name} is no adapter"
            case "quantize" | "merge" | "export" | "add" if self._work is not None:
                return f"it is {self._work.activity.name}; one at a time"
            case "remove" if known is not None and known.is_shipped:
                return f"{known.name} comes with kdtui"
            case "stop" if self._work is None:
                return "nothing is at work here"
        return super().why_not(action)


def _row(row: ModelRow, *, read: bool) -> Row:
    info = row.info
    return Row(
        row.name,
        (
            row.name,
            "quantized" if row.kind == "base" and row.made and row.source.partition(" as ")[1] else row.kind,
            info.architecture if info else "",
            f"{info.parameters / 1e6:,.0f} M" if info else "",
            info.quantization if info else "" if read else "…",
            f"{row.bytes / 1e6:,.0f} MB" if row.bytes is not None else "",
            f"{info.context:,}" if info else "",
            f"✗ {row.problem}" if row.problem else row.source,
        ),
    )


def _grid(lines: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(style="dim", max_width=28, overflow="fold")
    grid.add_column(ratio=1, overflow="fold")
    for what, value in lines:
        grid.add_row(Text(one_line(what, 100)), Text(one_line(value, 1000)))
    return grid


def _describe(name: str, db: "Database") -> "ModelDetails":
    from kdtui.workflows.student.describe_model import describe_model

    return describe_model(db, name)


def _fitting(details: "ModelDetails", db: "Database") -> "list[Fit]":
    from kdtui.workflows.student.describe_model import fitting

    return list(fitting(db, details))


def _student_for(name: str, db: "Database") -> "RunSettings":
    from kdtui.workflows.student.describe_model import student_with

    return student_with(db, name)


def _kinds(db: "Database") -> Kinds:  # noqa: ARG001
    from models.llama.model import can_use_gpu, system_features
    from models.llama.quantization import QUANTIZATIONS, suitable_quantization

    return Kinds(tuple(QUANTIZATIONS), *suitable_quantization(system_features(), gpu=can_use_gpu()))


def _add(path: Path, name: str | None, db: "Database") -> str:
    from kdtui.workflows.manage_models import add_file

    return add_file(db, path, name).name


def _added(name: str) -> ModelsChanged:
    return ModelsChanged(f"{name} is there; it answers by that name", name)


def _take_in(path: Path, name: str | None, database: Path, db: "Database") -> Iterator[ModelsChanged]:
    from kdtui.workflows.adapters.take_in import take_in
    from kdtui.workflows.manage_models import models_folder

    taken = take_in(db, path, name, models_folder(database))
    yield ModelsChanged("; ".join([f"{taken.model.name} is there", *filter(None, [taken.note])]), taken.model.name)


def _merge(
    adapters: Sequence[tuple[str, float]], rank: int | None, name: str | None, database: Path, db: "Database"
) -> Iterator[ModelsChanged]:
    from kdtui.workflows.adapters.merge import merge_adapters
    from kdtui.workflows.manage_models import models_folder

    made = merge_adapters(db, adapters, name, models_folder(database), rank=rank)
    yield ModelsChanged("; ".join([made.in_words, *made.notes]), made.model.name)


def _export(adapter: str, values: Mapping[str, str], db: "Database") -> Iterator[ModelsChanged]:
    from kdtui.workflows.adapters.export import export_adapter

    made = export_adapter(
        db,
        adapter,
        typed_path(values["folder"]),
        licence=values["licence"].strip() or None,
        base=values["base"].strip() or None,
        replace=bool(values["replace"]),
    )
    yield ModelsChanged("; ".join([made.in_words, *filter(None, [made.note])]), adapter)


def _remove(name: str, db: "Database") -> str:
    from kdtui.workflows.manage_models import remove_model

    deleted = remove_model(db, name)
    return f"forgot {name}, and deleted {deleted}" if deleted else f"forgot {name}; its file stays"
