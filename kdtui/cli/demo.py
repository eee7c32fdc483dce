"""`kdtui demo`: the whole loop on the dataset that comes with the program."""

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from kdtui.bundling.text import counted
from kdtui.cli.options import DatabaseOption, next_command, open_store
from kdtui.cli.output import say

if TYPE_CHECKING:
    from store.sqlite import Database

DOMAINS = ("outdoor", "kitchen")


def demo(db: DatabaseOption = None) -> None:
    """Import the demo datasets, mine and distil knowledge, generate bundles, evaluate, and say what to type next."""
    from kdtui.cli.evaluate import evaluate
    from kdtui.cli.generate import generate

    with open_store(db) as store:
        for domain in DOMAINS:
            _import(store, domain)
    first = f"demo-{DOMAINS[0]}"
    say(f"\n> kdtui generate o34 --dataset {first}")
    generate(sessions=["o34"], dataset=first, db=db)
    for domain in DOMAINS:
        say(f"\n> kdtui evaluate --dataset demo-{domain}")
        evaluate(dataset=f"demo-{domain}", db=db)
    say("")
    say("What to type next:")
    hints = (
        ("", "open the app: browse sessions and knowledge, generate with g"),
        (f"data show o01 --dataset {first}", "a session with its true bundles"),
        ("knowledge search tents", "what is known about tents"),
        (f"knowledge for o34 --dataset {first}", "what a student would be shown of it"),
        (f"generate o35 --dataset {first} --student patterns", "the student without weights"),
        ("data import PATH --dataset NAME", "your own sessions"),
    )
    commands = [(next_command(*words.split(), db=db), purpose) for words, purpose in hints]
    width = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        print(f"  {command:<{width}}  {purpose}", flush=True)


def _import(store: "Database", domain: str) -> None:
    from kdtui.workflows.distill import DISTILLED, distil_annotations
    from kdtui.workflows.import_dataset import import_dataset
    from kdtui.workflows.mine_patterns import mine_patterns
    from store.datasets import dataset_names

    name = f"demo-{domain}"
    if name in dataset_names(store):
        say(f"dataset {name} is there already")
    else:
        with as_file(files("kdtui") / "demo_data" / f"{domain}.jsonl") as path:
            written = list(import_dataset(store, path, name))[-1]
        say(f"imported {counted(written.sessions, 'session')} of invented products as dataset {name}")
    say(f"mined {counted(mine_patterns(store, name), 'pattern')} of dataset {name}")
    for event in distil_annotations(store, name, DISTILLED):
        say(f"composed {counted(event.kept, event.format)} from what people bundled, and rejected {event.rejected}")
