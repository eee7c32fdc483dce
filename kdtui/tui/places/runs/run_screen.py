"""A run in full: settings, scores next to the floors, errors, and commands."""

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
from kdtui.tui.places.runs.rows import share, short_seconds
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
    from kdtui.workflows.runs.session_selection import SessionSelection
    from store.runs import RunSummary
    from store.sqlite import Database

_METRICS = (*EVERY_SESSION, *ANSWERED, *INTENTS)

_FAILURES = 200
"""Most failed sessions listed; `kdtui run show --json` lists them all."""


class RunRead(Message):
    """The details of the run were read from the store."""

    def __init__(self, details: "RunDetails", named_database: Path | None) -> None:
        super().__init__()
        self.details, self.named_database = details, named_database


class RunScreen(StoreScreen[bool]):
    """A run in full. The result says whether to resume it.

    Args:
        floors: over the same sessions; None if they are not computed yet.
        evaluation: the running evaluation, maybe of another run; None if there is none.
        place: the place that opens the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("run", "screen")
    AUTO_FOCUS = "#full"

    def __init__(
        self,
        database: Path,
        summary: "RunSummary",
        floors: "Sequence[ScoreRow] | None",
        evaluation: "EvaluationActivity | None",
        *,
        place: str = "runs",
    ) -> None:
        super().__init__(database)
        self._summary = summary
        self._floors = floors
        self._evaluation = evaluation
        self._place = place

    def compose(self) -> ComposeResult:
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
        """Load the run after the first paint."""
        self.call_after_refresh(self._load)

    @property
    def number(self) -> int:
        return self._summary.run.id

    def show_floors(self, floors: "Sequence[ScoreRow]") -> None:
        """Show the run next to floors that are computed now."""
        self._floors = floors
        self._load()

    def end_evaluation(self) -> None:
        """Note that the evaluation ended, and show its results."""
        self._evaluation = None
        self._load()

    @property
    def _is_running(self) -> bool:
        """Whether this app evaluates the run now."""
        return self._evaluation is not None and self._evaluation.run == self.number

    def action_reload(self) -> None:
        """Load the run again."""
        self._load()

    def _load(self) -> None:
        number, floors = self.number, tuple(self._floors or ())

        def question(db: "Database") -> "tuple[RunDetails, Path | None]":
            from kdtui.workflows.runs.runs import run_details
            from store.runs import summary_of

            summary = summary_of(db, number)
            details = run_details(db, summary, floors=floors, most_failures=_FAILURES, check=still_wanted)
            return details, named_database(self.database)

        self.ask(question, lambda answer: RunRead(*answer), group="run")

    def on_run_read(self, message: RunRead) -> None:
        """Show the details of the run."""
        details = message.details
        self._summary = details.row.summary
        run = self._summary.run
        repeat = command_line(evaluate_arguments(run.dataset, run.split, run.settings), database=message.named_database)
        resume = command_line(resume_arguments(run.id), database=message.named_database)
        show = command_line(("run", "show"), str(run.id), database=message.named_database)
        commands = {"to show this": show, "to repeat it": repeat}
        can_resume = not self._summary.is_over and not self._is_running
        if can_resume:
            commands["to resume it"] = resume
        self.query_one("#everything", Static).update(
            Group(
                _grid(_facts(details, self._not_finished)),
                *_part("Scores", _scores(details)),
                *_part("Settings", _grid(_settings(run.settings))),
                *_part("Errors", _failures(details)),
                *_part("Commands", _grid((name, Text(one_line(each))) for name, each in commands.items())),
            )
        )
        self.show_command(resume if can_resume else show if self._is_running else repeat)
        self.refresh_bindings()

    @property
    def _not_finished(self) -> str:
        """The text in place of the end of an unfinished run."""
        if self._is_running:
            return f"not yet: this app is evaluating it; {self.kdtui.key_of('screen.reload')} updates these numbers"
        return "not yet"

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen, since nothing else is shown."""
        self.query_one("#everything", Static).update(Text(one_line(message.sentence)))

    def action_scroll(self, way: str) -> None:
        scroll(self.query_one("#full", VerticalScroll), way)

    def action_resume(self) -> None:
        """Return to the list, and resume the run there."""
        self.dismiss(True)

    def action_back(self) -> None:
        """Return to the list."""
        self.dismiss(False)

    def why_not(self, action: str) -> str | None:
        if action == "resume":
            if self._summary.is_over:
                return "the run is finished"
            if self._is_running:
                return "this app is evaluating the run already"
            if self._evaluation is not None:
                return "an evaluation is running"
        return super().why_not(action)


class FloorsDialog(TextDialog):
    """The floors over some sessions, with all metrics."""

    def __init__(self, selection: "SessionSelection", rows: "Sequence[ScoreRow]") -> None:
        table = scores_table(rows)
        copies = "\n".join("\t".join([row.name, *(_metric(row, name) for name, _ in _METRICS)]) for row in rows)
        super().__init__(f"Floors of {selection.dataset} {selection.split}, {selection.in_words}", table, copies=copies)


def scores_table(rows: "Iterable[ScoreRow]", *, highlighted: str | None = None) -> RenderableType:
    """Return tables of all metrics of some rows, with explanations.

    Args:
        highlighted: the name of the row that stands out.
    """
    rows = list(rows)
    return Group(
        Text("Over all sessions: strict precision and recall, F1 of pairs, exact sets of bundles", style="dim"),
        _metrics_table(rows, EVERY_SESSION, highlighted),
        Text(),
        Text(
            "Over the n sessions with a predicted bundle: the paper's precision, recall and coverage; bundles that "
            "equal a true one, and the greedy Jaccard score",
            style="dim",
        ),
        _metrics_table(rows, ANSWERED, highlighted),
        *_intents(rows, highlighted),
    )


def _intents(rows: "list[ScoreRow]", highlighted: str | None) -> Iterator[RenderableType]:
    """Yield how close the intents are to those of people; nothing if no row has intents."""
    named = [row for row in rows if has_intent_scores(row.scores)]
    if named:
        count = max(row.scores.intent_bundles for row in named)
        yield Text()
        yield Text(f"Intents, over those of {counted(count, 'true bundle')} that a predicted one overlaps", style="dim")
        if any(row.intent_floors for row in named):
            yield Text("Below a run, its own bundles with other intents", style="dim")
        yield _metrics_table(named, INTENTS, highlighted, with_intent_floors=True)


def _metrics_table(
    rows: "list[ScoreRow]",
    metrics: Iterable[tuple[str, str]],
    highlighted: str | None,
    *,
    with_intent_floors: bool = False,
) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(min_width=10, overflow="fold")
    for _ in metrics:
        table.add_column(justify="right", no_wrap=True)
    table.add_row("", *(Text(label, style="bold") for _, label in metrics))
    for row in rows:
        stands_out = row.name == highlighted
        name = Text(f"▸{one_line(row.name, 100)}" if stands_out else f" {one_line(row.name, 100)}")
        table.add_row(name, *(Text(_metric(row, metric)) for metric, _ in metrics), style="bold" if stands_out else "")
        for floor, scores in row.intent_floors.items() if with_intent_floors else ():
            table.add_row(Text(f" {IN_WORDS[floor]}"), str(scores.matched), *map(share, _means(scores)))
    return table


def _means(scores: "IntentScores") -> tuple[float, float, float]:
    """Return the scores in the order of `INTENTS`, without the number of matched intents."""
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


def _facts(details: "RunDetails", not_finished: str) -> Iterable[tuple[str, RenderableType]]:
    from kdtui.workflows.runs.session_selection import SessionSelection

    summary = details.row.summary
    failed = f", {summary.failed:,} of them without bundles" if summary.failed else ""
    yield "sessions", Text(f"{summary.answered:,} of {summary.sessions:,} answered{failed}")
    yield "which sessions", Text(SessionSelection.by(summary).in_words)
    if summary.run.tags:
        yield "tags", Text(", ".join(summary.run.tags))
    if summary.run.note:
        yield "note", Text(one_line(summary.run.note))
    yield "began", Text(summary.run.created_at)
    yield "finished", Text(summary.run.finished_at or not_finished)
    yield "seconds a session", Text(short_seconds(summary.seconds_per_session))
    for name, value in details.row.cost.in_words:
        yield name, Text(value)
    tokens = (
        "not known" if details.prompt_tokens is None else f"about {details.prompt_tokens:,.0f}, with today's knowledge"
    )
    yield "tokens a prompt", Text(tokens)


def _settings(settings: RunSettings) -> Iterable[tuple[str, RenderableType]]:
    def shown(value: object, default: str) -> Text:
        return Text(default, style="dim") if value is None else Text(one_line(str(value)))

    adapters = ", ".join(f"{name} x {scale:g}" for name, scale in settings.adapters)
    yield "student", shown(settings.student, "")
    yield "adapters", shown(adapters or None, "none")
    yield "strategy", shown(settings.strategy, "the usual one")
    yield "knowledge", shown(", ".join(settings.knowledge) or None, "none")
    yield "sample", shown(settings.sample, "none: all knowledge")
    if settings.domains == "all":
        yield "domains", Text("all that the sample has knowledge of")
    yield "neighbours", shown(settings.neighbours, "the usual number")
    yield "near by", shown(settings.near, "words (BM25)")
    yield "budget", shown(settings.budget, "the usual number of tokens")
    yield "context", shown(settings.context, "the usual number of tokens")
    if settings.prompt_price is not None or settings.answer_price is not None:
        yield "prices", Text(f"{settings.prompt_price or 0:g} and {settings.answer_price or 0:g} a million tokens")
    yield "limit", shown(settings.limit, "none: the whole split")
    if settings.limit is not None:
        yield "seed", shown(settings.seed, "none: an earlier version took the first sessions as imported")


def _scores(details: "RunDetails") -> RenderableType:
    from kdtui.workflows.runs.evaluate import ScoreRow

    scores, name = details.row.scores, details.row.summary.run.name
    if scores is None:
        return Text(one_line(details.row.problem or ""))
    # The truth stays the last row, since the others are measured against it.
    floors, truth = details.floors[:-1], details.floors[-1:]
    rows = [*floors, ScoreRow(f"{name} (this run)", scores, intent_floors=details.intent_floors), *truth]
    if not floors:
        when = "are not computed yet" if details.row.summary.is_over else "appear here when the run is finished"
        return Group(scores_table(rows), Text(f"The floors to beat {when}.", style="dim"))
    beaten = [floor.name for floor in floors if scores.pair_f1 > floor.scores.pair_f1]
    others = [floor.name for floor in floors if scores.pair_f1 <= floor.scores.pair_f1]
    verdict = f"By pair F1 it beats {', '.join(beaten) or 'no floor'}"
    verdict += f", and does not beat {', '.join(others)}." if others else "."
    if scores.sessions < details.row.summary.sessions:
        verdict += f" It has answered only {counted(scores.sessions, 'session')} so far; the floors are over these."
    return Group(scores_table(rows, highlighted=f"{name} (this run)"), Text(), Text(verdict))


def _failures(details: "RunDetails") -> RenderableType:
    if not details.failures:
        return Text("none: each session that was asked for has an answer", style="dim")
    shown = [(failure.session, failure.error or "") for failure in details.failures]
    grid = _grid((one_line(session, 60), Text(one_line(error, 400))) for session, error in shown)
    more = details.row.summary.failed - len(shown)
    return Group(grid, Text(f"and {more:,} more")) if more else grid
