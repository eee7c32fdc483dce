"""`kdtui run`: the runs that `kdtui evaluate` has made."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import LARGEST, DatabaseOption, JsonOption, OutputOption, chosen_output, next_command, open_store
from kdtui.cli.output import print_gap, print_json, print_table, say
from kdtui.cli.removal import YesOption, confirm_removal, counts
from kdtui.cli.results import PublishedOption, print_rows, progress_of, with_run
from kdtui.text import counted
from kdtui.workflows.calls.costs import cost_text

if TYPE_CHECKING:
    from kdtui.workflows.runs.published import PublishedRow
    from kdtui.workflows.runs.runs import RunRow
    from store.runs import RunSummary

app = App(
    "List, show, compare, tag and delete runs.",
    examples=["kdtui run ls", "kdtui run compare 1 2"],
    no_args_is_help=True,
)

_FAILURES = 200
"""Sessions without an answer that a table lists."""

RunArgument = Annotated[
    int, typer.Argument(help="Number of a run.", metavar="RUN", max=LARGEST, autocompletion=completion.names("runs"))
]


@app.command("ls", examples=["kdtui run ls", "kdtui run ls --tag thesis --format markdown"])
def ls(
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Only runs under this word; may be repeated, for those under all.", metavar="WORD"),
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """List all runs with their scores over what they have answered."""
    from kdtui.workflows.runs.runs import score_runs
    from store.runs import list_runs

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        every = list_runs(store)
        wanted = [each for each in every if set(tag or ()) <= set(each.run.tags)]
        with progress_of("scores", sum(each.sessions for each in wanted)) as check:
            rows = sorted(score_runs(store, wanted, check=check), key=lambda row: row.summary.run.id)
    nothing = f"there is no run yet; make one with: {next_command('evaluate', '--dataset', 'NAME')}"
    if every and tag:
        nothing = f"none of {counted(len(every), 'run')} is under {' and '.join(tag)}"
    columns = {title: [value(row) for row in rows] for title, value in _COLUMNS.items()}
    # What no run has would only take room.
    shown = {title: values for title, values in columns.items() if any(value != "" for value in values)}
    print_table(
        list(shown),
        zip(*shown.values(), strict=True),
        wide=_WIDE,
        output=told,
        records=(row.to_json() for row in rows),
        empty=nothing,
    )


def _subset(summary: "RunSummary") -> str:
    """Of which sessions of its split a run is about a part, and how they were chosen; empty where of all."""
    from kdtui.workflows.runs.scored import ScoredSessions

    scored = ScoredSessions.by(summary)
    if scored.limit is None:
        return ""
    return f"of {scored.split_size:,}, " + ("the first" if scored.seed is None else f"seed {scored.seed}")


def _student(row: "RunRow") -> str:
    from kdtui.workflows.student.settings import base_label

    return base_label(row.summary.run.settings)


def _tokens(row: "RunRow") -> object:
    """Read and written for a session; empty where not known."""
    prompt, written = row.cost.prompt_tokens, row.cost.completion_tokens
    return "" if prompt is None or written is None else round(prompt + written)


def _adapters(row: "RunRow") -> str:
    from kdtui.workflows.student.settings import adapter_names

    return ", ".join(adapter_names(row.summary.run.settings))


_COLUMNS: "dict[str, Callable[[RunRow], object]]" = {
    # As text: with commas a number is no name any more.
    "run": lambda row: str(row.summary.run.id),
    "student": _student,
    "knowledge": lambda row: ", ".join(row.summary.run.settings.knowledge),
    "sample": lambda row: row.summary.run.settings.sample or "",
    "ratio": lambda row: ", ".join(f"{ratio:g}" for ratio in row.ratios),
    "strategy": lambda row: row.summary.run.settings.strategy or "",
    "adapter": _adapters,
    "dataset": lambda row: row.summary.run.dataset,
    "split": lambda row: row.summary.run.split,
    "sessions": lambda row: f"{row.summary.answered:,}/{row.summary.sessions:,}",
    "subset": lambda row: _subset(row.summary),
    "strict\nP": lambda row: row.scores and row.scores.strict_precision,
    "strict\nR": lambda row: row.scores and row.scores.strict_recall,
    "pair\nF1": lambda row: row.scores and row.scores.pair_f1,
    "s": lambda row: row.summary.seconds_per_session,
    "tokens": lambda row: _tokens(row),
    "J": lambda row: "" if row.cost.joules is None else row.cost.joules,
    "money": lambda row: "" if row.cost.money is None else cost_text(row.cost.money),
    "state": lambda row: _state(row.summary),
    "tags": lambda row: ", ".join(row.summary.run.tags),
    "note": lambda row: row.summary.run.note,
}
_WIDE = ("student", "knowledge", "sample", "adapter", "dataset", "subset", "tags", "note")


@app.command("show", examples=["kdtui run show 1"])
def show(
    number: RunArgument,
    published: PublishedOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show a run in full: settings, scores beside the floors, errors, and how to repeat it."""
    import msgspec

    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.floors import floors_over
    from kdtui.workflows.runs.published import published_results
    from kdtui.workflows.runs.runs import run_details
    from kdtui.workflows.runs.scored import ScoredSessions
    from kdtui.workflows.student.command_options import evaluate_arguments, resume_arguments
    from store.runs import summary_of

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        summary = summary_of(store, number)
        scored = ScoredSessions.by(summary)
        others = published_results(store, scored) if published else []
        # A dataset that has no such split any more has none; what the run is stays true.
        floors: list[ScoreRow] = []
        if scored.split_size:
            with progress_of("floors", summary.sessions) as check:
                floors = floors_over(store, scored, check=check)
        with progress_of("scores", summary.sessions) as check:
            most = None if told == "json" else _FAILURES
            found = run_details(store, summary, floors=tuple(floors), most_failures=most, check=check)
    row, run = found.row, found.row.summary.run
    repeat = next_command(*evaluate_arguments(run.dataset, run.split, run.settings), db=db)
    if told == "json":
        print_json(
            {
                **row.to_json(),
                "settings": msgspec.to_builtins(run.settings),
                "prompt_tokens": found.prompt_tokens,
                "intent_floors": {name: scores.to_json() for name, scores in found.intent_floors.items()} or None,
                "floors": [floor.to_json() for floor in found.floors],
                **({"published": [{**other.to_json(), "source": other.source} for other in others]} if others else {}),
                "errors": {failure.session: failure.error for failure in found.failures},
                "repeat": repeat,
            }
        )
        return
    settings = [(name, _told(value)) for name, value in msgspec.to_builtins(run.settings).items() if value]
    print_table(
        ["" if told == "table" else "what", f"run {run.id}"],
        [
            ("name", run.name),
            ("dataset", f"{run.dataset} {run.split}"),
            *([("tags", ", ".join(run.tags))] if run.tags else []),
            *([("note", run.note)] if run.note else []),
            ("which sessions", scored.in_words),
            (
                "sessions",
                f"{row.summary.answered:,} of {row.summary.sessions:,} answered, {row.summary.failed:,} failed",
            ),
            ("began", run.created_at),
            ("state", _state(row.summary)),
            ("seconds a session", row.summary.seconds_per_session),
            *row.cost.in_words,
            ("tokens a prompt, about", None if found.prompt_tokens is None else round(found.prompt_tokens)),
            *settings,
        ],
        wide=[f"run {run.id}"],
        output=told,
    )
    rows: list[ScoreRow | PublishedRow] = [*found.floors[:-1], *others, *found.floors[-1:]]
    if row.scores is not None:
        rows = with_run(rows, run, ScoreRow(run.name, row.scores, row.cost, found.intent_floors))
    if rows:
        print_gap(told)
        print_rows(rows, told)
    if found.failures:
        print_gap(told)
        print_table(
            ["session", "why it has no answer"],
            [(failure.session, failure.error) for failure in found.failures],
            wide=["why it has no answer"],
            output=told,
        )
        if (more := row.summary.failed - len(found.failures)) > 0:
            say(f"and {more:,} more; --json has all")
    if not row.summary.is_over:
        say(f"go on with: {next_command(*resume_arguments(run.id), db=db)}")
    if scored.are_the_first:
        say("an earlier version took the first sessions as imported; --resume goes on with them, and a new run draws")
    say(f"repeat it with: {repeat}")


@app.command("compare", examples=["kdtui run compare 1 2"])
def compare(
    one: RunArgument,
    other: RunArgument,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Compare two runs session by session, those first where the second does worst.

    All scores over these sessions follow, with what a session cost; JSON and CSV have the sessions alone.
    """
    from kdtui.workflows.runs.runs import compare_runs
    from store.runs import summary_of

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        first, second = summary_of(store, one), summary_of(store, other)
        with progress_of("sessions", min(first.answered, second.answered)) as check:
            found = compare_runs(store, first.run, second.run, check=check)
    names = [f"run {run.id}" for run in found.runs]
    print_table(
        ["session", *(f"{name}\npair F1" for name in names), "difference", *(f"{name}\nexact" for name in names)],
        [
            (row.session, *row.f1, f"{row.difference:+.3f}", *("yes" if exact else "no" for exact in row.exact))
            for row in found.rows
        ],
        output=told,
        records=(
            {
                "session": row.session,
                "products": row.products,
                "bundles": row.bundles,
                "pair_f1": list(row.f1),
                "exact": list(row.exact),
                "difference": row.difference,
            }
            for row in found.rows
        ),
    )
    if told == "json":
        return
    if told in ("table", "markdown"):
        print_gap(told)
        print_rows(found.results, told)
    say(
        f"over {counted(len(found.rows), 'session')} run {other} is better on {found.won:,}, worse on {found.lost:,}, "
        f"and equal on {found.equal:,}; pair F1 {found.means[0]:.3f} and {found.means[1]:.3f}"
    )
    if any(found.alone):
        say(
            f"left out: {counted(found.alone[0], 'session')} that only run {one} has answered, {found.alone[1]:,} only "
            f"{other}"
        )


@app.command("tag", examples=["kdtui run tag 1 thesis", "kdtui run tag 1 thesis --remove"])
def tag(
    number: RunArgument,
    words: Annotated[list[str], typer.Argument(help="Tags, each one word.", metavar="WORD…")],
    remove: Annotated[bool, typer.Option("--remove", help="Take these tags away.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Put a run under words, to find it by: kdtui run ls --tag WORD."""
    from store.runs import tag_run

    with open_store(db) as store:
        run = tag_run(store, number, add=() if remove else words, remove=words if remove else ())
    say(f"run {number} has the tags {', '.join(run.tags)}" if run.tags else f"run {number} has no tags")


@app.command("note", examples=["kdtui run note 1 'with the new titles'"])
def note(
    number: RunArgument,
    text: Annotated[str, typer.Argument(help="What to note; nothing between quotes takes the note away.")],
    db: DatabaseOption = None,
) -> None:
    """Note something of a run, in place of what was noted before."""
    from store.runs import note_run

    with open_store(db) as store:
        run = note_run(store, number, text)
    say(f"run {number} is noted: {run.note}" if run.note else f"run {number} has no note any more")


@app.command("rm", examples=["kdtui run rm 1", "kdtui run rm 1 3-5 --yes"])
def rm(
    numbers: Annotated[
        list[str],
        typer.Argument(help="Numbers of runs, or ranges: 3-5.", metavar="RUN", autocompletion=completion.names("runs")),
    ],
    yes: YesOption = False,
    db: DatabaseOption = None,
) -> None:
    """Delete runs with their answers."""
    from kdtui.workflows.number_ranges import parse_numbers
    from store.runs import delete_run, summary_of

    with open_store(db) as store:
        chosen = {}
        for number in parse_numbers(" ".join(numbers)):
            summary = summary_of(store, number)
            about = f"{summary.run.name} on {summary.run.dataset} {summary.run.split}"
            chosen[number] = [about, *counts({"answer": summary.answered})]
        confirm_removal({f"run {number}": told for number, told in chosen.items()}, yes=yes)
        for number, told in chosen.items():
            delete_run(store, number)
            say(", ".join([f"deleted run {number}", *told]))


def _state(summary: "RunSummary") -> str:
    return "finished" if summary.is_over else "unfinished"


def _told(value: object) -> object:
    """A setting: what has several parts, as one text."""
    if not isinstance(value, list | tuple):
        return value
    return ", ".join(" x ".join(map(str, each)) if isinstance(each, list | tuple) else str(each) for each in value)
