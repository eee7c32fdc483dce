"""A piece of knowledge in full: its content, its sources, and the runs, samples and trainings that used it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from kdtui.text import counted, decimals, one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.dialogs import Dialog
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.store_worker import ask_store, named_database, sentence_of
from kdtui.tui.places.knowledge.markdown import plain_text, render_markdown
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.readable import Readable

if TYPE_CHECKING:
    from kdtui.distill.patterns import Pattern
    from kdtui.distill.rules import Rule
    from kdtui.distill.thoughts import Thought
    from kdtui.tui.places.workbench.session_list import SessionList
    from kdtui.workflows.knowledge.about_piece import PieceDetails, PieceSources
    from kdtui.workflows.knowledge.try_piece import PieceTrial
    from kdtui.workflows.runs.runs import RunRow
    from store.knowledge import Knowledge
    from store.sqlite import Database

_LONGEST = 4_000
"""The maximum number of characters of a text."""

_MANY = 12
"""The maximum number of items of a list."""

_SCORED = 8
"""The maximum number of runs to score: each takes some time."""

_MEASURES = ("support", "confidence", "lift", "precision")


class RunsScored(Message):
    """The runs that used the piece are scored."""

    def __init__(self, rows: "list[RunRow]", problem: str = "") -> None:
        super().__init__()
        self.rows, self.problem = rows, problem


class TrialFound(Message):
    """A trial of the piece is known: the settings to compare, and the session by its index in a list."""

    def __init__(self, trial: "PieceTrial", sessions: "SessionList", index: int) -> None:
        super().__init__()
        self.trial, self.sessions, self.index = trial, sessions, index


class PieceDialog(Dialog[str]):
    """A piece of knowledge in full. The result is the id of a session to open, or None."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("piece", "text")

    def __init__(self, database: Path, details: "PieceDetails") -> None:
        super().__init__()
        self._database, self._details = database, details
        self._is_trying = False

    def compose(self) -> ComposeResult:
        """Lay out the piece in a scrolling box."""
        piece = self._details.piece
        with Vertical(classes="box -large"):
            title = f"{piece.format.capitalize()} {piece.id} of dataset {piece.dataset}"
            yield Static(Text(one_line(title, 300)), classes="heading", markup=False)
            with VerticalScroll():
                yield Readable(piece_text(self._details), id="piece-in-full", markup=False)
            yield Footer()

    def on_mount(self) -> None:
        """Score the runs while the user reads."""
        self.set_focus(self.query_one(VerticalScroll))
        if self._details.runs:
            self.run_worker(self._score, thread=True, name="score")

    def _score(self) -> None:
        from dataclasses import replace

        from kdtui.workflows.knowledge.about_piece import scores_of_uses

        scored = replace(self._details, runs=self._details.runs[:_SCORED])

        def question(db: "Database") -> "list[RunRow]":
            return list(scores_of_uses(db, scored))

        try:
            message = RunsScored(ask_store(self._database, question))
        except Exception as error:
            message = RunsScored([], sentence_of(error)[0])
        self.post_message(message)

    def on_runs_scored(self, message: RunsScored) -> None:
        """Show the scores of the runs."""
        shown = piece_text(self._details, [*message.rows], message.problem)
        self.query_one("#piece-in-full", Static).update(shown)

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now."""
        if action == "open_session" and not self._sessions:
            return "the piece names no session that it comes from"
        if action == "try_it" and self._details.piece.reason is not None:
            return "the piece was rejected: no student is shown it"
        return super().why_not(action)

    @property
    def _sessions(self) -> list[str]:
        return list(_sessions_of(self._details.sources))

    def action_open_session(self) -> None:
        """Close the dialog, and open the first session that the piece or one of its parents comes from."""
        self.dismiss(self._sessions[0])

    def action_try_it(self) -> None:
        """Find a session to try the piece on."""
        if not self._is_trying:
            self._is_trying = True
            self.run_worker(self._find_trial, thread=True, name="try")

    def _find_trial(self) -> None:
        from kdtui.tui.places.workbench.session_list import SessionList
        from kdtui.workflows.knowledge.try_piece import trial_of

        usual = self.kdtui.choice.settings

        def question(db: "Database") -> TrialFound:
            trial = trial_of(db, self._details.piece.id, usual)
            named = named_database(self._database)
            return TrialFound(trial, *SessionList.around(db, trial.dataset, trial.session, named))

        try:
            message: Message = ask_store(self._database, question)
        except Exception as error:
            message = Failed(*sentence_of(error))
        self.post_message(message)

    def on_trial_found(self, message: TrialFound) -> None:
        """Open the session over this dialog, and compare the student without the piece and with it."""
        self._is_trying = False
        if self.is_active:
            without = StudentChoice.of(message.trial.without)
            with_piece = StudentChoice.of(message.trial.having)
            from kdtui.tui.places.workbench.session_screen import open_session_over

            open_session_over(self.kdtui, message.sessions, message.index, without, with_piece)

    def on_failed(self, message: Failed) -> None:
        """Say why the piece cannot be tried."""
        self._is_trying = False
        self.kdtui.say(message.sentence, details=message.details)

    def action_copy(self) -> None:
        """Copy the statement of the piece."""
        self.app.copy_to_clipboard(self._details.piece.statement)
        self.app.notify("copied the statement", markup=False, timeout=3)


def _sessions_of(sources: "PieceSources") -> Iterator[str]:
    yield from sources.sessions
    for parent in sources.parents:
        yield from _sessions_of(parent)


def piece_text(details: "PieceDetails", rows: "list[RunRow] | None" = None, problem: str = "") -> RenderableType:
    """Render all details of a piece.

    Args:
        rows: the scored runs that used it; None before they are scored.
        problem: why they could not be scored.
    """
    piece = details.piece
    show = render_markdown if details.is_in_words_of_a_model else plain_text
    parts: list[RenderableType] = [show(piece.statement, _LONGEST, "bold")]
    measures = " · ".join(_measures(piece))
    status = f"rejected: {one_line(piece.reason, 300)}" if piece.reason is not None else "kept"
    parts.append(Text(f"{status}{f' · {measures}' if measures else ''}"))
    if piece.origin is not None:
        from kdtui.workflows.knowledge.about_piece import origin_in_words

        parts.append(Text(one_line(origin_in_words(piece) or "", 600)))
    parts += _content(details)
    parts += [Text("\nComes from", style="bold"), _tree(details.sources)]
    if used := list(_uses(details, rows, problem)):
        parts.append(Text("\nUsed by", style="bold"))
        parts += used
    return Group(*parts)


def _measures(piece: "Knowledge") -> Iterator[str]:
    for name in _MEASURES:
        value = getattr(piece, name)
        if value is not None:
            is_untried = piece.format == "rule" and name == "support" and not value
            yield f"{name} {decimals(value)}{', as no other session has such products' if is_untried else ''}"


def _content(details: "PieceDetails") -> list[RenderableType]:
    """Render the content of a piece beyond its statement."""
    content = details.content
    if content is None:
        return [Text("\nIts content", style="bold"), Text(one_line(details.piece.content, _LONGEST))]
    # The format selects, not the class: importing the classes is too slow for the first paint.
    match details.piece.format:
        case "pattern":
            return list(_pattern(content))  # type: ignore[arg-type]
        case "rule":
            return list(_rule(content))  # type: ignore[arg-type]
        case "thought":
            return list(_thought(content, render_markdown if details.is_in_words_of_a_model else plain_text))  # type: ignore[arg-type]


def _pattern(pattern: "Pattern") -> Iterator[RenderableType]:
    yield Text(f"\nBundled together in {counted(pattern.bundles, 'training bundle')}", style="bold")
    yield from _bullets(" › ".join(path) for path in pattern.categories)


def _rule(rule: "Rule") -> Iterator[RenderableType]:
    if rule.categories:
        heading = {True: "Put together", False: "Leave apart", None: "About"}[rule.together]
        yield Text(f"\n{heading}", style="bold")
        yield from _bullets(" › ".join(path) for path in rule.categories)
    if rule.intents:
        yield Text("\nShoppers want such bundles for", style="bold")
        yield from _bullets(rule.intents)


def _thought(thought: "Thought", show: Callable[[str, int], RenderableType]) -> Iterator[RenderableType]:
    yield Text("\nProducts", style="bold")
    for number, product in enumerate(thought.products, start=1):
        yield _item(f"{number}.", product)
    yield Text("\nBundles", style="bold")
    for step in thought.steps:
        yield _item(" ".join(map(str, step.positions)), step.intent)
        yield Padding(show(step.why, _LONGEST), (0, 0, 0, 4))
    if thought.left_out:
        yield Text("\nLeft out", style="bold")
        yield Padding(show(thought.left_out, _LONGEST), (0, 0, 0, 2))


def _bullets(texts: Iterable[str]) -> Iterator[RenderableType]:
    for number, text in enumerate(texts):
        if number == _MANY:
            yield _item("•", "…")
            return
        yield _item("•", text)


def _item(mark: str, text: str) -> RenderableType:
    return Padding(Text(f"{mark} {one_line(text, 600)}"), (0, 0, 0, 2))


def _tree(sources: "PieceSources", name: str = "") -> Tree:
    piece = sources.piece
    tree = Tree(Text(f"{name}teacher {one_line(piece.teacher, 100)}, {piece.created_at[:16].replace('T', ' ')}"))
    if piece.call_id is not None:
        tree.add(Text(f"call {piece.call_id}"))
    for session in sources.sessions[:_MANY]:
        tree.add(Text(f"session {one_line(session, 100)}"))
    if len(sources.sessions) > _MANY:
        tree.add(Text(counted(len(sources.sessions) - _MANY, "more session")))
    for parent in sources.parents[:_MANY]:
        name = f"{parent.piece.format} {parent.piece.id}: {one_line(parent.piece.statement, 160)}; "
        tree.children.append(_tree(parent, name))
    if len(sources.parents) > _MANY:
        tree.add(Text(counted(len(sources.parents) - _MANY, "more piece")))
    return tree


def _uses(details: "PieceDetails", rows: "list[RunRow] | None", problem: str) -> Iterator[RenderableType]:
    from kdtui.workflows.runs.session_selection import SessionSelection

    if details.samples:
        yield _item("•", f"samples {', '.join(details.samples)}")
    if details.trainings:
        yield _item("•", f"trainings {', '.join(details.trainings)}")
    if rows is None or problem:
        for number in details.runs[:_MANY]:
            yield _item("•", f"run {number}" + (f" ({problem})" if problem else ""))
        shown = _MANY
    else:
        for row in rows:
            run = row.summary.run
            score = f"pair F1 {row.scores.pair_f1:.3f}" if row.scores is not None else (row.problem or "no score")
            where = run.split if run.settings.limit is None else SessionSelection.by(row.summary).in_words
            yield _item("•", f"run {run.id}: {run.name} on {where}, {score}")
        shown = len(rows)
    if len(details.runs) > shown:
        yield _item("•", counted(len(details.runs) - shown, "older run"))
