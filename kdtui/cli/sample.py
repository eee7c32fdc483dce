"""`kdtui sample`: named shares of the knowledge."""

from typing import Annotated, Literal

import typer

from kdtui.cli.options import DatabaseOption, JsonOption, chosen_dataset, open_store, some_formats
from kdtui.cli.output import print_json, print_table, say

app = typer.Typer(help="Draw, list, compare and delete samples of knowledge.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of a sample.", metavar="NAME")]


@app.command("create")
def create(
    name: NameArgument,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="Dataset to draw from; may be repeated.", metavar="NAME"),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", "-f", help="Formats, comma-separated: pattern, rule, thought.", metavar="FORMATS")
    ] = "rule,thought",
    strategy: Annotated[
        Literal["random", "length", "longest", "diversity", "difficulty"],
        typer.Option(help="Which training sessions come first."),
    ] = "random",
    ratio: Annotated[float, typer.Option(help="Share of the pieces of each format, above 0 and at most 1.")] = 0.5,
    seed: Annotated[int, typer.Option(help="The same seed draws the same.")] = 0,
    student: Annotated[
        str, typer.Option("--student", "-s", help="For difficulty: whose answers on the train split count.")
    ] = "smollm2",
    add_to: Annotated[
        str | None, typer.Option("--add-to", help="A sample that this one holds too.", metavar="NAME")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a sample of this name.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Draw a share of the knowledge, from every format of every dataset.

    The strategy puts the training sessions in an order, and a piece comes where the first of its sessions does. A
    larger ratio of the same strategy and seed holds the smaller one.

    random: by chance. length: short and long ones in proportion. longest: the longest first. diversity: each next one
    is the least like those before. difficulty: those first that the student answers worst without knowledge.
    """
    from kdtui.workflows.sample import create_sample
    from kdtui.workflows.students import settings_for
    from store.records import FORMATS

    wanted = some_formats(format_, FORMATS)
    with open_store(db) as store:
        count = create_sample(
            store,
            name,
            dataset or [chosen_dataset(store, None)],
            wanted,
            strategy=strategy,
            ratio=ratio,
            seed=seed,
            student=settings_for(student).student,
            add_to=add_to,
            replace=replace,
        )
    say(f"sample {name} has {count:,} pieces of knowledge")


@app.command("ls")
def ls(as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """List samples, and how they were drawn."""
    import msgspec

    from store.samples import list_samples

    with open_store(db) as store:
        found = list_samples(store)
    if as_json:
        for sample in found:
            print_json(
                {
                    "name": sample.name,
                    "pieces": sample.pieces,
                    "draws": msgspec.to_builtins(sample.draws),
                    "created_at": sample.created_at,
                }
            )
        return
    if not found:
        say("there is no sample yet; kdtui sample create NAME draws one")
        return
    print_table(
        ["name", "pieces", "drawn from"],
        [
            (
                sample.name,
                sample.pieces,
                "; ".join(
                    f"{draw.ratio:g} of the {draw.format}s of {draw.dataset} by {draw.strategy}, seed {draw.seed}"
                    for draw in sample.draws
                ),
            )
            for sample in found
        ],
        wide=["drawn from"],
    )


@app.command("compare")
def compare(one: NameArgument, other: NameArgument, as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """How much two samples have in common."""
    from kdtui.workflows.sample import overlap

    with open_store(db) as store:
        common, first, second = overlap(store, one, other)
    together = first + second - common
    jaccard = common / together if together else 0.0
    if as_json:
        print_json({"common": common, "pieces": [first, second], "jaccard": jaccard})
        return
    print_table(
        ["sample", "pieces", "share that the other has"],
        [(name, size, common / size if size else None) for name, size in ((one, first), (other, second))],
    )
    say(f"{common:,} pieces are in both (Jaccard {jaccard:.3f})")


@app.command("rm")
def rm(name: NameArgument, db: DatabaseOption = None) -> None:
    """Delete a sample; its knowledge stays."""
    from store.samples import delete_sample

    with open_store(db) as store:
        delete_sample(store, name)
    say(f"sample {name} is deleted")
