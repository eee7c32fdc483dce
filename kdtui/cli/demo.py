"""`kdtui demo`: the whole loop on the datasets that ship with kdtui."""

from typing import Annotated

import typer

from kdtui.cli.options import DatabaseOption, next_command, open_store
from kdtui.cli.output import say


def demo(
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Only import the data and make the knowledge.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Run the whole loop on the demo data: import, mine and distil, generate, evaluate, and run a small study.

    At the end, a list shows what to type next.
    """
    from kdtui.cli.evaluate import evaluate
    from kdtui.cli.generate import generate
    from kdtui.cli.study import answers
    from kdtui.cli.study_run import run
    from kdtui.workflows.demo import DATASETS, import_demo, save_demo_study

    with open_store(database) as store:
        for step in import_demo(store):
            say(step.sentence)
    if data_only:
        return
    first = DATASETS[0]
    say(f"\n> kdtui generate o34 --dataset {first}")
    generate(sessions=["o34"], dataset=first, database=database)
    for dataset in DATASETS:
        say(f"\n> kdtui evaluate --dataset {dataset}")
        evaluate(dataset=dataset, database=database)
    with open_store(database) as store:
        study = save_demo_study(store)
    say(f"\n> kdtui study run {study}")
    run(source=study, database=database)
    answers(name=study, database=database)
    say("")
    say("What to type next:")
    hints = (
        ("", "open the app: browse sessions and knowledge, generate with g"),
        (f"data show o01 --dataset {first}", "a session with its true bundles"),
        ("knowledge search tents", "the knowledge about tents"),
        (f"knowledge for o34 --dataset {first}", "the knowledge that a student would see, and its prompt"),
        (f"generate o35 --dataset {first} --student patterns", "the student without a language model"),
        ("study report demo", "the results of the small study, as HTML and Markdown"),
        ("data import PATH --dataset NAME", "your own sessions"),
        (
            f"sft launch --name camping --dataset {' --dataset '.join(DATASETS)} --from shipped --follow",
            "train the shipped adapter further, and see whether that helps",
        ),
    )
    commands = [(next_command(*words.split(), database=database), purpose) for words, purpose in hints]
    width = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        print(f"  {command:<{width}}  {purpose}", flush=True)
