"""The form that calibrates a student on a dataset, and screens that open it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from textual.message import Message

from kdtui.errors import KdtuiError
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import Field, TextDialog
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.core.task import Task
from kdtui.tui.core.task_form import TaskForm
from kdtui.tui.student.calibration import CalibrationTask
from kdtui.tui.student.settings_form import chosen, followed, intent_writer_in, refused, settings_fields, whole_number
from kdtui.workflows.model_names import why_uncalibrated
from kdtui.workflows.student.command_options import options_of
from kdtui.workflows.student.limits import why_no_strategy
from kdtui.workflows.student.options import StudentOptions, combined
from models.student_protocol import STRATEGIES
from store.records import RunSettings

if TYPE_CHECKING:
    from store.sqlite import Database

Result = TypeVar("Result")

_WHOM = ("student", "other", "adapter")
"""Fields that say which student it is."""


@dataclass(frozen=True, slots=True)
class CalibrationOffer:
    """What a calibration can be about.

    Attributes:
        settings: of the student that it is to be about.
        there: what each dataset offers; there is at least one.
        named_database: how a command names the store.
    """

    settings: RunSettings
    there: Mapping[str, StudentOptions]
    named_database: Path | None


class CalibrationOffered(Message):
    """It is known what a calibration can be about."""

    def __init__(self, found: CalibrationOffer) -> None:
        super().__init__()
        self.found = found


class CalibrationForm(TaskForm):
    """Asks which student to calibrate on which dataset, and by which strategies; shows how far it is, then the result.

    Args:
        dataset: the one that the form begins with.
    """

    def __init__(self, app: Services, found: CalibrationOffer, dataset: str) -> None:
        self._found, self._choice = found, StudentChoice(found.settings)
        self._offered = combined(found.there.values())
        fields = [
            Field("dataset", "Dataset", "choice", dataset, options=[(name, name) for name in found.there]),
            *(each for each in settings_fields(found.settings, self._offered) if each.name != "strategy"),
            *(Field(f"try-{name}", f"Try {name}", "switch", "yes") for name in STRATEGIES),
            Field("limit", "Sessions", help="so many of the validation split, drawn by chance; usually all"),
            Field("seed", "Seed", help="by which they are drawn; usually 0"),
        ]

        def begin(values: Mapping[str, str]) -> CalibrationTask:
            return CalibrationTask(app.database, *self._wanted(values), values, app.post_message)

        def show(task: Task) -> None:
            assert isinstance(task, CalibrationTask)
            app.push_screen(TextDialog(task.outcome, task.as_table(), copies=task.details))

        task = app.tasks.get(CalibrationTask.kind)
        begins_with = {field.name: field.value for field in fields}
        if task is not None and task.is_over and any(task.values[name] != begins_with[name] for name in _WHOM):
            # It was about another student.
            task = None
        super().__init__(
            "Calibrate a student",
            fields,
            verb="Calibrate",
            begin=begin,
            then=show,
            check=self._problem,
            command=self._command,
            follow=self._follow_student,
            refuse=lambda values: refused(self._offered, _whole(values)),
            task=task,
        )

    def _wanted(self, values: Mapping[str, str]) -> tuple[str, RunSettings, tuple[str, ...], int | None, int]:
        """The dataset, the student, the strategies, the number of sessions and the seed that draws them.

        Raises:
            KdtuiError: it cannot be done.
        """
        dataset = values["dataset"]
        settings = chosen(_whole(values), self._choice, self._found.there[dataset], dataset).settings
        if (why := why_uncalibrated(settings.student)) is not None:
            raise KdtuiError(why)
        if (why := why_no_strategy(settings.student, intent_writer_in(self._offered, values))) is not None:
            raise KdtuiError(f"{why}; there is no strategy to choose")
        strategies = tuple(name for name in STRATEGIES if values[f"try-{name}"])
        if not strategies:
            raise KdtuiError("choose a strategy to try")
        limit, seed = whole_number(values["limit"], "sessions", 1), whole_number(values["seed"], "seed", 0)
        if limit is None and seed is not None:
            raise KdtuiError("the seed draws sessions; say how many")
        return dataset, settings, strategies, limit, seed or 0

    def _problem(self, values: Mapping[str, str]) -> str | None:
        try:
            self._wanted(values)
        except KdtuiError as error:
            return str(error)
        return None

    def _command(self, values: Mapping[str, str]) -> str:
        with suppress(KdtuiError):
            dataset, settings, strategies, limit, seed = self._wanted(values)
            options = {
                "--dataset": dataset,
                **options_of(settings),
                "--strategy": [] if strategies == tuple(STRATEGIES) else strategies,
                "--limit": None if limit is None else str(limit),
                "--seed": str(seed) if seed else None,
            }
            return command_line(("calibrate",), options=options, database=self._found.named_database)
        return ""

    def _follow_student(
        self, before: Mapping[str, str], values: Mapping[str, str]
    ) -> tuple[Mapping[str, str], str] | None:
        """What changes with the student: what it is shown."""
        return followed(self._offered, _whole(before), _whole(values))


def _whole(values: Mapping[str, str]) -> dict[str, str]:
    """The values of a form that asks for all settings: a calibration is what chooses the strategy."""
    return {**values, "strategy": ""}


class CalibratingScreen(StoreScreen[Result]):
    """A screen with a student on it that can be calibrated."""

    def offer_calibration(self, settings: "Callable[[Database], RunSettings]") -> None:
        """Look for what there is to calibrate on; the form follows.

        Args:
            settings: given the store, those of the student.
        """

        def question(db: "Database") -> CalibrationOffer:
            from kdtui.workflows.student.options import student_options
            from store.datasets import dataset_names

            names = dataset_names(db)
            if not names:
                raise KdtuiError(self.no_dataset)
            # Adapters are the same for all of them.
            there = {name: student_options(db, name, as_trained=name == names[0]) for name in names}
            return CalibrationOffer(settings(db), there, named_database(self.database))

        self.ask(question, CalibrationOffered, group="calibration")

    def on_calibration_offered(self, message: CalibrationOffered) -> None:
        """Ask what to calibrate, or show how far a calibration is."""
        if self.is_current:
            [dataset, *_] = self.datasets_to_begin_with(list(message.found.there))
            self.app.push_screen(CalibrationForm(self.kdtui, message.found, dataset))
