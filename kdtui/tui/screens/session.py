"""One session: its products, its true bundles, and those that a student generates."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.coordinate import Coordinate
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Footer, Static

from kdtui.bundling.text import letter, one_line
from kdtui.bundling.truth import minimal_bundles
from kdtui.tui.choice import STUDENTS, Choice
from kdtui.tui.commands import command_line
from kdtui.tui.generation import Answered, BundleWritten, GenerationThread, Request, Stopped, StudentReady
from kdtui.tui.screens.base import COPY, KdtuiScreen
from kdtui.tui.widgets.bundle_panel import BundleLine, BundlePanel
from kdtui.tui.widgets.flex_table import FlexColumn, FlexTable
from kdtui.tui.widgets.letters import badges
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.model_names import PATTERNS
from models.bundle_list import WrittenBundle
from models.embedded import SHIPPED
from store.records import Bundle, Item, Session

if TYPE_CHECKING:
    from sqlite_utils import Database

_COLUMNS = (
    FlexColumn("#", 3, right=True),
    FlexColumn("True", 5),
    FlexColumn("Gen.", 5),
    FlexColumn("Product", 20, share=3),
    FlexColumn("Category", 14, share=2),
)
_GENERATED = 2
"""The column of the generated bundles' letters."""

_WIDE = 120
"""Cells from which on the whole path of a category is shown."""


_REDRAW = 0.05
"""Seconds between two looks at what is being written."""


class SessionLoaded(Message):
    """A session has come from the store."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session


class SessionScreen(KdtuiScreen[tuple[int, Choice]]):
    """A session beside others, told by their ids. The result is which one was shown last, and the choice of student."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "generate", "Generate", tooltip="Have the student write bundles"),
        Binding("p", "toggle_patterns", "Patterns", tooltip="Show the student the mined patterns, or not"),
        Binding("s", "next_student", "Student", tooltip="Ask another student"),
        COPY,
        Binding("escape", "cancel", "Stop", tooltip="Stop the student"),
        Binding("escape", "back", "Back", tooltip="Go back to the list"),
        Binding("right_square_bracket", "step(1)", "Next", key_display="]", tooltip="Open the next session"),
        Binding(
            "left_square_bracket",
            "step(-1)",
            "Previous",
            show=False,
            key_display="[",
            tooltip="Open the previous session",
        ),
    ]
    AUTO_FOCUS = "#items"

    def __init__(
        self,
        database: Path,
        generation: GenerationThread,
        choice: Choice,
        *,
        dataset: str,
        sessions: list[str],
        at: int,
        named_database: Path | None,
    ) -> None:
        super().__init__(database)
        self._generation = generation
        self._choice = choice
        self._dataset = dataset
        self._sessions = sessions
        self._at = at
        self._named_database = named_database
        # A student that was given as a file is one of the cycle.
        self._students = tuple(dict.fromkeys((choice.student, *STUDENTS)))
        self._session: Session | None = None
        self._truth: tuple[Bundle, ...] = ()
        self._request: Request | None = None
        self._asked: Choice | None = None
        self._state = ""
        self._written: dict[int, WrittenBundle] = {}
        self._redraw: Timer | None = None

    def compose(self) -> ComposeResult:
        """The products, and the bundles of two kinds."""
        yield TopBar("sessions")
        yield Static(id="title", markup=False)
        with Container(id="body"):
            yield FlexTable(_COLUMNS, id="items")
            with Container(id="bundles"):
                yield BundlePanel(id="truth")
                yield BundlePanel(id="generated", lower=True)
        yield Static(id="command", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Load the session."""
        self._load()

    def _load(self) -> None:
        wanted = self._sessions[self._at]
        self._session, self._truth = None, ()
        self._asked, self._state, self._written = None, "", {}
        self.query_one("#title", Static).update(
            Text(one_line(f"Session {wanted} · {self._dataset}", 300), style="bold")
        )
        self._show_student()

        def question(db: "Database") -> Session:
            from store.datasets import get_session

            return get_session(db, self._dataset, wanted)

        self.ask(question, SessionLoaded, group="session")

    def on_session_loaded(self, message: SessionLoaded) -> None:
        """Show the session, unless another has been opened meanwhile."""
        session = message.session
        if session.id != self._sessions[self._at]:
            return
        self._session = session
        self._truth = minimal_bundles(session.bundles)
        about = (
            f"Session {session.id} · {self._dataset} · {session.split or 'no split'} · {len(session.items)} products"
        )
        self.query_one("#title", Static).update(Text(one_line(about, 300), style="bold"))
        self._show_items()
        dropped = len(session.bundles) - len(self._truth)
        truth = self.query_one("#truth", BundlePanel)
        truth.show_heading("True bundles", f"{dropped} not minimal left out" if dropped else "")
        truth.show_bundles([BundleLine(each.positions, each.intent) for each in self._truth], "none are known")
        self._show_generated()

    def _show_items(self) -> None:
        if self._session is None:
            return
        table = self.query_one(FlexTable)
        row = table.cursor_row
        table.clear()
        table.add_page(
            (
                (
                    str(position),
                    (
                        str(position),
                        badges([number for number, each in enumerate(self._truth) if position in each.positions]),
                        self._generated_letters(position),
                        item.title or f"(no title) {item.id}",
                        self._category(item),
                    ),
                )
                for position, item in enumerate(self._session.items, start=1)
            ),
            more=False,
        )
        table.move_cursor(row=row)

    def _category(self, item: Item) -> str:
        if not item.categories or not item.categories[0]:
            return "–"
        path = item.categories[0]
        return " > ".join(path) if self.size.width >= _WIDE else path[-1]

    def _generated_letters(self, position: int) -> Text:
        return badges(
            [number for number, each in sorted(self._written.items()) if position in each.positions], lower=True
        )

    def on_resize(self) -> None:
        """Show more of the categories where there is room."""
        self.call_after_refresh(self._show_items)

    def _show_student(self) -> None:
        self.show_command(
            command_line(
                ("generate",),
                self._sessions[self._at],
                {"--dataset": self._dataset, **self._choice.options},
                database=self._named_database,
            )
        )
        self._show_generated()

    def _show_generated(self) -> None:
        """Show what is generated, how far it is, and whom `g` would ask next."""
        panel = self.query_one("#generated", BundlePanel)
        if self._asked is None:
            panel.show_heading("Generated", f"g asks {self._choice.name}")
        else:
            other = f" · g asks {self._choice.name}" if self._choice.name != self._asked.name else ""
            panel.show_heading("Generated", f"by {self._asked.name} · {self._state}{other}")
        true = {frozenset(each.positions): number for number, each in enumerate(self._truth)}
        panel.show_bundles(
            [
                BundleLine(
                    each.positions,
                    each.intent if each.complete else f"{each.intent}…",
                    each.confidence,
                    f"= {letter(true[frozenset(each.positions)])}" if frozenset(each.positions) in true else "",
                )
                for _, each in sorted(self._written.items())
            ],
            "the student found none" if self._state.startswith("done") else "",
        )

    def _set_state(self, state: str) -> None:
        before, self._state = self._state, state
        self._show_generated()
        # The footer is made anew by this, so not at every token.
        if before != state:
            self.refresh_bindings()

    def action_generate(self) -> None:
        """Ask the student."""
        if self._session is None:
            return
        self._asked, self._written = self._choice, {}
        for position in range(1, len(self._session.items) + 1):
            self._mark(position)
        self._request = Request(self._dataset, self._session, self._choice, self.post_message)
        self._generation.ask(self._request)
        self._set_state("loading the student…")

    def on_student_ready(self, message: StudentReady) -> None:
        """Say that the student reads."""
        if message.request is self._request and not message.request.cancelled:
            self._set_state("reading…")

    def on_bundle_written(self, message: BundleWritten) -> None:
        """Show a bundle as far as it is written."""
        if message.request is not self._request or message.request.cancelled:
            return
        bundle = message.bundle
        new = bundle.number not in self._written
        self._written[bundle.number] = bundle
        if new:
            for position in bundle.positions:
                self._mark(position)
        if self._state != "writing…":
            self._set_state("writing…")
        elif self._redraw is None:
            # A fast student writes more often than anyone can see.
            self._redraw = self.set_timer(_REDRAW, self._show_written)

    def _show_written(self) -> None:
        self._redraw = None
        self._show_generated()
        self.query_one("#generated", BundlePanel).show_end()

    def on_answered(self, message: Answered) -> None:
        """Say that the answer is whole, or why there is none."""
        if message.request is not self._request:
            return
        self._request = None
        problem = message.prediction.error
        self._set_state(f"done in {message.prediction.seconds:.1f} s" if problem is None else "no answer")
        if problem is not None:
            self.say(problem)

    def on_stopped(self, message: Stopped) -> None:
        """Say that, and why, there will be no answer."""
        if message.request is not self._request:
            return
        self._request = None
        self._set_state("cancelled" if message.problem is None else "failed")
        if message.problem is not None:
            self.say(message.problem)

    def _mark(self, position: int) -> None:
        self.query_one(FlexTable).update_cell_at(
            Coordinate(position - 1, _GENERATED), self._generated_letters(position)
        )

    def action_cancel(self) -> None:
        """Stop the student."""
        if self._request is not None:
            self._request.cancel()
            self._set_state("cancelling…")

    def action_back(self) -> None:
        """Go back to the list."""
        self._drop_request()
        self.dismiss((self._at, self._choice))

    def action_toggle_patterns(self) -> None:
        """Give the student the mined patterns, or take them away."""
        if self._choice.student == PATTERNS:
            self.say("the pattern student is made of patterns already; s chooses another student", error=False)
            return
        if self._choice.student == SHIPPED:
            self.say("the shipped student is told of other sessions already; s chooses another student", error=False)
            return
        self._choice = replace(self._choice, with_patterns=not self._choice.with_patterns)
        self._show_student()

    def action_next_student(self) -> None:
        """Choose the next student."""
        self._choice = self._choice.with_next_student(self._students)
        self._show_student()

    def action_step(self, by: int) -> None:
        """Open the next or the previous session of the list."""
        self._drop_request()
        self._at += by
        self.query_one(FlexTable).clear()
        self._load()

    def _drop_request(self) -> None:
        if self._request is not None:
            self._request.cancel()
            self._request = None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        running = self._request is not None
        match action:
            case "generate":
                # Shown, but dim, while the student is at work.
                return None if running or self._session is None else True
            case "cancel":
                return self._request is not None and not self._request.cancelled
            case "back":
                return self._request is None or self._request.cancelled
            case "step":
                at = self._at + (parameters[0] if parameters and isinstance(parameters[0], int) else 0)
                return 0 <= at < len(self._sessions)
        return super().check_action(action, parameters)
