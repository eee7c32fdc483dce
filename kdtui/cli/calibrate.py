"""`kdtui calibrate`: which strategy suits a student, and how far its judgement can be trusted."""

from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.bundling.subset import subset_in_words
from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import (
    LARGEST,
    AdapterOption,
    AskedKnowledgeOption,
    BudgetOption,
    ContextOption,
    DatabaseOption,
    DatasetOption,
    DomainsOption,
    JsonOption,
    NearOption,
    NeighboursOption,
    OutputOption,
    SampleOption,
    SeedOption,
    SessionsOption,
    StudentOption,
    adapters,
    check_seed,
    chosen_dataset,
    chosen_output,
    formats,
    next_command,
    open_store,
    remember_database,
)
from kdtui.cli.output import Output, print_json, print_table, progress_bar, say
from kdtui.cli.removal import YesOption, confirm_removal
from kdtui.cli.student_messages import StudentMessages
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.student.calibrate import Result
    from store.calibrations import KnownCalibration

EXAMPLES = [
    "kdtui calibrate --dataset electronic --student smollm2",
    "kdtui calibrate --dataset electronic --strategy list --strategy pairs",
]

app = App("Choose a strategy for a student, and keep what it is worth.", examples=EXAMPLES)

NumberArgument = Annotated[
    int, typer.Argument(help="Number of a calibration, as `ls` shows it.", metavar="NUMBER", max=LARGEST)
]


@app.callback(invoke_without_command=True)
def calibrate(
    context: typer.Context,
    dataset: DatasetOption = None,
    student: StudentOption = "smollm2",
    knowledge: AskedKnowledgeOption = None,
    sample: SampleOption = None,
    domains: DomainsOption = "own",
    neighbours: NeighboursOption = None,
    near: NearOption = None,
    budget: BudgetOption = None,
    adapter: AdapterOption = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy",
            help="Only this one; may be repeated.",
            metavar="NAME",
            autocompletion=completion.words(*completion.STRATEGIES[:3]),
        ),
    ] = None,
    tokens: ContextOption = None,
    limit: SessionsOption = None,
    seed: SeedOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Have a student judge the validation split by every strategy, and choose one.

    The fastest strategy whose pair F1 is within one standard error of the best is used from then on, for this student
    with this knowledge on this dataset, and confidences are what its judgements proved to be worth.

    A calibration that there was before is compared with the new one on the same sessions. The one over more sessions is
    used, unless the other is better by more than one standard error. ls, show and rm are about those that are kept.
    """
    if context.invoked_subcommand is not None:
        _check_alone(context)
        remember_database(db)
        return
    from kdtui.workflows.student.as_trained import settings_as_trained
    from kdtui.workflows.student.calibrate import (
        Calibrated,
        ChoiceStays,
        Compared,
        SessionJudged,
        StrategyLeftOut,
        sessions_to_learn_from,
    )
    from kdtui.workflows.student.calibrate import calibrate as run
    from kdtui.workflows.student.limits import check_calibratable
    from models.student_protocol import STRATEGIES
    from store.sessions import split_size

    drawn_by = check_seed(limit, seed)
    told = chosen_output(output, as_json)
    with open_store(db) as store, progress_bar() as progress, StudentMessages() as tell:
        settings = settings_as_trained(
            store,
            student,
            None if knowledge is None else formats(knowledge),
            context=tokens,
            adapters=adapters(adapter),
            sample=sample,
            domains=domains,
            neighbours=neighbours,
            budget=budget,
            near=near,
        )
        check_calibratable(store, settings)
        wanted = list(dict.fromkeys(strategy or STRATEGIES))
        name = chosen_dataset(store, dataset)
        sessions = sessions_to_learn_from(store, name, limit, drawn_by)
        about = counted(len(sessions), "validation session")
        if limit is not None:
            about = subset_in_words("valid", len(sessions), split_size(store, name, "valid"), drawn_by)
        tasks = {each: progress.add_task(each, total=len(sessions), start=False, visible=False) for each in wanted}
        for event in run(store, name, settings, wanted, sessions, tell):
            match event:
                case SessionJudged():
                    progress.start_task(tasks[event.strategy])
                    progress.update(tasks[event.strategy], visible=True)
                    progress.advance(tasks[event.strategy])
                case StrategyLeftOut():
                    say(f"kdtui: {event.strategy} is left out; {event.reason}")
                case Compared() | ChoiceStays():
                    say(event.in_words)
                case Calibrated():
                    results = event.results
    print_results(results, told)
    say(f"over {about}, each judged by a fit on the others")


def _check_alone(context: typer.Context) -> None:
    """Refuse options of a calibration in front of the name of another command."""
    given = [
        name
        for name in context.params
        if name != "db" and str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    ]
    if given:
        raise typer.BadParameter(f"what goes with {context.invoked_subcommand} stands behind it")


def print_results(results: "list[Result]", output: Output) -> None:
    """The table of strategies."""
    print_table(
        ["strategy", "pair F1", "calibration error", "s/session", "sessions", "", ""],
        [
            (
                each.calibration.strategy,
                each.calibration.pair_f1,
                each.calibration.calibration_error,
                each.calibration.seconds_per_session,
                each.calibration.sessions,
                "new" if each.is_new else "as before",
                "chosen" if each.calibration.chosen else "",
            )
            for each in results
        ],
        output=output,
        records=(
            {
                "strategy": each.calibration.strategy,
                "pair_f1": each.calibration.pair_f1,
                "calibration_error": each.calibration.calibration_error,
                "seconds_per_session": each.calibration.seconds_per_session,
                "sessions": each.calibration.sessions,
                "chosen": each.calibration.chosen,
                "new": each.is_new,
            }
            for each in results
        ),
    )


@app.command("ls", examples=["kdtui calibrate ls", "kdtui calibrate ls --dataset electronic"])
def ls(
    dataset: DatasetOption = None, output: OutputOption = None, as_json: JsonOption = False, db: DatabaseOption = None
) -> None:
    """List the calibrations that there are, of all datasets or one."""
    from store.calibrations import list_calibrations
    from store.datasets import dataset_id

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        if dataset is not None:
            # That there is none of the name is no empty list.
            dataset_id(store, dataset)
        found = [each for each in list_calibrations(store) if dataset in (None, each.dataset)]
    print_table(
        ["number", "dataset", "student", "strategy", "", "sessions", "pair F1", "error", "s/session", "when"],
        [
            (
                # As text: with commas a number is no name any more.
                str(each.calibration.number),
                each.dataset,
                _student(each),
                each.calibration.strategy,
                "chosen" if each.calibration.chosen else "",
                each.calibration.sessions,
                each.calibration.pair_f1,
                each.calibration.calibration_error,
                each.calibration.seconds_per_session,
                each.calibration.created_at,
            )
            for each in found
        ],
        wide=["dataset", "student"],
        output=told,
        records=map(_to_json, found),
        empty="there is no calibration yet; make one with: "
        + next_command("calibrate", "--dataset", "NAME", "--student", "STUDENT"),
    )


@app.command("show", examples=["kdtui calibrate show 1"])
def show(
    number: NumberArgument, output: OutputOption = None, as_json: JsonOption = False, db: DatabaseOption = None
) -> None:
    """Show a calibration with its weights."""
    from store.calibrations import get_calibration

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        found = get_calibration(store, number)
    stored = found.calibration
    if told == "json":
        print_json(_to_json(found) | {"weights": _weights(stored.weights), "session_f1": stored.session_f1})
        return
    weights = _weights(stored.weights)
    print_table(
        ["", f"calibration {number}"],
        [
            *((key, value) for key, value in _to_json(found).items() if key != "number" and value not in (None, [])),
            *(
                (f"{part}: {name}", value)
                for part, values in (weights.items() if isinstance(weights, dict) else ())
                for name, value in (values or {}).items()
            ),
        ],
        wide=[f"calibration {number}"],
        output=told,
    )


@app.command("rm", examples=["kdtui calibrate rm 1", "kdtui calibrate rm 1 3-5 --yes"])
def rm(
    numbers: Annotated[list[str], typer.Argument(help="Numbers of calibrations, or ranges: 3-5.", metavar="NUMBER")],
    yes: YesOption = False,
    db: DatabaseOption = None,
) -> None:
    """Delete calibrations. A strategy that was chosen by one is not chosen any more."""
    from kdtui.workflows.number_ranges import parse_numbers
    from store.calibrations import delete_calibration, get_calibration

    with open_store(db) as store:
        chosen = {number: get_calibration(store, number) for number in parse_numbers(" ".join(numbers))}
        confirm_removal({f"calibration {number}": _about(found) for number, found in chosen.items()}, yes=yes)
        for number, found in chosen.items():
            delete_calibration(store, number)
            say(", ".join([f"deleted calibration {number}", *_about(found)]))
            if found.calibration.chosen:
                say(f"its strategy was chosen; {_student(found)} is asked there as if it had not been calibrated")


def _about(known: "KnownCalibration") -> list[str]:
    stored = known.calibration
    return [
        f"{_student(known)} by {stored.strategy} on {known.dataset}",
        f"fitted on {counted(stored.sessions, 'session')}",
        f"pair F1 {stored.pair_f1:.3f}",
    ]


def _student(known: "KnownCalibration") -> str:
    from kdtui.workflows.student.settings import student_name

    shown = f" ({', '.join(map(str, known.shown))})" if known.shown else ""
    return student_name(known.settings) + shown


def _to_json(known: "KnownCalibration") -> dict[str, object]:
    """A flat object."""
    stored, settings = known.calibration, known.settings
    return {
        "number": stored.number,
        "dataset": known.dataset,
        "student": settings.student,
        "knowledge": list(settings.knowledge),
        "adapters": [[name, scale] for name, scale in settings.adapters],
        "shown": list(known.shown),
        "strategy": stored.strategy,
        "chosen": stored.chosen,
        "sessions": stored.sessions,
        "pair_f1": stored.pair_f1,
        "calibration_error": stored.calibration_error,
        "seconds_per_session": stored.seconds_per_session,
        "created_at": stored.created_at,
    }


def _weights(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError:
        # Somebody has edited them.
        return text
