"""A piece of knowledge in full: what it says, where it comes from, where it was used and what was done there."""

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
from kdtui.tui.places.knowledge.markdown import as_it_is, render_markdown
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.readable import Readable

if TYPE_CHECKING:
    from kdtui.distill.patterns import Pattern
    from kdtui.distill.rules import Rule
    from kdtui.distill.thoughts import Thought
    from kdtui.tui.places.workbench.session_list import SessionList
    from kdtui.workflows.knowledge.about_piece import Origin, PieceDetails
    from kdtui.workflows.knowledge.try_piece import Trial
    from kdtui.workflows.runs.runs import RunRow
    from store.knowledge import Knowledge
    from store.sqlite import Database

_LONGEST = 4_000
"""Characters of a text that are shown."""

_MANY = 12
"""Of a list, so many are shown."""

_SCORED = 8
"""Runs that are scored: each takes some time."""

_MEASURES = ("support", "confidence", "lift", "precision")


class Scored(Message):
    """Runs that the piece was offered to have been scored."""

    def __init__(self, rows: "list[RunRow]", problem: str = "") -> None:
        super().__init__()
        self.rows, self.problem = rows, problem


class TrialFound(Message):
    """How to try the piece is known: with whom, and on the session at a place of a list."""

    def __init__(self, trial: "Trial", sessions: "SessionList", at: int) -> None:
        super().__init__()
        self.trial, self.sessions, self.at = trial, sessions, at


class PieceDialog(Dialog[str]):
    """A piece of knowledge in full. The result is the id of a session to open, if one is to be."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("piece", "text")

    def __init__(self, database: Path, about: "PieceDetails") -> None:
        super().__init__()
        self._database, self._about = database, about
        self._is_trying = False

    def compose(self) -> ComposeResult:
        """The piece, to scroll through."""
        piece = self._about.piece
        with Vertical(classes="box -large"):
            title = f"{piece.format.capitalize()} {piece.id} of dataset {piece.dataset}"
            yield Static(Text(one_line(title, 300)), classes="heading", markup=False)
            with VerticalScroll():
                yield Readable(piece_text(self._about), id="piece-in-full", markup=False)
            yield Footer()

    def on_mount(self) -> None:
        """Have the runs scored, while the rest is read."""
        self.set_focus(self.query_one(VerticalScroll))
        if self._about.runs:
            self.run_worker(self._score, thread=True, name="score")

    def _score(self) -> None:
        from dataclasses import replace

        from kdtui.workflows.knowledge.about_piece import scores_of_uses

        some = replace(self._about, runs=self._about.runs[:_SCORED])

        def question(db: "Database") -> "list[RunRow]":
            return list(scores_of_uses(db, some))

        try:
            message = Scored(ask_store(self._database, question))
        except Exception as error:
            message = Scored([], sentence_of(error)[0])
        self.post_message(message)

    def on_scored(self, message: Scored) -> None:
        """Say what the runs scored."""
        shown = piece_text(self._about, [*message.rows], message.problem)
        self.query_one("#piece-in-full", Static).update(shown)

    def why_not(self, action: str) -> str | None:
        """Why there is nothing to open, or to try."""
        if action == "open_session" and not self._sessions:
            return "no session is named that this comes from"
        if action == "try_it" and self._about.piece.reason is not None:
            return "it was rejected, and no student is shown it"
        return super().why_not(action)

    @property
    def _sessions(self) -> list[str]:
        return list(_sessions_of(self._about.origin))

    def action_open_session(self) -> None:
        """Leave, and have the first session opened that the piece, or a piece behind it, comes from."""
        self.dismiss(self._sessions[0])

    def action_try_it(self) -> None:
        """Look for a session that the piece is about."""
        if not self._is_trying:
            self._is_trying = True
            self.run_worker(self._find_trial, thread=True, name="try")

    def _find_trial(self) -> None:
        from kdtui.tui.places.workbench.session_list import SessionList
        from kdtui.workflows.knowledge.try_piece import trial_of

        usual = self.kdtui.choice.settings

        def question(db: "Database") -> TrialFound:
            trial = trial_of(db, self._about.piece.id, usual)
            named = named_database(self._database)
            return TrialFound(trial, *SessionList.around(db, trial.dataset, trial.session, named))

        try:
            message: Message = ask_store(self._database, question)
        except Exception as error:
            message = Failed(*sentence_of(error))
        self.post_message(message)

    def on_trial_found(self, message: TrialFound) -> None:
        """Have the session answered without the piece and with it, over this; what leaves it leads back to here."""
        self._is_trying = False
        if self.is_active:
            without, having = StudentChoice.of(message.trial.without), StudentChoice.of(message.trial.having)
            from kdtui.tui.places.workbench.session_screen import open_session_over

            open_session_over(self.kdtui, message.sessions, message.at, without, having)

    def on_failed(self, message: Failed) -> None:
        """Say why it cannot be tried."""
        self._is_trying = False
        self.kdtui.say(message.sentence, details=message.details)

    def action_copy(self) -> None:
        """Copy what the piece says."""
        self.app.copy_to_clipboard(self._about.piece.statement)
        self.app.notify("copied the statement", markup=False, timeout=3)


def _sessions_of(origin: "Origin") -> Iterator[str]:
    yield from origin.sessions
    for parent in origin.parents:
        yield from _sessions_of(parent)


def piece_text(about: "PieceDetails", rows: "list[RunRow] | None" = None, problem: str = "") -> RenderableType:
    """All that is known of a piece.

    Args:
        rows: the runs that it was offered to, scored; None while they are not.
        problem: why they could not be.
    """
    piece = about.piece
    show = render_markdown if about.is_in_words_of_a_model else as_it_is
    parts: list[RenderableType] = [show(piece.statement, _LONGEST, "bold")]
    measures = " · ".join(_measures(piece))
    status = f"rejected: {one_line(piece.reason, 300)}" if piece.reason is not None else "kept"
    parts.append(Text(f"{status}{f' · {measures}' if measures else ''}"))
    if piece.origin is not None:
        from kdtui.workflows.knowledge.about_piece import told_origin

        parts.append(Text(one_line(told_origin(piece) or "", 600)))
    parts += _says(about)
    parts += [Text("\nComes from", style="bold"), _tree(about.origin)]
    if used := list(_uses(about, rows, problem)):
        parts.append(Text("\nWas offered to", style="bold"))
        parts += used
    return Group(*parts)


def _measures(piece: "Knowledge") -> Iterator[str]:
    for name in _MEASURES:
        value = getattr(piece, name)
        if value is not None:
            is_untried = piece.format == "rule" and name == "support" and not value
            yield f"{name} {decimals(value)}{', as no other session has such products' if is_untried else ''}"


def _says(about: "PieceDetails") -> list[RenderableType]:
    """What the content of a piece says beyond its statement."""
    content = about.content
    if content is None:
        return [Text("\nIts content", style="bold"), Text(one_line(about.piece.content, _LONGEST))]
    # By the format, and not by the class: importing the classes takes longer than a first paint may.
    match about.piece.format:
        case "pattern":
            return list(_pattern(content))  # type: ignore[arg-type]
        case "rule":
            return list(_rule(content))  # type: ignore[arg-type]
        case "thought":
            return list(_thought(content, render_markdown if about.is_in_words_of_a_model else as_it_is))  # type: ignore[arg-type]


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


def _tree(origin: "Origin", name: str = "") -> Tree:
    piece = origin.piece
    tree = Tree(Text(f"{name}teacher {one_line(piece.teacher, 100)}, {piece.created_at[:16].replace('T', ' ')}"))
    if piece.call_id is not None:
        tree.add(Text(f"call {piece.call_id}"))
    for session in origin.sessions[:_MANY]:
        tree.add(Text(f"session {one_line(session, 100)}"))
    if len(origin.sessions) > _MANY:
        tree.add(Text(counted(len(origin.sessions) - _MANY, "more session")))
    for parent in origin.parents[:_MANY]:
        name = f"{parent.piece.format} {parent.piece.id}: {one_line(parent.piece.statement, 160)}; "
        tree.children.append(_tree(parent, name))
    if len(origin.parents) > _MANY:
        tree.add(Text(counted(len(origin.parents) - _MANY, "more piece")))
    return tree


def _uses(about: "PieceDetails", rows: "list[RunRow] | None", problem: str) -> Iterator[RenderableType]:
    from kdtui.workflows.runs.scored import Scored

    if about.samples:
        yield _item("•", f"samples {', '.join(about.samples)}")
    if about.trainings:
        yield _item("•", f"trainings {', '.join(about.trainings)}")
    if rows is None or problem:
        for number in about.runs[:_MANY]:
            yield _item("•", f"run {number}" + (f" ({problem})" if problem else ""))
        shown = _MANY
    else:
        for row in rows:
            run = row.summary.run
            score = f"pair F1 {row.scores.pair_f1:.3f}" if row.scores is not None else (row.problem or "no score")
            where = run.split if run.settings.limit is None else Scored.by(row.summary).in_words
            yield _item("•", f"run {run.id}: {run.name} on {where}, {score}")
        shown = len(rows)
    if len(about.runs) > shown:
        yield _item("•", counted(len(about.runs) - shown, "older run"))
