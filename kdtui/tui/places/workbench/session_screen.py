"""The session screen: a session, its true bundles, and those of a student or of two students side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from textual.binding import BindingType
from textual.message import Message

from kdtui.tui.actions import bindings
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.services import Services
from kdtui.tui.places.workbench.session_answers import AnsweringSessionView
from kdtui.tui.places.workbench.session_list import SessionList
from kdtui.tui.student.answer import SIDE_NAMES, StudentAnswer
from kdtui.tui.student.settings_form import SettingsForm
from kdtui.workflows.model_names import PATTERNS, why_uncalibrated
from kdtui.workflows.student.options import StudentOptions
from models.embedded import SHIPPED

if TYPE_CHECKING:
    from store.sqlite import Database

_MEMORY = "session"
"""The name of what the screen remembers."""

Purpose = Literal["know", "settings", "compare"]
"""Why the options of a student are loaded: to know them, to choose settings, or to choose settings to compare with."""


class OptionsLoaded(Message):
    """The options of a student are loaded."""

    def __init__(self, options: StudentOptions, purpose: Purpose) -> None:
        super().__init__()
        self.options, self.purpose = options, purpose


class SessionScreen(AnsweringSessionView):
    """A session of a list, the choice of its students, and the comparison of two. Its result is the last index.

    Args:
        sessions: the list.
        index: the index of the first session to show.
        own_choice: see `SessionView`.
        compare_with: settings to compare with as soon as the session is loaded.
        place: the place that the screen belongs to.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("session", "screen")

    def __init__(
        self,
        database: Path,
        sessions: SessionList,
        index: int,
        *,
        own_choice: StudentChoice | None = None,
        compare_with: StudentChoice | None = None,
        place: str = "workbench",
    ) -> None:
        super().__init__(database, sessions, index, own_choice=own_choice, place=place)
        self._to_compare = compare_with
        self._has_options = False

    def on_screen_resume(self) -> None:
        """Use the student of the workbench: another place can have changed it."""
        if self._own_choice is None and self._sides and self._sides[0].choice != self._usual_choice:
            self._change(self._sides[0], self._usual_choice)

    def _begin(self) -> None:
        self._has_options = False
        super()._begin()

    def action_reload(self) -> None:
        """Load the session and the options again."""
        self.drop_requests()
        self._has_options = False
        self._load()

    def session_shown(self) -> None:
        """Load the options, and compare if that was asked for."""
        if not self._has_options:
            self._has_options = True
            # After the session is painted: threads hold each other up.
            self.call_after_refresh(self._load_options, "know")
        if self._to_compare is not None:
            other, self._to_compare = self._to_compare, None
            self._compare_with(other)

    # Choosing a student

    @property
    def _usual_choice(self) -> StudentChoice:
        """The student of the workbench: what the user chose, or else the default of the dataset."""
        default = self._options.default
        return self.kdtui.choice if self.kdtui.has_chosen or default is None else StudentChoice.of(default)

    def _load_options(self, purpose: Purpose) -> None:
        dataset = self._sessions.dataset

        def question(db: "Database") -> StudentOptions:
            from kdtui.workflows.student.options import student_options

            return student_options(db, dataset, as_trained=purpose != "know")

        self.ask(question, lambda options: OptionsLoaded(options, purpose), group="student_options")

    def on_options_loaded(self, message: OptionsLoaded) -> None:
        """Use the default of the dataset, and open the form that waits for the options."""
        self._options = message.options
        if self._own_choice is None and self._sides:
            side = self._sides[0]
            if side.asked is None and side.choice != self._usual_choice:
                side.choice = self._usual_choice
        self._show_choice()
        self.refresh_bindings()
        if message.purpose != "know" and self._session is not None and self.is_current:
            self._open_form(message.options, message.purpose)

    def _open_form(self, options: StudentOptions, purpose: Literal["settings", "compare"]) -> None:
        compares = purpose == "compare"
        before = self._other_choice if compares else self._side.choice

        def use(choice: StudentChoice | None) -> None:
            if choice is None:
                return
            if compares:
                self._compare_with(choice)
            else:
                self._choose_active(choice)

        settings = f"The {SIDE_NAMES[self._active]} settings" if self._is_comparing else "The student and its settings"
        title, verb = ("Compare with", "Compare") if compares else (settings, "Use it")
        form = SettingsForm(title, before, options, self._sessions.dataset, self._command, verb)
        self.app.push_screen(FormDialog(form), use)

    def action_settings(self) -> None:
        """Choose the student and its settings."""
        self._load_options("settings")

    def action_calibrate(self) -> None:
        """Open the form that calibrates the student."""
        settings = self._side.choice.settings
        self.offer_calibration(lambda _: settings)

    def action_toggle_patterns(self) -> None:
        """Show the student the mined patterns, or hide them."""
        self._choose_active(self._side.choice.with_format("pattern"))

    def action_next_student(self) -> None:
        """Choose the next student: built-in students, named bases, then students with an adapter."""
        settings = self._side.choice.settings
        current = (settings.student, settings.adapters)
        students = [(student, ()) for student in self._options.students]
        adapted = [(student, ((name, 1.0),)) for name, student in self._options.adapters]
        cycle = list(dict.fromkeys([*students, *adapted]))
        if current not in cycle:
            cycle.insert(0, current)
        self._choose_active(self._side.choice.with_student(*cycle[(cycle.index(current) + 1) % len(cycle)]))

    def _choose_active(self, choice: StudentChoice) -> None:
        """Use a student on the active side from now on."""
        if self._active:
            self._remember_other(choice)
        elif self._own_choice is None:
            self.kdtui.use_choice(choice)
        self._change(self._side, choice)

    def _change(self, side: StudentAnswer, choice: StudentChoice) -> None:
        side.choice = choice
        # In a comparison, the old answer would stand under the name of the new student.
        if self._is_comparing and side.asked not in (None, choice):
            if side.request is not None:
                side.request.cancel()
            side.clear()
            self._show_all_rows()
        self._show_choice()
        self._show_answers()

    # Comparing two students

    def action_compare(self) -> None:
        """Choose settings to compare with."""
        self._load_options("compare")

    @property
    def _other_choice(self) -> StudentChoice:
        """The settings that were compared with last, or else another student than the first one."""
        if self._is_comparing:
            return self._sides[1].choice
        choice = self._sides[0].choice
        remembered = StudentChoice.from_memory(self.remembered(_MEMORY).get("other"))
        if remembered is not None and remembered != choice:
            return remembered
        return choice.with_student(SHIPPED if choice.settings.student == PATTERNS else PATTERNS)

    def _remember_other(self, choice: StudentChoice) -> None:
        if self._own_choice is None:
            self.remembered(_MEMORY)["other"] = choice.to_memory()

    def _compare_with(self, choice: StudentChoice) -> None:
        """Put a second answer next to the first, and ask the sides without a current answer."""
        self._remember_other(choice)
        if self._is_comparing:
            self._sides[1].choice = choice
        else:
            self._sides.append(StudentAnswer(choice))
            self._show_columns()
        stale = [side for side in self._sides if not side.is_done or side.asked != side.choice]
        self._show_choice()
        self._generate(stale)

    def action_single(self) -> None:
        """Remove the second answer."""
        self._sides = self._sides[:1]
        self._active = 0
        self._show_columns()
        self._show_choice()
        self._show_answers()

    def action_other_side(self) -> None:
        """Make the keys act on the other side."""
        self._active = 1 - self._active
        self._show_choice()
        self._show_answers()

    # Other sessions

    def action_next(self) -> None:
        """Open the next session of the list."""
        self._step(1)

    def action_previous(self) -> None:
        """Open the previous session of the list."""
        self._step(-1)

    def _step(self, by: int) -> None:
        self.drop_requests()
        self._index += by
        self._load()

    def action_back(self) -> None:
        """Go back to the list."""
        self.drop_requests()
        self.dismiss(self._index)

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now."""
        settings = self._side.choice.settings if self._sides else None
        if action in ("generate", "why", "settings", "compare") and self._session is None:
            return "the session is not loaded"
        match action:
            case "generate" if all(side.request is not None for side in self._sides):
                return "the student is already running"
            case "calibrate" if self._sessions.dataset is None:
                return "there is no dataset to calibrate on"
            case "calibrate" if settings is not None and (why := why_uncalibrated(settings.student)) is not None:
                return why
            case "compare" if self._is_comparing and self._is_generating:
                return "the students are running"
            case "reload" if self._is_stoppable:
                return f"the student is running; {self.kdtui.key_of('session.cancel')} stops it"
            case "why" if self._explaining is not None:
                return "the prompt is already being looked up"
            case "toggle_patterns" if settings is not None and settings.student == PATTERNS:
                return "the pattern student learns from the training sessions and is shown no knowledge"
            case "toggle_patterns" if settings is not None and settings.student == SHIPPED:
                return "the shipped student is shown no knowledge"
            case "toggle_patterns" if "pattern" not in self._options.formats:
                return "the dataset has no patterns yet"
            case "next" if self._index + 1 >= len(self._sessions.numbers):
                return "this is the last session of the list"
            case "previous" if not self._index:
                return "this is the first session of the list"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of the actions on `escape`, offer the one that applies now."""
        match action:
            case "cancel":
                return self._is_stoppable
            case "single":
                return self._is_comparing and not self._is_stoppable
            case "back":
                return not self._is_comparing and not self._is_stoppable
            case "other_side":
                return self._is_comparing
        return super().check_action(action, parameters)


def open_session_over(
    app: Services, sessions: SessionList, index: int, choice: StudentChoice, other: StudentChoice | None = None
) -> None:
    """Open a session over the current screen with its own settings; those of the workbench do not change.

    Args:
        choice: the student.
        other: settings to compare with at once.
    """
    screen = SessionScreen(app.database, sessions, index, own_choice=choice, compare_with=other, place=app.current_mode)
    app.push_screen(screen)
