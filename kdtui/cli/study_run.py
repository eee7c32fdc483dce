"""`kdtui study run`: plan a study and run its remaining steps."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kdtui.cli import completion
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
from kdtui.cli.output import Output, print_json, print_table, progress_bar, say
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.studies.forecast import Forecast
    from kdtui.workflows.studies.plan import PlannedStep, StudyPlan
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database


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
        typer.Option(
            "--student", help="Use this base model instead of those of the study; may be repeated.", metavar="MODEL"
        ),
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
            help="Run only this cell and the steps that it needs, by its name in study show; may be repeated.",
            metavar="CELL",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a different study of the same name; its runs stay.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Plan a study and run its remaining steps.

    Finished steps are kept: the same command resumes an interrupted study, extends one, and repeats nothing. Cells that
    studies share are computed once. If a step fails, the command says why and continues with the others.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.studies.forecast import check_study_budget, forecast
    from kdtui.workflows.studies.plan import cells_named, check_models, make_plan, narrowed_plan

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
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
        if dry_run or printed_as != "json":
            _print_plan(plan, expected, printed_as if dry_run else "table", to_stdout=dry_run)
        if dry_run:
            return
        check_study_budget(expected)
        if cells and not plan.to_do(retry_failed=retry_failed) and not plan.failed:
            say(f"these cells are done: {', '.join(plan.cell_names[key] for key in cells)}")
        failed, kept = _run(store, spec, source, database_path(database), printed_as, cells, retry_failed=retry_failed)
        if printed_as != "json":
            _say_how_to_report(make_plan(store, spec), database)
    problems = []
    if failed:
        them = "it" if failed == 1 else "them"
        problems.append(f"{counted(failed, 'step')} failed, and the steps that need {them} were left out")
    if kept:
        problems.append(f"{counted(kept, 'finished cell')} could not be retried")
    if problems:
        raise KdtuiError(f"{'; '.join(problems)}; retry with --retry-failed")


def _say_how_to_report(plan: "StudyPlan", database: Path | None) -> None:
    """Say how to write the report, and what is missing in it."""
    done, cells = sum(cell.status == "done" for cell in plan.cells), len(plan.cells)
    if plan.unanswered:
        _say_unanswered(plan)
    if not done:
        say(f"none of {counted(cells, 'cell')} is done, so there is nothing to report yet")
        return
    part = "" if done == cells else f" of {done:,} of {cells:,} cells"
    say(f"the report{part}: {next_command('study', 'report', plan.spec.name, database=database)}")


def _check_name(store: "Database", spec: "Spec", *, replace: bool) -> None:
    """Say what happens to a stored study of the same name.

    Raises:
        KdtuiError: it is a different study, and --replace was not given.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.studies.choose_spec import earlier_study

    earlier = earlier_study(store, spec)
    if earlier is None or not earlier.in_words:
        return
    if earlier.is_another and not replace:
        raise KdtuiError(f"{earlier.in_words}; give this one another --name, or replace the earlier one with --replace")
    say(earlier.in_words)


def _spec(store: "Database", source: str, dataset: tuple[str, ...] | None, **changes: Any) -> "Spec":
    """Return the study that the user names, with the changes of the options."""
    from kdtui.cli.options import chosen_dataset
    from kdtui.workflows.studies.choose_spec import chosen_spec
    from kdtui.workflows.studies.spec import PRESETS

    if source in PRESETS and not dataset:
        dataset = (chosen_dataset(store, None),)
    return chosen_spec(store, source, dataset, **changes)


def _print_plan(plan: "StudyPlan", expected: "Forecast", output: Output, *, to_stdout: bool) -> None:
    """Print the plan: as a table on stdout, or in short on stderr."""
    from kdtui.text import duration
    from kdtui.workflows.studies.forecast import cells_in_words, plan_in_words, step_counts

    if not to_stdout:
        for line in plan_in_words(plan, expected):
            say(line)
        return
    for note in plan.notes:
        say(note)
    print_table(
        ["" if output == "table" else "steps", "all", "done", "to do", "failed", "time, about"],
        [
            (each.name, each.every, each.done, each.to_do, each.failed, duration(each.seconds))
            for each in step_counts(plan, expected)
        ],
        right=["time, about"],
        output=output,
        records=[expected.to_json(plan)] if output == "json" else None,
    )
    say(cells_in_words(plan))
    for line in expected.in_words():
        say(line)
    if plan.unanswered and not expected.again[0]:
        _say_unanswered(plan)


def _say_unanswered(plan: "StudyPlan") -> None:
    cells = counted(sum(step.unanswered > 0 for step in plan.cells), "finished cell")
    say(f"{counted(plan.unanswered, 'session')} failed in {cells}; --retry-failed tries again")


def _run(
    store: "Database",
    spec: "Spec",
    source: str,
    database: Path,
    printed_as: Output,
    cells: Sequence[str],
    *,
    retry_failed: bool,
) -> tuple[int, int]:
    """Run a study and show its progress.

    Returns:
        how many of its steps failed, and how many finished cells could not be tried again.
    """
    from kdtui.workflows.studies.events import (
        HostLost,
        Planned,
        StepBegun,
        StepBlocked,
        StepDone,
        StepFailed,
        StepProgress,
        StepWaits,
    )
    from kdtui.workflows.studies.labels import label
    from kdtui.workflows.studies.run import run_study
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
            running = run_study(store, spec, jobs_folder(database), retry_failed=retry_failed, cells=cells)
            with closing(running) as events:
                for event in events:
                    if printed_as == "json" and not isinstance(event, Planned | StepProgress):
                        print_json(_to_json(event))
                    match event:
                        case Planned(plan):
                            # Save only now: a study that is refused must not change the one that is running.
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
                        case StepWaits(step, reason):
                            say(f"kdtui: {label(step.step)}: {reason}; waiting for it")
                        case HostLost(host, problem):
                            say(f"kdtui: {host}: {problem}; trying again")
        except KeyboardInterrupt:
            say("interrupted; finished steps are kept, started trainings continue; the same command resumes")
            raise
    return failed, kept


def _to_json(event: Any) -> dict[str, object]:
    """Return an event as a flat object."""
    from kdtui.workflows.studies.labels import label

    content: dict[str, object] = {"event": type(event).__name__}
    for name in type(event).__dataclass_fields__:
        value = getattr(event, name)
        content[name] = label(value.step) if name in ("step", "needs") else value
    return content
