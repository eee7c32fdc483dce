"""One session: its products, its true bundles, and those that a student generates, or two students side by side."""

from array import array
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.theme import Theme
from textual.timer import Timer
from textual.widgets import Static

from kdtui.bundling.metrics import Bundles
from kdtui.bundling.truth import minimal_bundles
from kdtui.text import counted, one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.generation import (
    AnswerEnded,
    BundleWritten,
    Explained,
    GenerationRequest,
    GenerationStopped,
    NoteTaken,
    StudentLearns,
    StudentReady,
)
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.services import Services
from kdtui.tui.places.workbench.typed_sessions import TypedSessions, generate_command
from kdtui.tui.student.answer import NAMES, StudentAnswer, compared, true_lines, written_lines
from kdtui.tui.student.bundle_panel import BundlePanel
from kdtui.tui.student.calibration_form import CalibratingScreen
from kdtui.tui.student.settings_form import SettingsForm
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.letters import badges
from kdtui.tui.widgets.row_table import Column, Row, RowTable
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.model_names import PATTERNS, why_uncalibrated
from kdtui.workflows.student.options import StudentOptions
from models.embedded import SHIPPED
from store.records import Bundle, Item, Session

if TYPE_CHECKING:
    from store.sqlite import Database

_REDRAW = 0.05
"""Seconds between two looks at what is being written."""

_HELD = 0.1
"""Seconds at most in which nothing is painted while a session is on its way."""

_PLACE = "session"


@dataclass(frozen=True, slots=True)
class SessionList:
    """Sessions to go through one after the other.

    Attributes:
        dataset: whose knowledge is used; None where there is no dataset.
        numbers: rows of the store, or below zero those that were typed.
        typed: what those are.
        named_database: how a command has to name the store.
    """

    dataset: str | None
    numbers: Sequence[int]
    typed: TypedSessions
    named_database: Path | None

    @classmethod
    def around(
        cls, db: "Database", dataset: str, session: str, named_database: Path | None
    ) -> "tuple[SessionList, int]":
        """All sessions of a dataset, and the place of one of them; for threads.

        Raises:
            NotFound: there is no such dataset, or no such session in it.
        """
        from store.datasets import session_hits, session_place

        _, before = session_place(db, dataset, session)
        numbers = array("q")
        for hits in session_hits(db, dataset):
            numbers.extend(hits.ids)
        return cls(dataset, numbers, TypedSessions(), named_database), before


class SessionLoaded(Message):
    """A session has come from the store, by its number."""

    def __init__(self, number: int, session: Session) -> None:
        super().__init__()
        self.number, self.session = number, session


class OfferedFound(Message):
    """What there is to choose from; `purpose` is what it was asked for."""

    def __init__(self, student_options: StudentOptions, purpose: Literal["", "settings", "compare"]) -> None:
        super().__init__()
        self.offered, self.purpose = student_options, purpose


def _columns(sides: int) -> tuple[Column, ...]:
    generated = [Column("Gen.", 5)] if sides == 1 else [Column(name, 5) for name in NAMES]
    return (
        Column("#", 3, right=True),
        Column("True", 5),
        *generated,
        Column("Product", 20, share=3),
        Column("Category", 14, share=2),
    )


class SessionScreen(CalibratingScreen[int]):
    """A session of a list. The result is the place in it of the one that was shown last.

    It is made once and kept when it is left: to make its parts takes longer than to show another session in them.

    Args:
        sessions: what there is to go through.
        at: the place of the one that is shown first.
        own: settings in place of those of the workbench, which then stay as they are, whatever is chosen here.
        other: settings to compare with as soon as it is there.
        place: where the session is opened.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("session", "screen")
    AUTO_FOCUS = "#items"

    def __init__(
        self,
        database: Path,
        sessions: SessionList,
        at: int,
        *,
        own: StudentChoice | None = None,
        other: StudentChoice | None = None,
        place: str = "workbench",
    ) -> None:
        super().__init__(database)
        self._sessions, self._at, self._own, self._to_compare, self._place = sessions, at, own, other, place
        self._session: Session | None = None
        self._bundles: tuple[Bundle, ...] = ()
        self._truth: Bundles = ()
        self._sides: list[StudentAnswer] = []
        # The one that the keys are about, where there are two.
        self._active = 0
        self._explaining: GenerationRequest | None = None
        self._offered = StudentOptions()
        self._has_looked = False
        self._redraw: Timer | None = None
        self._held = ExitStack()

    def compose(self) -> ComposeResult:
        """The products, and the bundles of two or three kinds."""
        yield TopBar(self._place)
        yield Static("Looking for the session…", id="title", markup=False)
        yield Static(id="asks", markup=False)
        with Container(id="body"):
            yield RowTable(_columns(1), id="items")
            with Container(id="bundles"):
                yield BundlePanel(id="truth")
                yield BundlePanel(id="generated", lower=True)
                yield BundlePanel(id="other", lower=True)
        yield Static(id="scores", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Load the session."""
        self.app.theme_changed_signal.subscribe(self, self._show_in_theme)
        self._begin()

    def on_unmount(self) -> None:
        """Nobody waits any more for what is being written."""
        self.drop_requests()

    def on_screen_resume(self) -> None:
        """Another place may have chosen another student meanwhile."""
        if self._own is None and self._sides and self._sides[0].choice != self._usual:
            self._sides[0].choice = self._usual
            self._show_choice()

    @property
    def _usual(self) -> StudentChoice:
        """Whom the workbench asks: until somebody chooses, the default of the dataset."""
        default = self._offered.default
        return self.kdtui.choice if self.kdtui.has_chosen or default is None else StudentChoice.of(default)

    # The session

    def show_list(self, sessions: SessionList, at: int) -> None:
        """Show another session, as if the screen had been made for it."""
        self._sessions, self._at = sessions, at
        # Otherwise it is on its way to that.
        if self.is_mounted:
            self._begin()

    def _begin(self) -> None:
        self.drop_requests()
        self._hold_paint()
        self._sides, self._active = [StudentAnswer(self._own or self.kdtui.choice)], 0
        self._offered, self._has_looked = StudentOptions(), False
        self.query_one(RowTable).show_columns(_columns(1))
        self.set_focus(self.query_one(RowTable))
        self._load()

    def _hold_paint(self) -> None:
        """Paint nothing until the session is there: otherwise all is painted twice, and what was there before first."""
        self._held.enter_context(self.app.batch_update())
        self.set_timer(_HELD, self._held.close)

    @property
    def _number(self) -> int:
        """Of the session that is to be shown."""
        return self._sessions.numbers[self._at]

    def _load(self) -> None:
        number = self._number
        self._session, self._bundles, self._truth = None, (), ()
        for side in self._sides:
            side.clear()
        if number < 0:
            self.post_message(SessionLoaded(number, self._sessions.typed.session(number)))
            return

        def question(db: "Database") -> Session:
            from store.datasets import numbered_session

            return numbered_session(db, number)

        self.ask(question, lambda session: SessionLoaded(number, session), group="session")

    def action_reload(self) -> None:
        """Load the session anew."""
        self.drop_requests()
        self._has_looked = False
        self._load()

    def on_session_loaded(self, message: SessionLoaded) -> None:
        """Show the session, unless another has been opened meanwhile."""
        # A screen that is being taken down has lost some of its widgets.
        if message.number != self._number or not self.display:
            return
        self._held.close()
        self._session = session = message.session
        self._bundles = minimal_bundles(session.bundles)
        self._truth = [frozenset(bundle.positions) for bundle in self._bundles]
        dataset, is_typed = self._sessions.dataset, self._number < 0
        about = [
            f"Session {session.id}",
            *([] if dataset is None else [f"knowledge of {dataset}" if is_typed else dataset]),
            "typed" if is_typed else session.split or "no split",
            counted(len(session.items), "product"),
            f"{self._at + 1:,} of {len(self._sessions.numbers):,}",
        ]
        self.query_one("#title", Static).update(Text(one_line(" · ".join(about), 300), style="bold"))
        self.query_one(RowTable).show_rows(self._rows(session))
        for panel in self.query(BundlePanel):
            panel.show_start()
        self._show_choice()
        self._show_answers()
        self.refresh_bindings()
        if not self._has_looked:
            self._has_looked = True
            # Not before the session is painted: threads hold each other up.
            self.call_after_refresh(self._look_for_offered, "")
        if self._to_compare is not None:
            other, self._to_compare = self._to_compare, None
            self._compare_with(other)

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is no session to see."""
        super().on_failed(message)
        self._held.close()
        if self._session is None:
            self.query_one("#title", Static).update(Text(one_line(message.sentence, 300), style="bold"))
            self.query_one(RowTable).show_rows([])
            self.show_command("")
            self._show_answers()

    def _rows(self, session: Session) -> list[Row]:
        return [self._row(position, item) for position, item in enumerate(session.items, start=1)]

    def _row(self, position: int, item: Item) -> Row:
        true = badges([number for number, each in enumerate(self._truth) if position in each])
        letters = [side.letters(position) for side in self._sides]
        title = item.title or f"(no title) {item.id}"
        return Row(str(position), (str(position), true, *letters, title, self._category(item)))

    def _category(self, item: Item) -> str:
        if not item.categories or not item.categories[0]:
            return "–"
        path = item.categories[0]
        return " > ".join(path) if self.has_class("-wide") else path[-1]

    def _show_rows(self, positions: Iterable[int]) -> None:
        """Draw the rows of some products anew."""
        if self._session is not None:
            table = self.query_one(RowTable)
            for position in positions:
                table.put_row(position - 1, self._row(position, self._session.items[position - 1]))

    def _show_all_rows(self) -> None:
        if self._session is not None:
            self._show_rows(range(1, len(self._session.items) + 1))

    def on_resize(self) -> None:
        """Show more of the categories where there is room."""
        self.call_after_refresh(self._show_all_rows)

    def _show_in_theme(self, _: Theme) -> None:
        self._show_answers()

    # What is shown of students and their answers

    @property
    def _side(self) -> StudentAnswer:
        """The one that the keys are about."""
        return self._sides[self._active]

    @property
    def _is_comparing(self) -> bool:
        return len(self._sides) > 1

    def _show_choice(self) -> None:
        """Show whom the keys would ask, and the command for that."""
        lines = []
        for number, side in enumerate(self._sides):
            mark = ("▸" if number == self._active else " ") + NAMES[number] if self._is_comparing else "asks"
            line = Text(f"{mark} ", style="bold" if self._is_comparing else "dim")
            lines.append(line.append(one_line(side.choice.in_words, 300), style="not dim not bold"))
        self.query_one("#asks", Static).update(Text("\n").join(lines))
        if self._session is not None:
            self.show_command(self._command(self._side.choice))
        # What cannot be done with this student is dim.
        self.refresh_bindings()

    def _command(self, choice: StudentChoice, *, show_prompt: bool = False) -> str:
        assert self._session is not None
        session = self._session if self._number < 0 else self._session.id
        return generate_command(
            session,
            self._sessions.dataset,
            choice,
            self._sessions.named_database,
            show_prompt=show_prompt,
            has_default=self._offered.default is not None,
        )

    def _show_answers(self) -> None:
        """Show the true bundles and those of each side, each against the other."""
        self.set_class(self._is_comparing, "-comparing")
        self._show_truth()
        for number in range(len(self._sides)):
            self._show_side(number)
        self._show_scores()

    def _show_truth(self) -> None:
        panel = self.query_one("#truth", BundlePanel)
        dropped = len(self._session.bundles) - len(self._truth) if self._session is not None else 0
        panel.show_heading("True bundles", f"{dropped} not minimal left out" if dropped else "")
        lines = true_lines(self, self._bundles, self._truth, self._sides)
        panel.show_bundles(lines, "none are known" if self._session is not None else "")

    def _show_side(self, number: int) -> None:
        side = self._sides[number]
        panel = self.query_one(("#generated", "#other")[number], BundlePanel)
        name = NAMES[number] if self._is_comparing else "Generated"
        if self._explaining is not None and number == self._active:
            panel.show_heading(name, "looking up what is asked…")
        elif side.asked is None:
            panel.show_heading(name, f"{self.kdtui.key_of('session.generate')} generates")
        else:
            by = f" · by {side.asked.name}" if side.asked != side.choice else ""
            panel.show_heading(name, f"{side.state}{by}")
        lines = written_lines(self, side, self._truth)
        panel.show_bundles(lines, "the student found none" if side.is_done else "")

    def _show_scores(self) -> None:
        self.query_one("#scores", Static).update(Text(compared(self._sides, self._truth)))

    # Asking

    def action_generate(self) -> None:
        """Ask the student, or both one after the other."""
        self._generate(self._sides)

    def _generate(self, sides: Iterable[StudentAnswer]) -> None:
        session = self._session
        if session is None:
            return
        for side in sides:
            if side.request is None:
                side.begin(GenerationRequest(self._sessions.dataset, session, side.choice, self.post_message))
                assert side.request is not None
                self.kdtui.generation.ask(side.request)
                side.state = "loading the student…"
        self._show_all_rows()
        self._show_answers()
        self.refresh_bindings()

    def _side_of(self, request: GenerationRequest) -> StudentAnswer | None:
        """The side that waits for a request."""
        return next((side for side in self._sides if side.request is request), None)

    def on_student_ready(self, message: StudentReady) -> None:
        """Say that the student reads."""
        side = self._side_of(message.request)
        if side is not None and not message.request.cancelled:
            self._set_state(side, "reading…")

    def on_bundle_written(self, message: BundleWritten) -> None:
        """Show a bundle as far as it is written."""
        side = self._side_of(message.request)
        if side is None or message.request.cancelled:
            return
        if side.write(message.bundle):
            self._show_rows(message.bundle.positions)
        if side.state != "writing…":
            self._set_state(side, "writing…")
        elif self._redraw is None:
            # A fast student writes more often than anyone can see.
            self._redraw = self.set_timer(_REDRAW, self._show_written)

    def _show_written(self) -> None:
        self._redraw = None
        for number, side in enumerate(self._sides):
            if side.request is not None:
                self._show_side(number)
                self.query_one(("#generated", "#other")[number], BundlePanel).show_end()

    def on_note_taken(self, message: NoteTaken) -> None:
        """Say what is to be known of the student."""
        self.say(message.text, error=False)

    def on_student_learns(self, message: StudentLearns) -> None:
        """Say how far it is."""
        side = self._side_of(message.request)
        if side is not None:
            self._set_state(side, message.learning.in_short)

    def on_answer_ended(self, message: AnswerEnded) -> None:
        """Say that the answer is whole, or why there is none."""
        side = self._side_of(message.request)
        if side is None:
            return
        problem = message.prediction.error
        side.request = None
        side.is_done = problem is None
        self._set_state(side, f"done in {message.prediction.seconds:.1f} s" if problem is None else "no answer")
        self._show_answers()
        if problem is not None:
            self.say(problem)

    def on_generation_stopped(self, message: GenerationStopped) -> None:
        """Say that, and why, there will be no answer."""
        if message.request is self._explaining:
            self._explaining = None
            self._show_answers()
        else:
            side = self._side_of(message.request)
            if side is None:
                return
            side.request = None
            self._set_state(side, "cancelled" if message.problem is None else "failed")
        if message.problem is not None:
            self.say(message.problem, details=message.details)
        self.refresh_bindings()

    def _set_state(self, side: StudentAnswer, state: str) -> None:
        side.state = state
        self._show_side(self._sides.index(side))
        self.refresh_bindings()

    def action_cancel(self) -> None:
        """Stop the students."""
        for side in self._sides:
            if side.request is not None:
                side.request.cancel()
                side.state = "cancelling…"
        if self._explaining is not None:
            self._explaining.cancel()
        self._show_answers()
        self.refresh_bindings()

    @property
    def _is_stoppable(self) -> bool:
        requests = [self._explaining, *(side.request for side in self._sides)]
        return any(request is not None and not request.cancelled for request in requests)

    def drop_requests(self) -> None:
        """Wait no more for what is on its way: it is not for what will be shown next."""
        for request in (self._explaining, *(side.request for side in self._sides)):
            if request is not None:
                request.cancel()
        self._explaining = None
        for side in self._sides:
            side.request = None

    def action_why(self) -> None:
        """Show what the student is asked, word for word."""
        if self._session is None:
            return
        self._explaining = GenerationRequest(
            self._sessions.dataset, self._session, self._side.choice, self.post_message, explains=True
        )
        self.kdtui.generation.ask(self._explaining)
        self._show_answers()
        self.refresh_bindings()

    def on_explained(self, message: Explained) -> None:
        """Show what the student is asked."""
        request = message.request
        if request is not self._explaining:
            return
        self._explaining = None
        self._show_answers()
        self.refresh_bindings()
        if not self.is_current:
            return
        command = self._command(request.choice, show_prompt=True)
        text = Text.assemble(("$ ", "dim"), f"{one_line(command, 1000)}\n")
        for heading, content in message.explanation.sections:
            text.append(f"\n{heading.upper()}\n", style="bold")
            text.append("\n".join(map(one_line, content.rstrip("\n").split("\n"))) + "\n")
        title = f"Why: what {request.choice.name} goes by for session {request.session.id}"
        copies = "\n\n".join(content for _, content in message.explanation.sections)
        self.app.push_screen(TextDialog(title, text, copies=copies))

    # Choosing

    def _look_for_offered(self, purpose: Literal["", "settings", "compare"]) -> None:
        dataset = self._sessions.dataset

        def question(db: "Database") -> StudentOptions:
            from kdtui.workflows.student.options import student_options

            return student_options(db, dataset, as_trained=bool(purpose))

        self.ask(question, lambda found: OfferedFound(found, purpose), group="student_options")

    def on_offered_found(self, message: OfferedFound) -> None:
        """Know what there is to choose from, and open the form that it was asked for."""
        self._offered = student_options = message.offered
        if self._own is None and self._sides and self._sides[0].asked is None and self._sides[0].choice != self._usual:
            self._sides[0].choice = self._usual
        self._show_choice()
        self.refresh_bindings()
        if not message.purpose or self._session is None or not self.is_current:
            return
        is_other = message.purpose == "compare"
        before = self._other_choice if is_other else self._side.choice

        def take(choice: StudentChoice | None) -> None:
            if choice is None:
                return
            if is_other:
                self._compare_with(choice)
            else:
                self._choose_active(choice)

        settings = f"The {NAMES[self._active]} settings" if self._is_comparing else "Whom to ask, and how"
        title = "Compare with" if is_other else settings
        form = SettingsForm(
            title, before, student_options, self._sessions.dataset, self._command, "Compare" if is_other else "Use it"
        )
        self.app.push_screen(FormDialog(form), take)

    def action_settings(self) -> None:
        """Choose the student, its adapter, its knowledge, and how it is asked."""
        self._look_for_offered("settings")

    def action_calibrate(self) -> None:
        """Ask by which strategies the student is to be tried."""
        settings = self._side.choice.settings
        self.offer_calibration(lambda _: settings)

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The dataset whose knowledge is used."""
        return () if self._sessions.dataset is None else (self._sessions.dataset,)

    def action_compare(self) -> None:
        """Choose other settings, and generate with both."""
        self._look_for_offered("compare")

    @property
    def _other_choice(self) -> StudentChoice:
        """What was compared with last; another student than that which is asked where there was nothing."""
        if self._is_comparing:
            return self._sides[1].choice
        choice = self._sides[0].choice
        remembered = StudentChoice.from_memory(self.remembered(_PLACE).get("other"))
        if remembered is not None and remembered != choice:
            return remembered
        return choice.with_student(SHIPPED if choice.settings.student == PATTERNS else PATTERNS)

    def _choose(self, choice: StudentChoice) -> None:
        """Ask this student from now on."""
        if self._own is None:
            self.kdtui.use_choice(choice)
        self._change(self._sides[0], choice)

    def _change(self, side: StudentAnswer, choice: StudentChoice) -> None:
        side.choice = choice
        # Beside another, an answer would stand under a name that is not its own.
        if self._is_comparing and side.asked not in (None, choice):
            if side.request is not None:
                side.request.cancel()
            side.clear()
            self._show_all_rows()
        self._show_choice()
        self._show_answers()

    def _choose_active(self, choice: StudentChoice) -> None:
        if not self._active:
            self._choose(choice)
            return
        self._remember_other(choice)
        self._change(self._side, choice)

    def _remember_other(self, choice: StudentChoice) -> None:
        if self._own is None:
            self.remembered(_PLACE)["other"] = choice.to_memory()

    def _compare_with(self, choice: StudentChoice) -> None:
        """Put a second answer beside the first."""
        self._remember_other(choice)
        if self._is_comparing:
            self._sides[1].choice = choice
        else:
            self._sides.append(StudentAnswer(choice))
            self._change_columns()
        stale = [side for side in self._sides if not side.is_done or side.asked != side.choice]
        self._show_choice()
        self._generate(stale)

    def action_single(self) -> None:
        """Take away the second answer."""
        self._sides = self._sides[:1]
        self._active = 0
        self._change_columns()
        self._show_choice()
        self._show_answers()

    def _change_columns(self) -> None:
        table = self.query_one(RowTable)
        row = table.cursor_row
        table.show_columns(_columns(len(self._sides)))
        if self._session is not None:
            table.show_rows(self._rows(self._session))
            table.move_to(row)

    def action_other_side(self) -> None:
        """Have the keys be about the other settings."""
        self._active = 1 - self._active
        self._show_choice()
        self._show_answers()

    def action_toggle_patterns(self) -> None:
        """Give the student the mined patterns, or take them away."""
        self._choose_active(self._side.choice.with_format("pattern"))

    def action_next_student(self) -> None:
        """Choose the next student: those that come with the program, those that have names, those with adapters."""
        settings = self._side.choice.settings
        here = (settings.student, settings.adapters)
        students = [(student, ()) for student in self._offered.students]
        adapted = [(student, ((name, 1.0),)) for name, student in self._offered.adapters]
        cycle = list(dict.fromkeys([*students, *adapted]))
        if here not in cycle:
            cycle.insert(0, here)
        self._choose_active(self._side.choice.with_student(*cycle[(cycle.index(here) + 1) % len(cycle)]))

    # Going on

    def action_next(self) -> None:
        """Open the next session of the list."""
        self._step(1)

    def action_previous(self) -> None:
        """Open the previous session of the list."""
        self._step(-1)

    def _step(self, by: int) -> None:
        self.drop_requests()
        self._at += by
        self._load()

    def action_back(self) -> None:
        """Go back to the list."""
        self.drop_requests()
        self.dismiss(self._at)

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        settings = self._side.choice.settings if self._sides else None
        if action in ("generate", "why", "settings", "compare") and self._session is None:
            return "the session is not there"
        match action:
            case "generate" if all(side.request is not None for side in self._sides):
                return "the student is at work already"
            case "calibrate" if self._sessions.dataset is None:
                return "there is no dataset to calibrate on"
            case "calibrate" if settings is not None and (why := why_uncalibrated(settings.student)) is not None:
                return why
            case "compare" if self._is_comparing and any(side.request is not None for side in self._sides):
                return "the students are at work"
            case "reload" if self._is_stoppable:
                return f"the student is at work; {self.kdtui.key_of('session.cancel')} stops it"
            case "why" if self._explaining is not None:
                return "it is being looked up already"
            case "toggle_patterns" if settings is not None and settings.student == PATTERNS:
                return "the pattern student is made of patterns already"
            case "toggle_patterns" if settings is not None and settings.student == SHIPPED:
                return "the shipped student is shown no knowledge"
            case "toggle_patterns" if "pattern" not in self._offered.formats:
                return "the dataset has no patterns yet"
            case "next" if self._at + 1 >= len(self._sessions.numbers):
                return "this is the last session of the list"
            case "previous" if not self._at:
                return "this is the first session of the list"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of the actions that share a key, offer the one that is next."""
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


def open_beside(
    app: Services, sessions: SessionList, at: int, choice: StudentChoice, other: StudentChoice | None = None
) -> None:
    """Open a session over the current screen, with settings of its own: those of the workbench do not change.

    Args:
        choice: whom to ask about it.
        other: settings to compare with, at once.
    """
    app.push_screen(SessionScreen(app.database, sessions, at, own=choice, other=other, place=app.current_mode))
