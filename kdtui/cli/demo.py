"""`kdtui demo`: the whole loop on the datasets that come with the program."""

from typing import Annotated

import typer

from kdtui.cli.options import DatabaseOption, open_store
from kdtui.cli.output import say


def demo(
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Import the data and make the knowledge, and stop there.")
    ] = False,
    db: DatabaseOption = None,
) -> None:
    """Import the demo datasets, mine and distil knowledge, generate bundles, evaluate, and say what to type next."""
    from kdtui.cli.evaluate import evaluate
    from kdtui.cli.generate import generate
    from kdtui.workflows.demo import DATASETS, import_demo

    with open_store(db) as store:
        for step in import_demo(store):
            say(step.sentence)
    if data_only:
        return
    first = DATASETS[0]
    say(f"\n> kdtui generate o34 --dataset {first}")
    generate(sessions=["o34"], dataset=first, db=db)
    for dataset in DATASETS:
        say(f"\n> kdtui evaluate --dataset {dataset}")
        evaluate(dataset=dataset, db=db)
    say("")
    say("What to type next:")
    hints = (
        ("kdtui", "open the app: browse sessions and knowledge, generate with g"),
        (f"kdtui data show o01 --dataset {first}", "a session with its true bundles"),
        ("kdtui knowledge search tents", "what is known about tents"),
        (f"kdtui knowledge for o34 --dataset {first}", "what a student would be shown of it"),
        (f"kdtui generate o35 --dataset {first} --student patterns", "the student without weights"),
        ("kdtui data import PATH --dataset NAME", "your own sessions"),
    )
    width = max(len(command) for command, _ in hints)
    for command, purpose in hints:
        print(f"  {command:<{width}}  {purpose}", flush=True)
