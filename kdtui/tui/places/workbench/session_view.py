"""The part of the session screen that loads a session and shows its products, its true bundles and the answers."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.theme import Theme
from textual.widgets import Static

from kdtui.bundling.metrics import Bundles
from kdtui.bundling.truth import minimal_bundles
from kdtui.text import counted, one_line
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.screen import Failed
from kdtui.tui.places.workbench.session_list import SessionList
from kdtui.tui.places.workbench.typed_sessions import generate_command
from kdtui.tui.student.answer import (
    SIDE_NAMES,
    StudentAnswer,
    scores_in_words,
    true_bundle_lines,
    written_bundle_lines,
)
from kdtui.tui.student.bundle_panel import BundlePanel
from kdtui.tui.student.calibration_form import CalibratingScreen
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.letters import badges
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Column, Row
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.student.options import StudentOptions
from store.records import Bundle, Item, Session

if TYPE_CHECKING:
    from store.sqlite import Database

_LONGEST_HOLD = 0.1
"""Seconds at most in which nothing is painted while a session is loaded."""

PANELS = ("#generated", "#other")
"""The panels of the answers, in the order of the sides."""


class SessionLoaded(Message):
    """The session of this number is loaded."""

    def __init__(self, number: int, session: Session) -> None:
        super().__init__()
        self.number, self.session = number, session


def _columns(sides: int) -> tuple[Column, ...]:
    generated = [Column("Gen.", 5)] if sides == 1 else [Column(name, 5) for name in SIDE_NAMES]
    return (
        Column("#", 3, right=True),
        Column("True", 5),
        *generated,
        Column("Product", 20, share=3),
        Column("Category", 14, share=2),
    )


class SessionView(CalibratingScreen[int]):
    """Shows one session of a list with the answers of one or two students.

    The screen is kept when the user leaves it: building its widgets takes longer than showing another session in them.

    Args:
        sessions: the list.
        index: the index of the first session to show.
        own_choice: the student of this screen, in place of that of the workbench, which then never changes here.
        place: the place that the screen belongs to.
    """

    AUTO_FOCUS = "#items"

    def __init__(
        self,
        database: Path,
        sessions: SessionList,
        index: int,
        *,
        own_choice: StudentChoice | None = None,
        place: str = "workbench",
    ) -> None:
        super().__init__(database)
        self._sessions, self._index, self._own_choice, self._place = sessions, index, own_choice, place
        self._session: Session | None = None
        self._bundles: tuple[Bundle, ...] = ()
        self._truth: Bundles = ()
        self._sides: list[StudentAnswer] = []
        # The index of the side that the keys act on.
        self._active = 0
        self._options = StudentOptions()
        self._paint_hold = ExitStack()

    def compose(self) -> ComposeResult:
        """Lay out the products, and two or three panels of bundles."""
        yield TopBar(self._place)
        yield Static("Loading the session…", id="title", markup=False)
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

    def _show_in_theme(self, _: Theme) -> None:
        self._show_answers()

    # What subclasses override

    def drop_requests(self) -> None:
        """Cancel the requests for the session that is shown."""

    def session_shown(self) -> None:
        """Continue after a session is shown."""

    def side_remark(self, side: StudentAnswer) -> str:
        """Return the remark in the heading of an answer."""
        if side.asked is None:
            return f"{self.kdtui.key_of('session.generate')} generates"
        by = f" · by {side.asked.name}" if side.asked != side.choice else ""
        return f"{side.state}{by}"

    # Loading a session

    def show_list(self, sessions: SessionList, index: int) -> None:
        """Show another session, as if the screen were new."""
        self._sessions, self._index = sessions, index
        # A screen that is not mounted yet loads the session when it is.
        if self.is_mounted:
            self._begin()

    def _begin(self) -> None:
        self.drop_requests()
        self._hold_paint()
        self._sides, self._active = [StudentAnswer(self._own_choice or self.kdtui.choice)], 0
        self._options = StudentOptions()
        self.query_one(RowTable).show_columns(_columns(1))
        self.set_focus(self.query_one(RowTable))
        self._load()

    def _hold_paint(self) -> None:
        """Paint nothing until the session is loaded, so that the previous session is not painted once more."""
        self._paint_hold.enter_context(self.app.batch_update())
        self.set_timer(_LONGEST_HOLD, self._paint_hold.close)

    @property
    def _number(self) -> int:
        """The number of the session to show."""
        return self._sessions.numbers[self._index]

    def _load(self) -> None:
        number = self._number
        self._session, self._bundles, self._truth = None, (), ()
        for side in self._sides:
            side.clear()
        if number < 0:
            self.post_message(SessionLoaded(number, self._sessions.typed.session(number)))
            return

        def question(db: "Database") -> Session:
            from store.sessions import session_by_number

            return session_by_number(db, number)

        self.ask(question, lambda session: SessionLoaded(number, session), group="session")

    def on_session_loaded(self, message: SessionLoaded) -> None:
        """Show the session, unless the user has opened another."""
        # A screen that is being removed has lost some of its widgets.
        if message.number != self._number or not self.display:
            return
        self._paint_hold.close()
        self._session = session = message.session
        self._bundles = minimal_bundles(session.bundles)
        self._truth = [frozenset(bundle.positions) for bundle in self._bundles]
        self.query_one("#title", Static).update(Text(one_line(self._title_of(session), 300), style="bold"))
        self.query_one(RowTable).show_rows(self._rows(session))
        for panel in self.query(BundlePanel):
            panel.show_start()
        self._show_choice()
        self._show_answers()
        self.refresh_bindings()
        self.session_shown()

    def _title_of(self, session: Session) -> str:
        dataset, is_typed = self._sessions.dataset, self._number < 0
        parts = [
            f"Session {session.id}",
            *([] if dataset is None else [f"knowledge of {dataset}" if is_typed else dataset]),
            "typed" if is_typed else session.split or "no split",
            counted(len(session.items), "product"),
            f"{self._index + 1:,} of {len(self._sessions.numbers):,}",
        ]
        return " · ".join(parts)

    def on_failed(self, message: Failed) -> None:
        """Keep the failure in the title if no session is loaded."""
        self._paint_hold.close()
        if self._session is None:
            self.query_one("#title", Static).update(Text(one_line(message.sentence, 300), style="bold"))
            self.query_one(RowTable).show_rows([])
            self.show_command("")
            self._show_answers()

    # The products

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
        """Redraw the rows of some products."""
        if self._session is not None:
            table = self.query_one(RowTable)
            for position in positions:
                table.put_row(position - 1, self._row(position, self._session.items[position - 1]))

    def _show_all_rows(self) -> None:
        if self._session is not None:
            self._show_rows(range(1, len(self._session.items) + 1))

    def _show_columns(self) -> None:
        """Show a column for each side; the cursor stays where it is."""
        table = self.query_one(RowTable)
        row = table.cursor_row
        table.show_columns(_columns(len(self._sides)))
        if self._session is not None:
            table.show_rows(self._rows(self._session))
            table.move_to(row)

    def on_resize(self) -> None:
        """Show whole category paths on a wide screen."""
        self.call_after_refresh(self._show_all_rows)

    # The students and their answers

    @property
    def _side(self) -> StudentAnswer:
        """The side that the keys act on."""
        return self._sides[self._active]

    @property
    def _is_comparing(self) -> bool:
        return len(self._sides) > 1

    def _show_choice(self) -> None:
        """Show the student of each side, and the command for the active one."""
        lines = []
        for number, side in enumerate(self._sides):
            mark = ("▸" if number == self._active else " ") + SIDE_NAMES[number] if self._is_comparing else "asks"
            line = Text(f"{mark} ", style="bold" if self._is_comparing else "dim")
            lines.append(line.append(one_line(side.choice.in_words, 300), style="not dim not bold"))
        self.query_one("#asks", Static).update(Text("\n").join(lines))
        if self._session is not None:
            self.show_command(self._command(self._side.choice))
        # The footer dims actions that this student does not support.
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
            has_default=self._options.default is not None,
        )

    def _show_answers(self) -> None:
        """Show the true bundles and those of each side, each compared with the other."""
        self.set_class(self._is_comparing, "-comparing")
        self._show_truth()
        for number in range(len(self._sides)):
            self._show_side(number)
        self.query_one("#scores", Static).update(Text(scores_in_words(self._sides, self._truth)))

    def _show_truth(self) -> None:
        panel = self.query_one("#truth", BundlePanel)
        dropped = len(self._session.bundles) - len(self._truth) if self._session is not None else 0
        panel.show_heading("True bundles", f"{dropped} not minimal left out" if dropped else "")
        lines = true_bundle_lines(self, self._bundles, self._truth, self._sides)
        panel.show_bundles(lines, "none are known" if self._session is not None else "")

    def _show_side(self, number: int) -> None:
        side = self._sides[number]
        panel = self.query_one(PANELS[number], BundlePanel)
        panel.show_heading(SIDE_NAMES[number] if self._is_comparing else "Generated", self.side_remark(side))
        lines = written_bundle_lines(self, side, self._truth)
        panel.show_bundles(lines, "the student found none" if side.is_done else "")

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The dataset whose knowledge is used."""
        return () if self._sessions.dataset is None else (self._sessions.dataset,)
