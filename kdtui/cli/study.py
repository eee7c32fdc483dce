"""`kdtui study`: the experiment of the paper, on any dataset and student."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import (
    LARGEST,
    DatabaseOption,
    JsonOption,
    OutputOption,
    chosen_output,
    database_path,
    next_command,
    open_store,
)
from kdtui.cli.output import Output, print_json, print_table, print_text, progress_bar, say
from kdtui.cli.removal import YesOption, confirm_removal
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.studies.forecast import Forecast
    from kdtui.workflows.studies.plan import PlannedStep, StudyPlan
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database

app = App(
    "Run a grid of students, and compare them with statistics.",
    examples=["kdtui study run rq3 --dataset demo-outdoor", "kdtui study show rq3-demo-outdoor"],
    no_args_is_help=True,
)

StudyArgument = Annotated[
    str, typer.Argument(help="Name of a study.", metavar="NAME", autocompletion=completion.names("studies"))
]


@app.command(
    "run",
    examples=[
        "kdtui study run rq3 --dataset demo-outdoor --dry-run",
        "kdtui study run rq1 --dataset electronic --sessions 60",
        "kdtui study run my-study.toml --retry-failed",
        "kdtui study run rq3-demo-outdoor --retry-failed --cell 'smollm2 zero-shot'",
    ],
)
def run(
    source: Annotated[
        str,
        typer.Argument(
            help="A preset (rq1, rq2, rq3, all), a TOML file, or the name of an earlier study.",
            metavar="SPEC",
            autocompletion=completion.names("studies", "rq1", "rq2", "rq3", "all"),
        ),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Answer the sessions of this dataset; may be repeated.",
            metavar="NAME",
            autocompletion=completion.names("datasets"),
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the study.", metavar="NAME")] = None,
    student: Annotated[
        list[str] | None,
        typer.Option("--student", help="Base models, instead of those of the study; may be repeated.", metavar="MODEL"),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Train and sample with this many seeds.", min=1, max=1000, metavar="N")
    ] = None,
    sessions: Annotated[
        int | None,
        typer.Option(
            help="Answer this many sessions, drawn at random, instead of all.", min=1, max=LARGEST, metavar="N"
        ),
    ] = None,
    training_sessions: Annotated[
        int | None,
        typer.Option(
            help="Train on this many sessions of each dataset, drawn at random.", min=1, max=LARGEST, metavar="N"
        ),
    ] = None,
    split: Annotated[Literal["train", "valid", "test"] | None, typer.Option(help="Split to answer.")] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            help="Train on this host (local: this machine); may be repeated.",
            metavar="NAME",
            autocompletion=completion.names("hosts", "local"),
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry the steps and the sessions that failed before.")
    ] = False,
    cell: Annotated[
        list[str] | None,
        typer.Option(
            "--cell",
            help="Do this cell alone, with the steps that it needs, by its name in study show; may be repeated.",
            metavar="CELL",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of another study of the same name; its runs stay.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing else.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Plan a study, and do what is left of it.

    Each finished step is kept: the same command resumes a study that was interrupted, extends one, and repeats nothing.
    Cells that studies share are computed once. When a step fails, the command says why and continues with the others.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.studies.forecast import check_study_budget, forecast
    from kdtui.workflows.studies.plan import cells_named, check_models, make_plan, narrowed_plan

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        spec = _spec(
            store,
            source,
            dataset=None if dataset is None else tuple(dict.fromkeys(dataset)),
            name=name,
            student=None if student is None else tuple(dict.fromkeys(student)),
            seed=None if seeds is None else tuple(range(seeds)),
            sessions=sessions,
            training_sessions=training_sessions,
            split=split,
            hosts=None if host is None else tuple(dict.fromkeys(host)),
        )
        check_models(store, spec)
        _check_name(store, spec, replace=replace or dry_run)
        whole = make_plan(store, spec)
        cells = cells_named(whole, cell or ())
        plan = narrowed_plan(whole, cells)
        expected = forecast(store, plan, retry_failed=retry_failed)
        if dry_run or told != "json":
            _print_plan(plan, expected, told if dry_run else "table", to_stdout=dry_run)
        if dry_run:
            return
        check_study_budget(expected)
        if cells and not plan.to_do(retry_failed=retry_failed) and not plan.failed:
            say(f"nothing is left to do of {', '.join(plan.cell_names[key] for key in cells)}")
        failed, kept = _run(store, spec, source, database_path(db), told, cells, retry_failed=retry_failed)
        if told != "json":
            _say_what_there_is(make_plan(store, spec), db)
    problems = []
    if failed:
        them = "it" if failed == 1 else "them"
        problems.append(f"{counted(failed, 'step')} failed, and what needs {them} was left out")
    if kept:
        problems.append(f"{counted(kept, 'finished cell')} could not be tried again")
    if problems:
        raise KdtuiError(f"{'; '.join(problems)}; try again with --retry-failed")


def _say_what_there_is(plan: "StudyPlan", db: Path | None) -> None:
    """Say how the report is written, where there is something to report, and what is missing of it."""
    done, cells = sum(cell.status == "done" for cell in plan.cells), len(plan.cells)
    if plan.unanswered:
        _say_unanswered(plan)
    if not done:
        say(f"none of {counted(cells, 'cell')} is done, so there is nothing to report yet")
        return
    part = "" if done == cells else f" of {done:,} of {cells:,} cells"
    say(f"the report{part}: {next_command('study', 'report', plan.spec.name, db=db)}")


def _check_name(store: "Database", spec: "Spec", *, replace: bool) -> None:
    """Say what becomes of a stored study of the same name.

    Raises:
        KdtuiError: it is another one, and is not to be replaced.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.studies.choose_spec import earlier_study

    earlier = earlier_study(store, spec)
    if earlier is None or not earlier.in_words:
        return
    if earlier.is_another and not replace:
        raise KdtuiError(f"{earlier.in_words}; call this one otherwise with --name, or take its place with --replace")
    say(earlier.in_words)


def _spec(store: "Database", source: str, dataset: tuple[str, ...] | None, **changes: Any) -> "Spec":
    """The study that a user names, with what the options change."""
    from kdtui.cli.options import chosen_dataset
    from kdtui.workflows.studies.choose_spec import chosen_spec
    from kdtui.workflows.studies.spec import PRESETS

    if source in PRESETS and not dataset:
        dataset = (chosen_dataset(store, None),)
    return chosen_spec(store, source, dataset, **changes)


def _print_plan(plan: "StudyPlan", told_by: "Forecast", output: Output, *, to_stdout: bool) -> None:
    """The plan as a table on stdout, or in short on stderr."""
    from kdtui.text import duration
    from kdtui.workflows.studies.forecast import cells_in_words, plan_in_words, step_counts

    if not to_stdout:
        for line in plan_in_words(plan, told_by):
            say(line)
        return
    for note in plan.notes:
        say(note)
    print_table(
        ["" if output == "table" else "steps", "all", "done", "to do", "failed", "time, about"],
        [
            (each.name, each.every, each.done, each.to_do, each.failed, duration(each.seconds))
            for each in step_counts(plan, told_by)
        ],
        right=["time, about"],
        output=output,
        records=[told_by.to_json(plan)] if output == "json" else None,
    )
    say(cells_in_words(plan))
    for line in told_by.in_words():
        say(line)
    if plan.unanswered and not told_by.again[0]:
        _say_unanswered(plan)


def _say_unanswered(plan: "StudyPlan") -> None:
    cells = counted(sum(step.unanswered > 0 for step in plan.cells), "finished cell")
    say(f"{counted(plan.unanswered, 'session')} failed in {cells}; --retry-failed tries again")


def _run(
    store: "Database",
    spec: "Spec",
    source: str,
    database: Path,
    told: Output,
    cells: Sequence[str],
    *,
    retry_failed: bool,
) -> tuple[int, int]:
    """Run a study and show its progress.

    Returns:
        how many of its steps failed, and how many finished cells could not be tried again.
    """
    from kdtui.workflows.studies import run as study
    from kdtui.workflows.studies.events import (
        HostLost,
        Planned,
        StepBegun,
        StepBlocked,
        StepDone,
        StepFailed,
        StepProgress,
    )
    from kdtui.workflows.studies.labels import label
    from kdtui.workflows.studies.spec_files import to_toml
    from kdtui.workflows.training.plan import jobs_folder
    from store.studies import save_study

    failed = kept = 0
    with progress_bar() as progress:
        whole = progress.add_task("study", total=None)
        tasks: dict[str, Any] = {}

        def close(step: "PlannedStep") -> None:
            progress.advance(whole)
            if step.key in tasks:
                progress.remove_task(tasks.pop(step.key))

        try:
            running = study.run_study(store, spec, jobs_folder(database), retry_failed=retry_failed, cells=cells)
            with closing(running) as events:
                for event in events:
                    if told == "json" and not isinstance(event, Planned | StepProgress):
                        print_json(_to_json(event))
                    match event:
                        case Planned(plan):
                            # Not before: a study that is refused must not change the one that is running.
                            save_study(store, spec.name, to_toml(spec), source)
                            progress.update(whole, total=len(plan.to_do(retry_failed=retry_failed)))
                            failed = 0 if retry_failed else plan.failed
                        case StepBegun(step):
                            tasks[step.key] = progress.add_task(event.in_words, total=None)
                            say(event.in_words)
                        case StepProgress(step, done, of):
                            if step.key in tasks:
                                progress.update(tasks[step.key], completed=done, total=of)
                        case StepDone(step):
                            close(step)
                        case StepFailed(step, reason, log):
                            if step.status == "done":
                                kept += 1
                            else:
                                failed += 1
                            close(step)
                            say(f"kdtui: {label(step.step)}: {reason}" + (f" (its log: {log})" if log else ""))
                        case StepBlocked(step, lost):
                            close(step)
                            say(f"kdtui: left out: {label(step.step)}, because this failed: {label(lost.step)}")
                        case HostLost(host, problem):
                            say(f"kdtui: {host}: {problem}; trying again")
        except KeyboardInterrupt:
            say("interrupted; finished steps are kept, started trainings continue; the same command resumes")
            raise
    return failed, kept


def _to_json(event: Any) -> dict[str, object]:
    """An event as a flat object."""
    from kdtui.workflows.studies.labels import label

    content: dict[str, object] = {"event": type(event).__name__}
    for name in type(event).__dataclass_fields__:
        value = getattr(event, name)
        content[name] = label(value.step) if name in ("step", "needs") else value
    return content


@app.command("ls", examples=["kdtui study ls"])
def ls(output: OutputOption = None, as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """List the studies and their progress."""
    from kdtui.workflows.studies.overview import study_rows

    told = chosen_output(output, as_json)
    with open_store(db) as store:
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
        output=told,
        records=[row.to_json() for row in rows],
        empty="there is no study yet; run one with: kdtui study run rq3 --dataset NAME",
    )


@app.command("show", examples=["kdtui study show rq3-demo-outdoor", "kdtui study show rq3-demo-outdoor --spec"])
def show(
    name: StudyArgument,
    spec: Annotated[bool, typer.Option("--spec", help="Print the study as a TOML file.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show the cells of a study, their progress, and their scores."""
    from kdtui.workflows.studies.overview import cell_rows, open_study

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        found, plan = open_study(store, name)
        if spec:
            print_text(found.spec.rstrip("\n"))
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
        output=told,
        records=[row.to_json() for row in rows],
    )


@app.command(
    "report",
    examples=["kdtui study report rq3-demo-outdoor", "kdtui study report rq3-demo-outdoor --output reports"],
)
def report(
    name: StudyArgument,
    folder: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to.", metavar="FOLDER", file_okay=False)
    ] = Path(),
    db: DatabaseOption = None,
) -> None:
    """Write the report of a study: one self-contained HTML file, and the same as Markdown.

    The study need not be complete; the report says what is missing.
    """
    from kdtui.workflows.studies.overview import open_study
    from kdtui.workflows.studies.report import write_report

    with open_store(db) as store:
        _, plan = open_study(store, name)
        written = write_report(store, plan, folder)
    for path in written:
        print(path)


@app.command("answers", examples=["kdtui study answers rq3-demo-outdoor"])
def answers(
    name: StudyArgument, output: OutputOption = None, as_json: JsonOption = False, db: DatabaseOption = None
) -> None:
    """Answer each question of a study in a sentence, and list its comparisons."""
    from dataclasses import asdict

    from kdtui.bundling.tables import markdown_text
    from kdtui.workflows.studies.overview import open_study
    from kdtui.workflows.studies.results import study_results
    from kdtui.workflows.studies.verdicts import phrase

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        _, plan = open_study(store, name)
        results = study_results(store, plan)
    records = []
    for found in results.questions:
        names = {row.name: row.label_in(found.question) for row in found.rows}
        if told in ("table", "markdown"):
            heading = markdown_text if told == "markdown" else str
            paragraphs = [found.question.title, found.answer, *([found.caveat] if found.caveat else [])]
            print_text(("\n\n" if told == "markdown" else "\n").join(map(heading, paragraphs)))
            print_table(
                ["cell", "baseline", "difference"],
                [(names[each.other], names[each.baseline], phrase(each)) for each in found.comparisons],
                wide=["cell", "baseline", "difference"],
                output=told,
            )
        elif not found.comparisons:
            say(f"{found.question.title}: {found.answer}")
        records += [
            {"question": found.question.title, "answer": found.answer, **asdict(each), "phrase": phrase(each)}
            for each in found.comparisons
        ]
    if told in ("json", "csv") and records:
        print_table([], [], output=told, records=records)


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
        typer.Option("--output", "-o", help="A file ending in .csv or .parquet; - for CSV on stdout.", metavar="FILE"),
    ] = Path("-"),
    db: DatabaseOption = None,
) -> None:
    """Write the measures of a study as a tidy table: one row for each cell and session."""
    from kdtui.errors import KdtuiError
    from kdtui.workflows.studies.export import export_rows, write_csv, write_parquet
    from kdtui.workflows.studies.overview import open_study

    # Pipes and devices have names of their own, and take CSV.
    if path.suffix.lower() not in (".csv", ".parquet") and (path.is_file() or not path.exists()) and str(path) != "-":
        raise KdtuiError(f"{path}: the ending says what to write; name a file ending in .csv or .parquet")
    with open_store(db) as store:
        _, plan = open_study(store, name)
        write = write_parquet if path.suffix.lower() == ".parquet" else write_csv
        count = write(path, export_rows(store, plan))
    say(f"wrote {counted(count, 'row')} to {path}")


@app.command("rm", examples=["kdtui study rm rq3-demo-outdoor"])
def rm(name: StudyArgument, yes: YesOption = False, db: DatabaseOption = None) -> None:
    """Delete a study. Its runs, samples and adapters stay: other studies may have them in common."""
    from store.studies import delete_study, get_study

    with open_store(db) as store:
        get_study(store, name)
        confirm_removal({f"study {name}": ["its runs, samples and adapters stay"]}, yes=yes)
        delete_study(store, name)
    say(f"deleted study {name}; its runs, samples and adapters are still there")
