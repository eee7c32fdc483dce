"""A run in full: settings, scores beside the floors, what went wrong, and the commands for it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from kdtui.bundling.metrics import ANSWERED, EVERY_SESSION, INTENTS, has_intent_scores
from kdtui.text import counted, one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import TextDialog, scroll
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.core.store_worker import named_database, still_wanted
from kdtui.tui.places.runs.rows import duration, share
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.runs.intent_floors import IN_WORDS
from kdtui.workflows.student.command_options import evaluate_arguments, resume_arguments
from store.records import RunSettings

if TYPE_CHECKING:
    from kdtui.bundling.intent_metrics import IntentScores
    from kdtui.tui.places.runs.evaluation import EvaluationActivity
    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.runs import RunDetails
    from kdtui.workflows.runs.scored import ScoredSessions
    from store.runs import RunSummary
    from store.sqlite import Database

_METRICS = (*EVERY_SESSION, *ANSWERED, *INTENTS)

_FAILURES = 200
"""Failed sessions that are listed; `kdtui run show --json` lists them all."""


class InFull(Message):
    """All there is to say of the run has come from the store."""

    def __init__(self, found: "tuple[RunDetails, Path | None]") -> None:
        super().__init__()
        self.found, self.named_database = found


class RunScreen(StoreScreen[bool]):
    """A run in full. The result says whether it is to be gone on with.

    Args:
        floors: over the same sessions; None where they are not computed yet.
        work: the evaluation that is at work, which may be that of another run; None where none is.
        place: where it is opened.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("run", "screen")
    AUTO_FOCUS = "#full"

    def __init__(
        self,
        database: Path,
        summary: "RunSummary",
        floors: "Sequence[ScoreRow] | None",
        work: "EvaluationActivity | None",
        *,
        place: str = "runs",
    ) -> None:
        super().__init__(database)
        self._summary = summary
        self._floors = floors
        self._work = work
        self._place = place

    def compose(self) -> ComposeResult:
        """A title, and all the rest as one text."""
        yield TopBar(self._place)
        run = self._summary.run
        title = Text(f"Run {run.id}  ", style="bold")
        title.append(one_line(f"{run.name} on {run.dataset} {run.split}", 300), style="not bold")
        yield Static(title, id="title", markup=False)
        with VerticalScroll(id="full"):
            yield Static("Computing the scores…", id="everything", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Load the run, after the first paint."""
        self.call_after_refresh(self._load)

    @property
    def number(self) -> int:
        """The number of the run."""
        return self._summary.run.id

    def show_floors(self, floors: "Sequence[ScoreRow]") -> None:
        """Show the run beside the floors, which are computed now."""
        self._floors = floors
        self._load()

    def end_work(self) -> None:
        """Show what the evaluation has come to that was at work."""
        self._work = None
        self._load()

    @property
    def _is_at_work(self) -> bool:
        """Whether the run is being evaluated by this app."""
        return self._work is not None and self._work.run == self.number

    def action_reload(self) -> None:
        """Load the run again."""
        self._load()

    def _load(self) -> None:
        number, floors = self.number, tuple(self._floors or ())

        def question(db: "Database") -> "tuple[RunDetails, Path | None]":
            from kdtui.workflows.runs.runs import run_details
            from store.runs import summary_of

            found = run_details(db, summary_of(db, number), floors=floors, most_failures=_FAILURES, check=still_wanted)
            return found, named_database(self.database)

        self.ask(question, InFull, group="run")

    def on_in_full(self, message: InFull) -> None:
        """Show it."""
        found = message.found
        self._summary = found.row.summary
        run = self._summary.run
        repeat = command_line(evaluate_arguments(run.dataset, run.split, run.settings), database=message.named_database)
        resume = command_line(resume_arguments(run.id), database=message.named_database)
        show = command_line(("run", "show"), str(run.id), database=message.named_database)
        commands = {"to show this": show, "to repeat it": repeat}
        can_go_on = not self._summary.is_over and not self._is_at_work
        if can_go_on:
            commands["to go on with it"] = resume
        self.query_one("#everything", Static).update(
            Group(
                _grid(_facts(found, self._not_finished)),
                *_part("Scores", _scores(found)),
                *_part("Settings", _grid(_settings(run.settings))),
                *_part("Errors", _failures(found)),
                *_part("Commands", _grid((name, Text(one_line(each))) for name, each in commands.items())),
            )
        )
        self.show_command(resume if can_go_on else show if self._is_at_work else repeat)
        self.refresh_bindings()

    @property
    def _not_finished(self) -> str:
        """What to say of the end of a run that has none."""
        if self._is_at_work:
            return f"not yet: it is at work here; {self.kdtui.key_of('screen.reload')} shows how far it is by now"
        return "not yet"

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good: there is nothing else to see."""
        super().on_failed(message)
        self.query_one("#everything", Static).update(Text(one_line(message.sentence)))

    def action_scroll(self, way: str) -> None:
        """Scroll the text."""
        scroll(self.query_one("#full", VerticalScroll), way)

    def action_resume(self) -> None:
        """Go back to the list, and go on with the run there."""
        self.dismiss(True)

    def action_back(self) -> None:
        """Go back to the list."""
        self.dismiss(False)

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        if action == "resume":
            if self._summary.is_over:
                return "the run is finished"
            if self._is_at_work:
                return "the run is at work here already"
            if self._work is not None:
                return "an evaluation is at work"
        return super().why_not(action)


class FloorsDialog(TextDialog):
    """The floors over some sessions, with all metrics."""

    def __init__(self, scored: "ScoredSessions", rows: "Sequence[ScoreRow]") -> None:
        table = scores_table(rows)
        copies = "\n".join("\t".join([row.name, *(_metric(row, name) for name, _ in _METRICS)]) for row in rows)
        super().__init__(f"Floors of {scored.dataset} {scored.split}, {scored.in_words}", table, copies=copies)


def scores_table(rows: "Iterable[ScoreRow]", *, here: str | None = None) -> RenderableType:
    """All metrics of some rows, and what they mean.

    Args:
        here: the name of the row that stands out, which is the last but one.
    """
    rows = list(rows)
    return Group(
        Text("Over all sessions: strict precision and recall, F1 of pairs, exact sets of bundles", style="dim"),
        _metrics_table(rows, EVERY_SESSION, here),
        Text(),
        Text(
            "Over the n sessions with a predicted bundle: the paper's precision, recall and coverage; bundles that "
            "equal a true one, and the greedy Jaccard score",
            style="dim",
        ),
        _metrics_table(rows, ANSWERED, here),
        *_intents(rows, here),
    )


def _intents(rows: "list[ScoreRow]", here: str | None) -> Iterator[RenderableType]:
    """How close the intents come to those of people; nothing where no row has any."""
    named = [row for row in rows if has_intent_scores(row.scores)]
    if named:
        count = max(row.scores.intent_bundles for row in named)
        yield Text()
        yield Text(f"Intents, over those of {counted(count, 'true bundle')} that a predicted one overlaps", style="dim")
        if any(row.intent_floors for row in named):
            yield Text("Below a run, its own bundles with other names", style="dim")
        yield _metrics_table(named, INTENTS, here, with_intent_floors=True)


def _metrics_table(
    rows: "list[ScoreRow]", metrics: Iterable[tuple[str, str]], here: str | None, *, with_intent_floors: bool = False
) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(min_width=10, overflow="fold")
    for _ in metrics:
        table.add_column(justify="right", no_wrap=True)
    table.add_row("", *(Text(label, style="bold") for _, label in metrics))
    for row in rows:
        stands_out = row.name == here
        name = Text(f"▸{one_line(row.name, 100)}" if stands_out else f" {one_line(row.name, 100)}")
        table.add_row(name, *(Text(_metric(row, metric)) for metric, _ in metrics), style="bold" if stands_out else "")
        for floor, scores in row.intent_floors.items() if with_intent_floors else ():
            table.add_row(Text(f" {IN_WORDS[floor]}"), str(scores.matched), *map(share, _means(scores)))
    return table


def _means(scores: "IntentScores") -> tuple[float, float, float]:
    """In the order of `INTENTS`, behind the number of those that are matched."""
    return scores.token_f1, scores.rouge_l, scores.cosine


def _metric(row: "ScoreRow", metric: str) -> str:
    value = getattr(row.scores, metric)
    return f"{value:,}" if isinstance(value, int) else share(value)


def _part(title: str, content: RenderableType) -> tuple[RenderableType, ...]:
    return Text(), Text(title, style="bold underline"), content


def _grid(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(style="dim", no_wrap=True, width=20)
    grid.add_column(ratio=1, overflow="fold")
    for name, content in rows:
        grid.add_row(name, content)
    return grid


def _facts(found: "RunDetails", not_finished: str) -> Iterable[tuple[str, RenderableType]]:
    from kdtui.workflows.runs.scored import ScoredSessions

    summary = found.row.summary
    failed = f", {summary.failed:,} of them without bundles" if summary.failed else ""
    yield "sessions", Text(f"{summary.answered:,} of {summary.sessions:,} answered{failed}")
    yield "which sessions", Text(ScoredSessions.by(summary).in_words)
    if summary.run.tags:
        yield "tags", Text(", ".join(summary.run.tags))
    if summary.run.note:
        yield "note", Text(one_line(summary.run.note))
    yield "began", Text(summary.run.created_at)
    yield "finished", Text(summary.run.finished_at or not_finished)
    yield "seconds a session", Text(duration(summary.seconds_per_session))
    for name, told in found.row.cost.in_words:
        yield name, Text(told)
    tokens = "not known" if found.prompt_tokens is None else f"about {found.prompt_tokens:,.0f}, as knowledge is today"
    yield "tokens a prompt", Text(tokens)


def _settings(settings: RunSettings) -> Iterable[tuple[str, RenderableType]]:
    def told(value: object, otherwise: str) -> Text:
        return Text(otherwise, style="dim") if value is None else Text(one_line(str(value)))

    adapters = ", ".join(f"{name} x {scale:g}" for name, scale in settings.adapters)
    yield "student", told(settings.student, "")
    yield "adapters", told(adapters or None, "none")
    yield "strategy", told(settings.strategy, "the usual one")
    yield "knowledge", told(", ".join(settings.knowledge) or None, "none")
    yield "sample", told(settings.sample, "none: all that there is")
    if settings.domains == "all":
        yield "domains", Text("all that the sample has knowledge of")
    yield "neighbours", told(settings.neighbours, "the usual number")
    yield "near by", told(settings.near, "words (BM25)")
    yield "budget", told(settings.budget, "the usual number of tokens")
    yield "context", told(settings.context, "the usual number of tokens")
    if settings.prompt_price is not None or settings.answer_price is not None:
        yield "prices", Text(f"{settings.prompt_price or 0:g} and {settings.answer_price or 0:g} a million tokens")
    yield "limit", told(settings.limit, "none: the whole split")
    if settings.limit is not None:
        yield "seed", told(settings.seed, "none: an earlier version took the first sessions as imported")


def _scores(found: "RunDetails") -> RenderableType:
    from kdtui.workflows.runs.evaluate import ScoreRow

    scores, name = found.row.scores, found.row.summary.run.name
    if scores is None:
        return Text(one_line(found.row.problem or ""))
    # The truth stays the last row: it is what the others are measured by.
    floors, truth = found.floors[:-1], found.floors[-1:]
    rows = [*floors, ScoreRow(f"{name} (this run)", scores, intent_floors=found.intent_floors), *truth]
    if not floors:
        return Group(scores_table(rows), Text("The floors to beat are not computed yet.", style="dim"))
    beaten = [floor.name for floor in floors if scores.pair_f1 > floor.scores.pair_f1]
    others = [floor.name for floor in floors if scores.pair_f1 <= floor.scores.pair_f1]
    verdict = f"By pair F1 it beats {', '.join(beaten) or 'no floor'}"
    verdict += f", and does not beat {', '.join(others)}." if others else "."
    if scores.sessions < found.row.summary.sessions:
        verdict += f" It has answered {counted(scores.sessions, 'session')} only; the floors are over all of them."
    return Group(scores_table(rows, here=f"{name} (this run)"), Text(), Text(verdict))


def _failures(found: "RunDetails") -> RenderableType:
    if not found.failures:
        return Text("none: each session that was asked for has an answer", style="dim")
    shown = [(failure.session, failure.error or "") for failure in found.failures]
    grid = _grid((one_line(session, 60), Text(one_line(error, 400))) for session, error in shown)
    more = found.row.summary.failed - len(shown)
    return Group(grid, Text(f"and {more:,} more")) if more else grid
