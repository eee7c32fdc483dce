"""The form that calibrates a student on a dataset, and the base class of screens that open it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from textual.message import Message

from kdtui.errors import KdtuiError
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.forms import Field, FollowUp, whole_number
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.core.task import Task
from kdtui.tui.core.task_form import TaskDialog, TaskForm
from kdtui.tui.student.calibration import CalibrationTask
from kdtui.tui.student.student_fields import StudentFields, intent_writer_in
from kdtui.workflows.model_names import why_uncalibrated
from kdtui.workflows.student.command_options import options_of
from kdtui.workflows.student.limits import why_no_strategy
from kdtui.workflows.student.options import StudentOptions, combined
from models.student_protocol import STRATEGIES
from store.records import RunSettings

if TYPE_CHECKING:
    from store.sqlite import Database

Result = TypeVar("Result")

_STUDENT = ("student", "other", "adapter")
"""The fields that name the student."""


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """What the form offers.

    Attributes:
        settings: the initial student.
        datasets: what each dataset offers; there is at least one.
        named_database: the store, if commands have to name it.
    """

    settings: RunSettings
    datasets: Mapping[str, StudentOptions]
    named_database: Path | None


class CalibrationOptionsLoaded(Message):
    """The store has told what the form can offer."""

    def __init__(self, options: CalibrationOptions) -> None:
        super().__init__()
        self.options = options


@dataclass(frozen=True, slots=True)
class CalibrationRequest:
    """A calibration that the user has asked for.

    Attributes:
        limit: sessions to judge, drawn at random; None for all.
        seed: the random seed of the sample.
    """

    dataset: str
    settings: RunSettings
    strategies: tuple[str, ...]
    limit: int | None
    seed: int


class CalibrationForm(TaskForm[CalibrationRequest]):
    """Asks which student to calibrate on which dataset, and with which strategies.

    Args:
        dataset: the initial dataset.
    """

    title, verb = "Calibrate a student", "Calibrate"

    def __init__(self, app: Services, options: CalibrationOptions, dataset: str) -> None:
        self._app, self._options, self._dataset = app, options, dataset
        self._all_options = combined(options.datasets.values())
        self._student = StudentFields(StudentChoice(options.settings), self._all_options)

    @property
    def fields(self) -> Sequence[Field]:
        """The dataset, the student without a strategy, the strategies to try, and the sessions."""
        names = [(name, name) for name in self._options.datasets]
        return [
            Field("dataset", "Dataset", "choice", self._dataset, options=names),
            *(each for each in self._student.fields if each.name != "strategy"),
            *(Field(f"try-{name}", f"Try {name}", "switch", "yes") for name in STRATEGIES),
            Field("limit", "Sessions", help="of the validation split, drawn at random; all by default"),
            Field("seed", "Seed", help="of the random draw; 0 by default"),
        ]

    def parse(self, values: Mapping[str, str]) -> CalibrationRequest:
        """Return the calibration that the values describe.

        Raises:
            KdtuiError: this student cannot be calibrated so.
        """
        dataset = values["dataset"]
        settings = self._student.parse(_with_strategy(values), dataset, self._options.datasets[dataset]).settings
        if (why := why_uncalibrated(settings.student)) is not None:
            raise KdtuiError(why)
        if (why := why_no_strategy(settings.student, intent_writer_in(self._all_options, values))) is not None:
            raise KdtuiError(f"{why}; there is no strategy to choose")
        strategies = tuple(name for name in STRATEGIES if values[f"try-{name}"])
        if not strategies:
            raise KdtuiError("choose a strategy to try")
        limit, seed = whole_number(values["limit"], "sessions", 1), whole_number(values["seed"], "seed", 0)
        if limit is None and seed is not None:
            raise KdtuiError("the seed draws sessions; say how many")
        return CalibrationRequest(dataset, settings, strategies, limit, seed or 0)

    def command(self, parsed: CalibrationRequest) -> str:
        """Return the command that runs the same calibration."""
        options = {
            "--dataset": parsed.dataset,
            **options_of(parsed.settings),
            "--strategy": [] if parsed.strategies == tuple(STRATEGIES) else parsed.strategies,
            "--limit": None if parsed.limit is None else str(parsed.limit),
            "--seed": str(parsed.seed) if parsed.seed else None,
        }
        return command_line(("calibrate",), options=options, database=self._options.named_database)

    def follow(self, before: Mapping[str, str], after: Mapping[str, str]) -> FollowUp | None:
        """See `StudentFields.follow`."""
        return self._student.follow(_with_strategy(before), _with_strategy(after))

    def unused(self, values: Mapping[str, str]) -> Mapping[str, str]:
        """See `StudentFields.unused`."""
        return self._student.unused(_with_strategy(values))

    def start(self, parsed: CalibrationRequest) -> CalibrationTask:
        return CalibrationTask(
            self._app.database,
            parsed.dataset,
            parsed.settings,
            parsed.strategies,
            parsed.limit,
            parsed.seed,
            self._app.post_message,
        )

    def show_outcome(self, task: Task) -> None:
        """Show the table of strategies."""
        assert isinstance(task, CalibrationTask)
        self._app.push_screen(TextDialog(task.outcome, task.as_table(), copies=task.details))


def calibration_dialog(app: Services, options: CalibrationOptions, dataset: str) -> TaskDialog[CalibrationRequest]:
    """Return the dialog for a calibration. It shows a running calibration, or one that failed for the same student."""
    form = CalibrationForm(app, options, dataset)
    task = app.tasks.get(CalibrationTask.kind)
    initial = {field.name: field.value for field in form.fields}
    if task is not None and task.is_over and any(task.values[name] != initial[name] for name in _STUDENT):
        task = None
    return TaskDialog(form, task=task)


def _with_strategy(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values with an empty strategy, which the form does not ask for: the calibration chooses it."""
    return {**values, "strategy": ""}


class CalibratingScreen(StoreScreen[Result]):
    """A screen that shows a student and can calibrate it."""

    def offer_calibration(self, settings: "Callable[[Database], RunSettings]") -> None:
        """Load what the form offers, then open it.

        Args:
            settings: returns the settings of the student from the store.
        """

        def question(db: "Database") -> CalibrationOptions:
            from kdtui.workflows.student.options import student_options
            from store.datasets import dataset_names

            names = dataset_names(db)
            if not names:
                raise KdtuiError(self.no_dataset)
            # Adapters are the same for all datasets.
            options = {name: student_options(db, name, as_trained=name == names[0]) for name in names}
            return CalibrationOptions(settings(db), options, named_database(self.database))

        self.ask(question, CalibrationOptionsLoaded, group="calibration")

    def on_calibration_options_loaded(self, message: CalibrationOptionsLoaded) -> None:
        """Open the form, or show the progress of a running calibration."""
        if self.is_current:
            [dataset, *_] = self.datasets_to_begin_with(list(message.options.datasets))
            self.app.push_screen(calibration_dialog(self.kdtui, message.options, dataset))
