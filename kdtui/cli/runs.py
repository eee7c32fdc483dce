"""`kdtui run`: the runs that `kdtui evaluate` has made."""

from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.bundling.text import counted
from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import LARGEST, DatabaseOption, JsonOption, OutputOption, chosen_output, next_command, open_store
from kdtui.cli.output import print_gap, print_json, print_table, say
from kdtui.cli.removal import YesOption, confirm_removal, counts

if TYPE_CHECKING:
    from store.runs import RunSummary

app = App(
    "List, show, compare and delete runs.", examples=["kdtui run ls", "kdtui run compare 1 2"], no_args_is_help=True
)

RunArgument = Annotated[
    int, typer.Argument(help="Number of a run.", metavar="RUN", max=LARGEST, autocompletion=completion.names("runs"))
]


@app.command("ls", examples=["kdtui run ls", "kdtui run ls --format markdown"])
def ls(output: OutputOption = None, as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """List all runs with their scores over what they have answered."""
    from kdtui.workflows.runs import score_runs
    from store.runs import list_runs

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        rows = sorted(score_runs(store, list_runs(store)), key=lambda row: row.summary.run.id)
    print_table(
        ["run", "name", "dataset", "split", "sessions", "strict\nP", "strict\nR", "pair\nF1", "s", "state"],
        [
            (
                # As text: with commas a number is no name any more.
                str(row.summary.run.id),
                row.summary.run.name,
                row.summary.run.dataset,
                row.summary.run.split,
                f"{row.summary.answered:,}/{row.summary.sessions:,}",
                row.scores and row.scores.strict_precision,
                row.scores and row.scores.strict_recall,
                row.scores and row.scores.pair_f1,
                row.summary.seconds_per_session,
                _state(row.summary),
            )
            for row in rows
        ],
        wide=["name", "dataset"],
        output=told,
        records=(row.to_json() for row in rows),
        empty="there is no run yet; make one with: kdtui evaluate --dataset NAME",
    )


@app.command("show", examples=["kdtui run show 1"])
def show(
    number: RunArgument, output: OutputOption = None, as_json: JsonOption = False, db: DatabaseOption = None
) -> None:
    """Show a run in full: settings, scores beside the floors, errors, and how to repeat it."""
    import msgspec

    from kdtui.cli.evaluate import print_rows
    from kdtui.workflows.command_options import evaluate_arguments, resume_arguments
    from kdtui.workflows.evaluate import ResultRow
    from kdtui.workflows.runs import run_in_full
    from store.runs import summary_of

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        found = run_in_full(store, summary_of(store, number))
    row, run = found.row, found.row.summary.run
    repeat = next_command(*evaluate_arguments(run.dataset, run.split, run.settings), db=db)
    if told == "json":
        print_json(
            {
                **row.to_json(),
                "settings": msgspec.to_builtins(run.settings),
                "prompt_tokens": found.prompt_tokens,
                "floors": [floor.to_json() for floor in found.floors],
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
            (
                "sessions",
                f"{row.summary.answered:,} of {row.summary.sessions:,} answered, {row.summary.failed:,} failed",
            ),
            ("began", run.created_at),
            ("state", _state(row.summary)),
            ("seconds a session", row.summary.seconds_per_session),
            ("tokens a prompt, about", None if found.prompt_tokens is None else round(found.prompt_tokens)),
            *settings,
        ],
        wide=[f"run {run.id}"],
        output=told,
    )
    rows = list(found.floors)
    if row.scores is not None:
        # The truth stays the last row: it is what the others are measured by.
        rows.insert(max(0, len(rows) - 1), ResultRow(run.name, row.scores))
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
    if not row.summary.is_over:
        say(f"go on with: {next_command(*resume_arguments(run.id), db=db)}")
    say(f"repeat it with: {repeat}")


@app.command("compare", examples=["kdtui run compare 1 2"])
def compare(
    one: RunArgument,
    other: RunArgument,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Compare two runs session by session, those first where the second does worst."""
    from kdtui.workflows.runs import compare_runs
    from store.runs import get_run

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        found = compare_runs(store, get_run(store, one), get_run(store, other))
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
    say(
        f"over {counted(len(found.rows), 'session')} run {other} is better on {found.won:,}, worse on {found.lost:,}, "
        f"and equal on {found.equal:,}; pair F1 {found.means[0]:.3f} and {found.means[1]:.3f}"
    )
    if any(found.alone):
        say(
            f"left out: {counted(found.alone[0], 'session')} that only run {one} has answered, {found.alone[1]:,} only "
            f"{other}"
        )


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
