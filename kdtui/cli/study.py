"""`kdtui study`: grids of students, such as the experiments of the paper."""

from pathlib import Path
from typing import Annotated

import typer

from kdtui.cli import completion, study_run
from kdtui.cli.commands import App
from kdtui.cli.options import (
    DatabaseOption,
    JsonOption,
    OutputOption,
    chosen_output,
    open_store,
)
from kdtui.cli.output import print_table, print_text, say
from kdtui.cli.removal import YesOption, confirm_removal
from kdtui.text import counted

app = App(
    "Run a grid of students, and compare them with statistics.",
    examples=["kdtui study run rq3 --dataset demo-outdoor", "kdtui study show rq3-demo-outdoor"],
    no_args_is_help=True,
)

StudyArgument = Annotated[
    str, typer.Argument(help="Name of a study.", metavar="NAME", autocompletion=completion.names("studies"))
]


# The help lists the commands in this order.
app.command(
    "run",
    examples=[
        "kdtui study run rq3 --dataset demo-outdoor --dry-run",
        "kdtui study run rq1 --dataset electronic --sessions 60",
        "kdtui study run my-study.toml --retry-failed",
        "kdtui study run rq3-demo-outdoor --retry-failed --cell 'smollm2 zero-shot'",
    ],
)(study_run.run)


@app.command("ls", examples=["kdtui study ls"])
def ls(output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None) -> None:
    """List the studies and their progress."""
    from kdtui.workflows.studies.overview import study_rows

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        rows = study_rows(store)
    print_table(
        ["study", "from", "datasets", "split", "cells", "done", "failed", "state"],
        [
            (
                row.name,
                row.source,
                ", ".join(row.datasets),
                row.split,
                row.cells,
                row.done,
                row.failed,
                row.state,
            )
            for row in rows
        ],
        wide=["study", "datasets", "state"],
        output=printed_as,
        records=[row.to_json() for row in rows],
        empty="there is no study yet; run one with: kdtui study run rq3 --dataset NAME",
    )


@app.command("show", examples=["kdtui study show rq3-demo-outdoor", "kdtui study show rq3-demo-outdoor --spec"])
def show(
    name: StudyArgument,
    spec: Annotated[bool, typer.Option("--spec", help="Print the study as a TOML file.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Show the cells of a study, with their progress and scores."""
    from kdtui.workflows.studies.overview import cell_rows, open_study

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        study, plan = open_study(store, name)
        if spec:
            print_text(study.spec.rstrip("\n"))
            return
        rows = cell_rows(store, plan)
    print_table(
        ["cell", "state", "run", "strict\nP", "strict\nR", "pair\nF1", "exact", "s"],
        [
            (
                row.label,
                row.state,
                row.run or "",
                row.strict_precision,
                row.strict_recall,
                row.pair_f1,
                row.exact,
                row.seconds,
            )
            for row in rows
        ],
        wide=["cell", "state"],
        output=printed_as,
        records=[row.to_json() for row in rows],
    )


@app.command(
    "report",
    examples=["kdtui study report rq3-demo-outdoor", "kdtui study report rq3-demo-outdoor --output reports"],
)
def report(
    name: StudyArgument,
    folder: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write to.", metavar="FOLDER", file_okay=False)
    ] = Path(),
    database: DatabaseOption = None,
) -> None:
    """Write the report of a study as one self-contained HTML file and as Markdown.

    The study need not be complete; the report says what is missing.
    """
    from kdtui.workflows.studies.overview import open_study
    from kdtui.workflows.studies.report import write_report

    with open_store(database) as store:
        _, plan = open_study(store, name)
        written = write_report(store, plan, folder)
    for path in written:
        print(path)


@app.command("answers", examples=["kdtui study answers rq3-demo-outdoor"])
def answers(
    name: StudyArgument, output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None
) -> None:
    """Answer each question of a study in a sentence, and list its comparisons."""
    from dataclasses import asdict

    from kdtui.bundling.tables import markdown_text
    from kdtui.workflows.studies.overview import open_study
    from kdtui.workflows.studies.results import study_results
    from kdtui.workflows.studies.verdicts import comparison_in_words

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        _, plan = open_study(store, name)
        results = study_results(store, plan)
    records = []
    for section in results.questions:
        names = {row.name: row.label_in(section.question) for row in section.rows}
        if printed_as in ("table", "markdown"):
            heading = markdown_text if printed_as == "markdown" else str
            paragraphs = [section.question.title, section.answer, *([section.caveat] if section.caveat else [])]
            print_text(("\n\n" if printed_as == "markdown" else "\n").join(map(heading, paragraphs)))
            print_table(
                ["cell", "baseline", "difference"],
                [(names[each.other], names[each.baseline], comparison_in_words(each)) for each in section.comparisons],
                wide=["cell", "baseline", "difference"],
                output=printed_as,
            )
        elif not section.comparisons:
            say(f"{section.question.title}: {section.answer}")
        records += [
            {
                "question": section.question.title,
                "answer": section.answer,
                **asdict(each),
                "phrase": comparison_in_words(each),
            }
            for each in section.comparisons
        ]
    if printed_as in ("json", "csv") and records:
        print_table([], [], output=printed_as, records=records)


@app.command(
    "export",
    examples=[
        "kdtui study export rq3-demo-outdoor --output rq3.csv",
        "kdtui study export rq3-demo-outdoor --output rq3.parquet",
    ],
)
def export(
    name: StudyArgument,
    path: Annotated[
        Path,
        typer.Option("--output", "-o", help="File ending in .csv or .parquet; - for CSV on stdout.", metavar="FILE"),
    ] = Path("-"),
    database: DatabaseOption = None,
) -> None:
    """Export the measures of a study as a tidy table: one row for each cell and session."""
    from kdtui.errors import KdtuiError
    from kdtui.workflows.studies.export import export_rows, write_csv, write_parquet
    from kdtui.workflows.studies.overview import open_study

    # Pipes and devices can have any name, and get CSV.
    if path.suffix.lower() not in (".csv", ".parquet") and (path.is_file() or not path.exists()) and str(path) != "-":
        raise KdtuiError(f"{path}: the format is unknown; name a file ending in .csv or .parquet")
    with open_store(database) as store:
        _, plan = open_study(store, name)
        write = write_parquet if path.suffix.lower() == ".parquet" else write_csv
        count = write(path, export_rows(store, plan))
    say(f"wrote {counted(count, 'row')} to {path}")


@app.command("rm", examples=["kdtui study rm rq3-demo-outdoor"])
def rm(name: StudyArgument, yes: YesOption = False, database: DatabaseOption = None) -> None:
    """Delete a study. Its runs, samples and adapters stay, because other studies may share them."""
    from store.studies import delete_study, get_study

    with open_store(database) as store:
        get_study(store, name)
        confirm_removal({f"study {name}": ["its runs, samples and adapters stay"]}, yes=yes)
        delete_study(store, name)
    say(f"deleted study {name}; its runs, samples and adapters stay")
