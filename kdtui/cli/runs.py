"""`kdtui run`: list, compare and annotate the runs of kdtui evaluate."""

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
"""Maximum number of failed sessions in a table."""

RunArgument = Annotated[
    int, typer.Argument(help="Number of a run.", metavar="RUN", max=LARGEST, autocompletion=completion.names("runs"))
]


@app.command("ls", examples=["kdtui run ls", "kdtui run ls --tag thesis --format markdown"])
def ls(
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", help="Only runs with this tag; may be repeated, for runs with all of them.", metavar="WORD"
        ),
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """List all runs with their scores over the answered sessions."""
    from kdtui.workflows.runs.runs import score_runs
    from store.runs import list_runs

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        every = list_runs(store)
        chosen = [each for each in every if set(tag or ()) <= set(each.run.tags)]
        with progress_of("scores", sum(each.sessions for each in chosen)) as check:
            rows = sorted(score_runs(store, chosen, check=check), key=lambda row: row.summary.run.id)
    nothing = f"there is no run yet; make one with: {next_command('evaluate', '--dataset', 'NAME')}"
    if every and tag:
        nothing = f"none of {counted(len(every), 'run')} has the tag {' and '.join(tag)}"
    columns = {title: [value(row) for row in rows] for title, value in _COLUMNS.items()}
    # A column that is empty in every row is left out.
    shown = {title: values for title, values in columns.items() if any(value != "" for value in values)}
    print_table(
        list(shown),
        zip(*shown.values(), strict=True),
        wide=_WIDE,
        output=printed_as,
        records=(row.to_json() for row in rows),
        empty=nothing,
    )


def _subset(summary: "RunSummary") -> str:
    """Describe the subset of its split that a run is about; empty if it is about all sessions."""
    from kdtui.workflows.runs.session_selection import SessionSelection

    selection = SessionSelection.by(summary)
    if selection.limit is None:
        return ""
    return f"of {selection.split_size:,}, " + ("the first" if selection.seed is None else f"seed {selection.seed}")


def _student(row: "RunRow") -> str:
    from kdtui.workflows.student.settings import base_label

    return base_label(row.summary.run.settings)


def _tokens(row: "RunRow") -> object:
    """Return the prompt and answer tokens of a session; empty if unknown."""
    prompt, written = row.cost.prompt_tokens, row.cost.completion_tokens
    return "" if prompt is None or written is None else round(prompt + written)


def _adapters(row: "RunRow") -> str:
    from kdtui.workflows.student.settings import adapter_names

    return ", ".join(adapter_names(row.summary.run.settings))


_COLUMNS: "dict[str, Callable[[RunRow], object]]" = {
    # As text, without thousands separators: users type this number.
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
    database: DatabaseOption = None,
) -> None:
    """Show a run in full: settings, scores next to the floors, errors, and how to repeat it."""
    import msgspec

    from kdtui.errors import KdtuiError
    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.floors import floors_over
    from kdtui.workflows.runs.published import published_results
    from kdtui.workflows.runs.runs import run_details
    from kdtui.workflows.runs.session_selection import SessionSelection
    from kdtui.workflows.student.command_options import evaluate_arguments, resume_arguments
    from store.runs import summary_of

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        summary = summary_of(store, number)
        selection = SessionSelection.by(summary)
        if published and not summary.is_over:
            raise KdtuiError(
                f"published results are about all sessions, and run {number} is not finished; resume it with: "
                f"{next_command(*resume_arguments(number), database=database)}, or leave out --published"
            )
        others = published_results(store, selection) if published else []
        # The dataset may have lost this split since; then there are no floors.
        floors: list[ScoreRow] = []
        if selection.split_size and summary.is_over:
            with progress_of("floors", summary.sessions) as check:
                floors = floors_over(store, selection, check=check)
        with progress_of("scores", summary.sessions) as check:
            most = None if printed_as == "json" else _FAILURES
            full = run_details(store, summary, floors=tuple(floors), most_failures=most, check=check)
    row, run = full.row, full.row.summary.run
    repeat = next_command(*evaluate_arguments(run.dataset, run.split, run.settings), database=database)
    if printed_as == "json":
        print_json(
            {
                **row.to_json(),
                "settings": msgspec.to_builtins(run.settings),
                "prompt_tokens": full.prompt_tokens,
                "intent_floors": {name: scores.to_json() for name, scores in full.intent_floors.items()} or None,
                "floors": [floor.to_json() for floor in full.floors],
                **({"published": [{**other.to_json(), "source": other.source} for other in others]} if others else {}),
                "errors": {failure.session: failure.error for failure in full.failures},
                "repeat": repeat,
            }
        )
        return
    settings = [(name, _setting_text(value)) for name, value in msgspec.to_builtins(run.settings).items() if value]
    print_table(
        ["" if printed_as == "table" else "what", f"run {run.id}"],
        [
            ("name", run.name),
            ("dataset", f"{run.dataset} {run.split}"),
            *([("tags", ", ".join(run.tags))] if run.tags else []),
            *([("note", run.note)] if run.note else []),
            ("which sessions", selection.in_words),
            (
                "sessions",
                f"{row.summary.answered:,} of {row.summary.sessions:,} answered, {row.summary.failed:,} failed",
            ),
            ("began", run.created_at),
            ("state", _state(row.summary)),
            ("seconds a session", row.summary.seconds_per_session),
            *row.cost.in_words,
            ("tokens a prompt, about", None if full.prompt_tokens is None else round(full.prompt_tokens)),
            *settings,
        ],
        wide=[f"run {run.id}"],
        output=printed_as,
    )
    rows: list[ScoreRow | PublishedRow] = [*full.floors[:-1], *others, *full.floors[-1:]]
    if row.scores is not None:
        rows = with_run(rows, run, ScoreRow(run.name, row.scores, row.cost, full.intent_floors))
    if rows:
        print_gap(printed_as)
        print_rows(rows, printed_as)
    if full.failures:
        print_gap(printed_as)
        print_table(
            ["session", "why it has no answer"],
            [(failure.session, failure.error) for failure in full.failures],
            wide=["why it has no answer"],
            output=printed_as,
        )
        if (more := row.summary.failed - len(full.failures)) > 0:
            say(f"and {more:,} more; --json lists all")
    if not row.summary.is_over:
        say(f"resume with: {next_command(*resume_arguments(run.id), database=database)}")
    if selection.are_the_first:
        say(
            "this run has the first sessions in order of import, as earlier versions chose them; --resume keeps them, "
            "and a new run draws sessions at random"
        )
    say(f"repeat it with: {repeat}")


@app.command("compare", examples=["kdtui run compare 1 2"])
def compare(
    one: RunArgument,
    other: RunArgument,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Compare two runs session by session, beginning with the sessions in which the second run loses most.

    Then come all scores over these sessions, with the costs of a session; JSON and CSV have only the sessions.
    """
    from kdtui.workflows.runs.runs import compare_runs
    from store.runs import summary_of

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        first, second = summary_of(store, one), summary_of(store, other)
        with progress_of("sessions", min(first.answered, second.answered)) as check:
            comparison = compare_runs(store, first.run, second.run, check=check)
    names = [f"run {run.id}" for run in comparison.runs]
    print_table(
        ["session", *(f"{name}\npair F1" for name in names), "difference", *(f"{name}\nexact" for name in names)],
        [
            (row.session, *row.f1, f"{row.difference:+.3f}", *("yes" if exact else "no" for exact in row.exact))
            for row in comparison.rows
        ],
        output=printed_as,
        records=(
            {
                "session": row.session,
                "products": row.products,
                "bundles": row.bundles,
                "pair_f1": list(row.f1),
                "exact": list(row.exact),
                "difference": row.difference,
            }
            for row in comparison.rows
        ),
    )
    if printed_as == "json":
        return
    if printed_as in ("table", "markdown"):
        print_gap(printed_as)
        print_rows(comparison.results, printed_as)
    say(
        f"over {counted(len(comparison.rows), 'session')} run {other} is better on {comparison.won:,}, "
        f"worse on {comparison.lost:,}, and equal on {comparison.equal:,}; "
        f"pair F1 {comparison.means[0]:.3f} and {comparison.means[1]:.3f}"
    )
    if any(comparison.alone):
        say(
            f"left out: {counted(comparison.alone[0], 'session')} that only run {one} has answered, "
            f"and {comparison.alone[1]:,} that only run {other} has answered"
        )


@app.command("tag", examples=["kdtui run tag 1 thesis", "kdtui run tag 1 thesis --remove"])
def tag(
    number: RunArgument,
    words: Annotated[list[str], typer.Argument(help="Tags, each one word.", metavar="WORD…")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove these tags instead.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Add tags to a run, or remove them; kdtui run ls --tag WORD finds the run."""
    from store.runs import tag_run

    with open_store(database) as store:
        run = tag_run(store, number, add=() if remove else words, remove=words if remove else ())
    say(f"run {number} has the tags {', '.join(run.tags)}" if run.tags else f"run {number} has no tags")


@app.command("note", examples=["kdtui run note 1 'with the new titles'"])
def note(
    number: RunArgument,
    text: Annotated[str, typer.Argument(help="The note; an empty text removes it.")],
    database: DatabaseOption = None,
) -> None:
    """Set the note of a run, in place of an earlier one."""
    from store.runs import note_run

    with open_store(database) as store:
        run = note_run(store, number, text)
    say(f"run {number} has the note: {run.note}" if run.note else f"run {number} has no note now")


@app.command("rm", examples=["kdtui run rm 1", "kdtui run rm 1 3-5 --yes"])
def rm(
    numbers: Annotated[
        list[str],
        typer.Argument(help="Numbers of runs, or ranges: 3-5.", metavar="RUN", autocompletion=completion.names("runs")),
    ],
    yes: YesOption = False,
    database: DatabaseOption = None,
) -> None:
    """Delete runs with their answers."""
    from kdtui.workflows.number_ranges import parse_numbers
    from store.runs import delete_run, summary_of

    with open_store(database) as store:
        chosen = {}
        for number in parse_numbers(" ".join(numbers)):
            summary = summary_of(store, number)
            about = f"{summary.run.name} on {summary.run.dataset} {summary.run.split}"
            chosen[number] = [about, *counts({"answer": summary.answered})]
        confirm_removal({f"run {number}": notes for number, notes in chosen.items()}, yes=yes)
        for number, notes in chosen.items():
            delete_run(store, number)
            say(", ".join([f"deleted run {number}", *notes]))


def _state(summary: "RunSummary") -> str:
    return "finished" if summary.is_over else "unfinished"


def _setting_text(value: object) -> object:
    """Return a setting as one value; lists become text."""
    if not isinstance(value, list | tuple):
        return value
    return ", ".join(" x ".join(map(str, each)) if isinstance(each, list | tuple) else str(each) for each in value)
