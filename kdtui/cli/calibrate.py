"""`kdtui calibrate`: choose a strategy for a student, and fit its confidences."""

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
    CalibratedStudentOption,
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
    from kdtui.workflows.student.calibrate import CalibrationResult
    from store.calibrations import KnownCalibration

EXAMPLES = [
    "kdtui calibrate --dataset electronic --student smollm2",
    "kdtui calibrate --dataset electronic --strategy list --strategy pairs",
]

app = App(
    """Choose and calibrate a strategy for a student.

    Each strategy is tried on the validation split. The choice is the fastest one whose pair F1 is within one standard
    error of the best. It applies to this student with this knowledge on this dataset, and its confidences are
    calibrated.

    If there is an earlier calibration, both are compared on the same sessions. The one over more sessions is used,
    unless the other is better by more than one standard error. ls, show and rm manage stored calibrations.
    """,
    examples=EXAMPLES,
)

NumberArgument = Annotated[
    int, typer.Argument(help="Number of a calibration, from kdtui calibrate ls.", metavar="NUMBER", max=LARGEST)
]


@app.callback(invoke_without_command=True)
def calibrate(
    context: typer.Context,
    dataset: DatasetOption = None,
    student: CalibratedStudentOption = "smollm2",
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
            help="Try only this strategy; may be repeated.",
            metavar="NAME",
            autocompletion=completion.one_of(*completion.STRATEGIES[:3]),
        ),
    ] = None,
    tokens: ContextOption = None,
    limit: SessionsOption = None,
    seed: SeedOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Calibrate a student, unless a subcommand is given. The help page shows the text of `app`, not this one."""
    if context.invoked_subcommand is not None:
        _check_no_options(context)
        remember_database(database)
        return
    from kdtui.workflows.student.as_trained import settings_as_trained
    from kdtui.workflows.student.calibrate import (
        Calibrated,
        ChoiceStays,
        SessionJudged,
        StrategyLeftOut,
        calibrate_strategies,
        sessions_to_learn_from,
    )
    from kdtui.workflows.student.earlier_calibration import CalibrationsCompared
    from kdtui.workflows.student.limits import check_calibratable
    from models.student_protocol import STRATEGIES
    from store.sessions import split_size

    draw_seed = check_seed(limit, seed)
    printed_as = chosen_output(output, as_json)
    with open_store(database) as store, progress_bar() as progress, StudentMessages() as tell:
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
        strategies = list(dict.fromkeys(strategy or STRATEGIES))
        name = chosen_dataset(store, dataset)
        sessions = sessions_to_learn_from(store, name, limit, draw_seed)
        about = counted(len(sessions), "validation session")
        if limit is not None:
            about = subset_in_words("valid", len(sessions), split_size(store, name, "valid"), draw_seed)
        tasks = {each: progress.add_task(each, total=len(sessions), start=False, visible=False) for each in strategies}
        for event in calibrate_strategies(store, name, settings, strategies, sessions, tell):
            match event:
                case SessionJudged():
                    progress.start_task(tasks[event.strategy])
                    progress.update(tasks[event.strategy], visible=True)
                    progress.advance(tasks[event.strategy])
                case StrategyLeftOut():
                    say(f"kdtui: {event.strategy} is left out: {event.reason}")
                case CalibrationsCompared() | ChoiceStays():
                    say(event.in_words)
                case Calibrated():
                    results = event.results
    print_results(results, printed_as)
    say(f"over {about}, each scored by a calibration fitted on the others")


def _check_no_options(context: typer.Context) -> None:
    """Refuse options of `calibrate` itself before the name of a subcommand."""
    given = [
        name
        for name in context.params
        if name != "database" and str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    ]
    if given:
        raise typer.BadParameter(f"put the options of {context.invoked_subcommand} after its name")


def print_results(results: "list[CalibrationResult]", output: Output) -> None:
    """Print the table of strategies."""
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
    dataset: DatasetOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """List the stored calibrations of all datasets, or of one."""
    from store.calibrations import list_calibrations
    from store.datasets import dataset_id

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        if dataset is not None:
            # An unknown dataset is an error, not an empty list.
            dataset_id(store, dataset)
        calibrations = [each for each in list_calibrations(store) if dataset in (None, each.dataset)]
    print_table(
        ["number", "dataset", "student", "strategy", "", "sessions", "pair F1", "error", "s/session", "when"],
        [
            (
                # As text, without thousands separators: users type this number.
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
            for each in calibrations
        ],
        wide=["dataset", "student"],
        output=printed_as,
        records=map(_to_json, calibrations),
        empty="there is no calibration yet; make one with: "
        + next_command("calibrate", "--dataset", "NAME", "--student", "STUDENT"),
    )


@app.command("show", examples=["kdtui calibrate show 1"])
def show(
    number: NumberArgument, output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None
) -> None:
    """Show a calibration with its weights."""
    from store.calibrations import get_calibration

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        known = get_calibration(store, number)
    stored = known.calibration
    if printed_as == "json":
        print_json(_to_json(known) | {"weights": _weights(stored.weights), "session_f1": stored.session_f1})
        return
    weights = _weights(stored.weights)
    print_table(
        ["", f"calibration {number}"],
        [
            *((key, value) for key, value in _to_json(known).items() if key != "number" and value not in (None, [])),
            *(
                (f"{part}: {name}", value)
                for part, values in (weights.items() if isinstance(weights, dict) else ())
                for name, value in (values or {}).items()
            ),
        ],
        wide=[f"calibration {number}"],
        output=printed_as,
    )


@app.command("rm", examples=["kdtui calibrate rm 1", "kdtui calibrate rm 1 3-5 --yes"])
def rm(
    numbers: Annotated[list[str], typer.Argument(help="Numbers of calibrations, or ranges: 3-5.", metavar="NUMBER")],
    yes: YesOption = False,
    database: DatabaseOption = None,
) -> None:
    """Delete calibrations. A strategy that one of them chose is no longer used by default."""
    from kdtui.workflows.number_ranges import parse_numbers
    from store.calibrations import delete_calibration, get_calibration

    with open_store(database) as store:
        chosen = {number: get_calibration(store, number) for number in parse_numbers(" ".join(numbers))}
        confirm_removal({f"calibration {number}": _about(known) for number, known in chosen.items()}, yes=yes)
        for number, known in chosen.items():
            delete_calibration(store, number)
            say(", ".join([f"deleted calibration {number}", *_about(known)]))
            if known.calibration.chosen:
                say(f"its strategy was in use; {_student(known)} counts as not calibrated on that dataset now")


def _about(known: "KnownCalibration") -> list[str]:
    stored = known.calibration
    return [
        f"{_student(known)} by {stored.strategy} on {known.dataset}",
        f"fitted on {counted(stored.sessions, 'session')}",
        f"pair F1 {stored.pair_f1:.3f}",
    ]


def _student(known: "KnownCalibration") -> str:
    from kdtui.workflows.student.settings import student_name

    options = f" ({', '.join(map(str, known.knowledge_options))})" if known.knowledge_options else ""
    return student_name(known.settings) + options


def _to_json(known: "KnownCalibration") -> dict[str, object]:
    stored, settings = known.calibration, known.settings
    return {
        "number": stored.number,
        "dataset": known.dataset,
        "student": settings.student,
        "knowledge": list(settings.knowledge),
        "adapters": [[name, scale] for name, scale in settings.adapters],
        "shown": list(known.knowledge_options),
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
        # Somebody has edited the database.
        return text
