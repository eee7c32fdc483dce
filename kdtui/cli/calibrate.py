"""`kdtui calibrate`: which strategy suits a student, and how far its judgement can be trusted."""

from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.bundling.text import counted
from kdtui.cli import completion
from kdtui.cli.options import (
    LARGEST,
    AdapterOption,
    AskedKnowledgeOption,
    BudgetOption,
    ContextOption,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    NearOption,
    NeighboursOption,
    OutputOption,
    SampleOption,
    StudentOption,
    adapters,
    chosen_dataset,
    chosen_output,
    formats,
    open_store,
)
from kdtui.cli.output import Output, print_table, progress_bar, say

if TYPE_CHECKING:
    from store.calibrations import StoredCalibration

EXAMPLES = [
    "kdtui calibrate --dataset electronic --student smollm2",
    "kdtui calibrate --dataset electronic --strategy list --strategy pairs",
]


def calibrate(
    dataset: DatasetOption = None,
    student: StudentOption = "shipped",
    knowledge: AskedKnowledgeOption = None,
    sample: SampleOption = None,
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
    context: ContextOption = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the first N sessions, as imported.", min=1, max=LARGEST, metavar="N")
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Have a student judge the validation split by every strategy, and choose one.

    The fastest strategy whose pair F1 is within one standard error of the best is used from then on, for this student
    with this knowledge on this dataset, and confidences are what its judgements proved to be worth.
    """
    from kdtui.workflows.as_trained import settings_as_trained
    from kdtui.workflows.calibrate import Calibrated, SessionJudged, sessions_to_learn_from
    from kdtui.workflows.calibrate import calibrate as run
    from models.answers import STRATEGIES
    from models.embedded import SHIPPED

    told = chosen_output(output, as_json)
    with open_store(db) as store, progress_bar() as progress:
        settings = settings_as_trained(
            store,
            student,
            None if knowledge is None else formats(knowledge),
            context=context,
            adapters=adapters(adapter),
            sample=sample,
            neighbours=neighbours,
            budget=budget,
            near=near,
        )
        # The shipped student is trained for one of them.
        wanted = list(dict.fromkeys(strategy or (["pairs"] if settings.student == SHIPPED else STRATEGIES)))
        name = chosen_dataset(store, dataset)
        sessions = sessions_to_learn_from(store, name, limit)
        tasks = {each: progress.add_task(each, total=len(sessions), start=False) for each in wanted}
        for event in run(store, name, settings, wanted, sessions):
            if isinstance(event, SessionJudged):
                progress.start_task(tasks[event.strategy])
                progress.advance(tasks[event.strategy])
            elif isinstance(event, Calibrated):
                results = event.results
            else:
                say(f"kdtui: {event.strategy} is left out; {event.reason}")
    print_results(results, told)


def print_results(results: "list[StoredCalibration]", output: Output) -> None:
    """The table of strategies."""
    print_table(
        ["strategy", "pair F1", "calibration error", "s/session", ""],
        [
            (
                each.strategy,
                each.pair_f1,
                each.calibration_error,
                each.seconds_per_session,
                "chosen" if each.chosen else "",
            )
            for each in results
        ],
        output=output,
        records=(
            {
                "strategy": each.strategy,
                "pair_f1": each.pair_f1,
                "calibration_error": each.calibration_error,
                "seconds_per_session": each.seconds_per_session,
                "chosen": each.chosen,
            }
            for each in results
        ),
    )
    say(f"over {counted(results[0].sessions, 'validation session')}, each judged by a fit on the others")
