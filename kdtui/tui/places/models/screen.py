"""The place Models: the list of models, and details of the model under the cursor."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static
from textual.worker import get_current_worker

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.models.details import details_to_copy, full_details
from kdtui.tui.places.models.forms import (
    AdapterExportForm,
    AdapterExportRequest,
    AddForm,
    AddRequest,
    MergeForm,
    MergeRequest,
    QuantizeForm,
    QuantizeRequest,
)
from kdtui.tui.places.models.model_work import (
    BitOptionsFound,
    Described,
    FitsFound,
    ModelRead,
    ModelsChanged,
    ModelsListed,
    StudentFound,
    UsesFound,
    add_model_file,
    bit_options,
    delete_and_report,
    export_and_report,
    find_fits,
    import_adapter,
    merge_and_report,
    read_details,
    student_for,
    uses_of_removable,
)
from kdtui.tui.places.models.rows import COLUMNS, model_row
from kdtui.tui.places.models.work_screen import ModelWorkScreen
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.manage_models import ModelRow, own_files
from kdtui.workflows.model_names import why_uncalibrated

if TYPE_CHECKING:
    from kdtui.workflows.student.describe_model import Fit, ModelDetails
    from store.sqlite import Database


_PAUSE = 0.05
"""Seconds that the cursor has to rest on a model before it is described."""

_FITS_PAUSE = 0.4
"""Seconds before the bases that an adapter fits are determined; their weights may have to be read."""


class ModelsScreen(ModelWorkScreen):
    """All models, and the details of the model under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("models", "rows", "screen")
    AUTO_FOCUS = "#models"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._models: list[ModelRow] = []
        # By the row of a model before its file was read.
        self._read: dict[ModelRow, ModelRow] = {}
        self._details: dict[ModelRow, ModelDetails] = {}
        self._fits: dict[ModelRow, list[Fit]] = {}
        self._named_database: Path | None = None
        # The name of the model that the cursor goes to when the list comes.
        self._cursor_target: object = None
        # The name of the model that another place wants to show.
        self._requested: str | None = None

    def compose(self) -> ComposeResult:
        yield TopBar("models")
        with Container(id="halves"):
            yield RowTable(COLUMNS, id="models")
            with VerticalScroll(id="about"):
                yield Static(id="details", markup=False)
        yield Static(id="notice", markup=False)
        yield Static(id="work", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._show_instead("Looking for models…")
        self._cursor_target = self.remembered("models").get("model")

    def on_screen_resume(self) -> None:
        """Load the models after the first paint, and again whenever the screen is shown."""
        self.call_after_refresh(self._load)

    def action_reload(self) -> None:
        """List the models again, and read all files again."""
        for each in (self._read, self._details, self._fits):
            each.clear()
        self._load()

    def on_row_wanted(self, message: RowWanted) -> None:
        """Move to a model that another place wants to show."""
        self._requested = message.key
        self._load()

    # The list

    def list_again(self, cursor_target: str | None) -> None:
        """List the models again, with the cursor on the one of this name."""
        self._cursor_target = cursor_target
        self._load()

    def _load(self) -> None:
        read = dict(self._read)

        def question(db: "Database") -> None:
            from kdtui.workflows.manage_models import known_models, read_model

            worker = get_current_worker()
            models = known_models(db)
            self.post_message(ModelsListed(models, named_database(self.database)))
            for model in models:
                if worker.is_cancelled:
                    return
                if model not in read:
                    self.post_message(ModelRead(model, read_model(model)))

        self.ask(question, None, group="models")

    def on_models_listed(self, message: ModelsListed) -> None:
        """Show the names before the files are read."""
        self._models, self._named_database = message.rows, message.named_database
        self._show_instead("")
        self._table.show_rows(
            (model_row(self._read.get(row, row), read=row in self._read) for row in self._models), keep=True
        )
        requested, self._requested = self._requested, None
        if requested in [row.name for row in self._models]:
            self._cursor_target = requested
        elif requested is not None:
            self.say(f"there is no model {requested!r} any more")
        for number, row in enumerate(self._models):
            if row.name == self._cursor_target:
                self._table.move_to(number)
        self._cursor_target = None
        self._show_details()
        self.refresh_bindings()

    def on_model_read(self, message: ModelRead) -> None:
        """Show the contents of a file in its row."""
        self._read[message.listed] = message.row
        if message.listed in self._models:
            self._table.put_row(self._models.index(message.listed), model_row(message.row, read=True))

    def _show_instead(self, sentence: str) -> None:
        """Show a sentence in place of the list, or the list if the sentence is empty."""
        self.show_content(self.query_one("#halves"), unless=sentence, focus=self._table)

    @property
    def _table(self) -> RowTable:
        return self.query_one("#models", RowTable)

    @property
    def _selected(self) -> ModelRow | None:
        """The model under the cursor."""
        key = self._table.cursor_key
        return next((row for row in self._models if row.name == key), None)

    # Details of a model

    @on(RowTable.RowHighlighted, "#models")
    def show_selection(self, event: RowTable.RowHighlighted) -> None:
        """Show the model under the cursor."""
        self.remembered("models")["model"] = event.key
        self.query_one("#about").scroll_home(animate=False)
        self._show_details()
        # Other actions may be available for it.
        self.refresh_bindings()

    def _show_details(self) -> None:
        """Show the known details of the selected model, and read the others."""
        model = self._selected
        if model is None:
            return
        self.show_command(command_line(("model", "show"), model.name, database=self._named_database))
        details = self._details.get(model)
        self.query_one("#details", Static).update(
            Text("reading…", style="dim") if details is None else self._full_details(model, details)
        )
        if details is None:
            self.ask(partial(read_details, model.name), partial(Described, model), group="details", after=_PAUSE)
        elif details.adapter is not None and model not in self._fits:
            self.ask(partial(find_fits, details), partial(FitsFound, model), group="fits", after=_FITS_PAUSE)

    def _full_details(self, model: ModelRow, details: "ModelDetails") -> RenderableType:
        hint = ""
        if all(row.is_shipped for row in self._models):
            key = self.kdtui.key_of
            hint = (
                f"These come with kdtui. {key('models.add')} gives a file of yours a name, {key('models.quantize')} "
                f"writes a model in fewer bits, {key('models.calibrate')} finds out which strategy suits a student, "
                "and trainings bring adapters."
            )
        return full_details(details, self._fits.get(model), hint)

    def on_described(self, message: Described) -> None:
        """Show the details, if the cursor is still on the model."""
        self._details[message.model] = message.details
        if message.model == self._selected:
            self._show_details()
            self.refresh_bindings()

    def on_fits_found(self, message: FitsFound) -> None:
        """Show the fits, if the cursor is still on the model."""
        self._fits[message.model] = message.fits
        if message.model == self._selected:
            self._show_details()

    @on(RowTable.RowSelected, "#models")
    async def open_details(self) -> None:
        """Open the details as the key does, which says why they are not available."""
        await self.run_action("details")

    def action_details(self) -> None:
        """Show all details of the model over the list."""
        model = self._selected
        assert model is not None
        details = self._details[model]
        copies = details_to_copy(details, self._fits.get(model))
        self.app.push_screen(TextDialog(model.name, self._full_details(model, details), copies=copies))

    def action_copy_path(self) -> None:
        model = self._selected
        assert model is not None
        self.app.copy_to_clipboard(str(model.path))
        self.say(f"copied: {model.path}", error=False)

    # Actions on a model

    def action_use(self) -> None:
        """Ask this model in the workbench; an adapter is asked with a base that it fits."""
        model = self._selected
        assert model is not None
        self.ask(partial(student_for, model.name), StudentFound, group="use")

    def on_student_found(self, message: StudentFound) -> None:
        """Switch the workbench to the student, and go there."""
        settings = message.settings
        # An adapter is asked as it was trained; another base is asked like the base before.
        self.kdtui.use_choice(
            StudentChoice.of(settings) if settings.adapters else self.kdtui.choice.with_student(settings.student)
        )
        self.say(f"the workbench asks {self.kdtui.choice.name} from now on", error=False)
        self.kdtui.action_show("workbench")

    def action_calibrate(self) -> None:
        """Offer a calibration with the workbench's settings if it asks this model, else as the model was trained."""
        model = self._selected
        assert model is not None
        current = self.kdtui.choice.settings
        if model.name in (current.student, *(name for name, _ in current.adapters)):
            self.offer_calibration(lambda _: current)
        else:
            self.offer_calibration(partial(student_for, model.name))

    def action_add(self) -> None:
        """Ask for a file or a folder, and a name."""

        def add(request: AddRequest | None) -> None:
            if request is None or request.path is None:
                return
            path, name = request.path, request.name
            if path.is_dir():
                self.begin_work(f"copying the adapter in {path}", partial(import_adapter, path, name, self.database))
            else:
                self.write(partial(add_model_file, path, name))

        self.app.push_screen(FormDialog(AddForm(self._named_database)), add)

    def action_merge(self) -> None:
        """Ask which adapters to merge, beginning with the selected one."""
        model = self._selected
        assert model is not None

        def merge(request: MergeRequest | None) -> None:
            if request is not None:
                names = " and ".join(each for each, _ in request.adapters)
                work = partial(merge_and_report, request.adapters, request.rank, request.name, self.database)
                self.begin_work(f"merging {names}", work)

        names = [row.name for row in self._models if row.kind == "adapter"]
        self.app.push_screen(FormDialog(MergeForm(model.name, names, self._named_database)), merge)

    def action_export(self) -> None:
        """Ask for the folder to export an adapter to."""
        model = self._selected
        assert model is not None
        adapter = model.name

        def export(request: AdapterExportRequest | None) -> None:
            if request is not None and request.folder is not None:
                options = request.folder, request.licence, request.base, request.replace
                self.begin_work(f"exporting {adapter}", partial(export_and_report, adapter, *options))

        self.app.push_screen(FormDialog(AdapterExportForm(adapter, self._named_database)), export)

    def action_quantize(self) -> None:
        """Ask for the number of bits, after finding the possible ones."""
        model = self._selected
        assert model is not None
        self.ask(bit_options, partial(BitOptionsFound, model), group="bits")

    def on_bit_options_found(self, message: BitOptionsFound) -> None:
        """Show the form for a quantization."""
        source = message.model.name

        def quantize(request: QuantizeRequest | None) -> None:
            if request is not None:
                self._quantize(source, request.kind, request.name)

        self.app.push_screen(FormDialog(QuantizeForm(source, message.bits, self._named_database)), quantize)

    def _quantize(self, source: str, kind: str, name: str | None) -> None:
        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.manage_models import models_folder, quantize_model

            return quantize_model(db, source, kind, name, models_folder(self.database))

        target = f"{source} as {kind}"
        self.begin_work(
            f"writing {target}",
            work,
            failed=f"{target} cannot be written: ",
            stopped=f"{target} is not written; nothing is left behind",
        )

    def action_remove(self) -> None:
        """Ask whether to delete a model, after finding out what uses it."""
        model = self._selected
        assert model is not None
        self.ask(partial(uses_of_removable, model.name), partial(UsesFound, model), group="uses")

    def on_uses_found(self, message: UsesFound) -> None:
        """Ask whether to delete the model, and say what is lost."""
        if not self.is_current:
            return
        model = message.model
        own = own_files(model)
        if own is not None and own != model.path:
            lost = f"The files are deleted, since kdtui made or copied them: {own}"
        elif own is not None:
            lost = f"The file is deleted, since kdtui made or fetched it: {own}"
        else:
            lost = f"Only its name is deleted; the file stays: {model.path}"
        if words := message.uses.in_words:
            lost = f"It is {', and '.join(words)}. {lost}"

        def answer(yes: bool | None) -> None:
            if yes:
                self.write(partial(delete_and_report, model.name))

        command = command_line(("model", "rm"), model.name, database=self._named_database)
        self.app.push_screen(ConfirmDialog(f"Delete model {model.name}?", lost, "Delete it", command), answer)

    def on_models_changed(self, message: ModelsChanged) -> None:
        """Report the change, and list the models again."""
        self.say(message.sentence, error=False)
        self.list_again(message.name)

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if nothing else is shown."""
        if not self._models:
            self._show_instead(f"{one_line(message.sentence)}\n\n{self.kdtui.key_of('screen.reload')} looks again.")

    def _training_of(self, model: ModelRow) -> str | None:
        """Return the training of an adapter, as soon as its details are known."""
        details = self._details.get(model)
        return None if details is None else details.training

    def why_not(self, action: str) -> str | None:
        model = self._selected
        if action in ("use", "calibrate", "quantize", "merge", "export", "remove", "details", "copy_path"):
            if model is None:
                return "there is no model"
            if action != "remove" and action != "details" and (read := self._read.get(model)) and read.problem:
                return f"the file cannot be used: {read.problem}"
        if action in ("use", "calibrate", "quantize") and model is not None and model.kind == "encoder":
            return f"{model.name} makes vectors, and answers nothing"
        match action:
            case "details" if model not in self._details:
                return "its file is being read"
            case "calibrate" if model is not None and (reason := why_uncalibrated(model.name)) is not None:
                return reason
            case "quantize" if model is not None and model.kind == "adapter":
                return "an adapter stays as it is; quantize its base"
            case "merge" | "export" if model is not None and model.kind != "adapter":
                return f"{model.name} is not an adapter"
            case "quantize" | "merge" | "export" | "add" if self.model_work is not None:
                return f"kdtui is {self.model_work.activity.name}; one at a time"
            case "remove" if model is not None and (training := self._training_of(model)) is not None:
                return f"it is the adapter of a training; delete both with: kdtui sft rm {training}"
            case "remove" if model is not None and model.is_shipped:
                return f"{model.name} comes with kdtui"
            case "stop" if self.model_work is None:
                return "nothing is running"
        return super().why_not(action)
