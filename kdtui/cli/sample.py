"""`kdtui sample`: draw, list, compare and delete samples of knowledge."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import (
    LARGEST,
    DatabaseOption,
    JsonOption,
    OutputOption,
    PiecesOption,
    QueryOption,
    chosen_dataset,
    chosen_output,
    chosen_pieces,
    next_command,
    open_store,
    some_formats,
)
from kdtui.cli.output import print_gap, print_json, print_table, say
from kdtui.cli.removal import YesOption, confirm_removal, counts
from kdtui.text import counted

if TYPE_CHECKING:
    from store.samples import Sample
    from store.sqlite import Database

app = App(
    "Draw, list, compare and delete samples of knowledge.",
    examples=["kdtui sample create half --ratio 0.5", "kdtui sample ls"],
    no_args_is_help=True,
)

NameArgument = Annotated[
    str, typer.Argument(help="Name of a sample.", metavar="NAME", autocompletion=completion.names("samples"))
]


NamesArgument = Annotated[
    list[str],
    typer.Argument(help="Names of samples.", metavar="NAME", autocompletion=completion.names("samples")),
]


@app.command(
    "create",
    examples=[
        "kdtui sample create half --dataset demo-outdoor --strategy diversity --ratio 0.5",
        "kdtui sample create tents --query tent",
    ],
)
def create(
    name: NameArgument,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Dataset to draw from; may be repeated.",
            metavar="NAME",
            autocompletion=completion.names("datasets"),
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="Formats, comma-separated: pattern, rule, thought; all by default.",
            metavar="FORMATS",
            autocompletion=completion.several_of(*completion.FORMATS),
        ),
    ] = None,
    strategy: Annotated[
        Literal["random", "length", "longest", "diversity", "difficulty"],
        typer.Option(help="Order of the training sessions."),
    ] = "random",
    ratio: Annotated[float, typer.Option(help="Share of the pieces of each format, above 0 and at most 1.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of the draw.", min=-LARGEST, max=LARGEST)] = 0,
    student: Annotated[
        str,
        typer.Option(
            "--student",
            "-s",
            help="For difficulty: the student whose answers on the train split count.",
            metavar="STUDENT",
            autocompletion=completion.names("bases", *completion.STUDENTS),
        ),
    ] = "smollm2",
    add_to: Annotated[
        str | None,
        typer.Option(
            "--add-to",
            help="Include all pieces of this sample.",
            metavar="NAME",
            autocompletion=completion.names("samples"),
        ),
    ] = None,
    pieces: PiecesOption = None,
    query: QueryOption = None,
    all_: Annotated[bool, typer.Option("--all", help="With --pieces or --query: include rejected pieces.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a sample of the same name.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Draw a share of the knowledge from each format of each dataset, or pick pieces by hand.

    The strategy puts the training sessions in order. A piece ranks with the earliest of its sessions, and the first
    pieces are taken. With the same strategy and seed, a larger ratio includes the smaller one.

    random: in random order. length: short and long sessions in proportion. longest: longest first. diversity: next the
    session least similar to those before. difficulty: first the sessions that the student answers worst without
    knowledge.

    With --pieces or --query nothing is drawn: the sample has exactly these pieces. Rejected pieces are left out,
    because no student sees them; --all or status:rejected includes them.
    """
    from kdtui.workflows.knowledge.query import parse_query
    from kdtui.workflows.knowledge.sample import create_sample, pick_sample
    from kdtui.workflows.student.settings import settings_for
    from store.records import FORMATS
    from store.samples import count_formats, list_samples

    if not name.strip():
        raise typer.BadParameter("a sample needs a name", param_hint="NAME")
    chosen_formats = None if format_ is None else some_formats(format_, FORMATS)
    with open_store(database) as store:
        replaced = next((each for each in list_samples(store) if replace and each.name == name), None)
        chosen = chosen_pieces(store, pieces, query)
        if chosen is not None:
            rejected = all_ or (query is not None and bool(parse_query(query).statuses))
            picked = pick_sample(store, name, chosen, add_to=add_to, rejected=rejected, replace=replace)
            say(picked.sentence(name))
            _say_replaced(store, replaced)
            return
        if all_:
            raise typer.BadParameter("--all needs --pieces or --query; rejected pieces are never drawn")
        count = create_sample(
            store,
            name,
            dataset or [chosen_dataset(store, None)],
            chosen_formats,
            strategy=strategy,
            ratio=ratio,
            seed=seed,
            student=settings_for(student).student,
            add_to=add_to,
            replace=replace,
        )
        formats = count_formats(store, name)
        held = ", ".join(counted(formats[format], format) for format in FORMATS if format in formats)
        say(f"sample {name} has {counted(count, 'piece')} of knowledge: {held}")
        _say_replaced(store, replaced)


def _say_replaced(store: "Database", sample: "Sample | None") -> None:
    """Say which sample was replaced, and which runs and trainings used the old one."""
    if sample is None:
        return
    from store.samples import sample_uses

    uses = sample_uses(store, sample.name)
    users = [*(f"run {run}" for run in uses.runs), *(f"training {training}" for training in uses.trainings)]
    named = f"; {', '.join(users)} used the old one" if users else ""
    say(f"it replaces a sample with {counted(sample.pieces, 'piece')}{named}")


@app.command("ls", examples=["kdtui sample ls"])
def ls(output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None) -> None:
    """List samples and how they were drawn."""
    import msgspec

    from kdtui.workflows.knowledge.sample_summary import draws_in_words
    from store.samples import list_samples

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        samples = list_samples(store)
    print_table(
        ["name", "pieces", "drawn"],
        [(sample.name, sample.pieces, draws_in_words(sample)) for sample in samples],
        wide=["drawn"],
        output=printed_as,
        records=(
            {
                "name": sample.name,
                "pieces": sample.pieces,
                "draws": msgspec.to_builtins(sample.draws),
                "created_at": sample.created_at,
            }
            for sample in samples
        ),
        empty=f"there is no sample yet; {next_command('sample', 'create', 'NAME')} draws one",
    )


@app.command("show", examples=["kdtui sample show half"])
def show(
    name: NameArgument, output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None
) -> None:
    """Show a sample: its formats, lengths and sessions, and the runs and trainings that use it."""
    import msgspec

    from kdtui.bundling.histogram import bar
    from kdtui.workflows.knowledge.sample import sample_shape
    from kdtui.workflows.knowledge.sample_summary import draws_in_words
    from store.samples import get_sample, sample_uses

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        sample, shape, uses = get_sample(store, name), sample_shape(store, name), sample_uses(store, name)
    if printed_as == "json":
        print_json(
            {
                "name": sample.name,
                "pieces": sample.pieces,
                "draws": msgspec.to_builtins(sample.draws),
                "created_at": sample.created_at,
                "formats": shape.formats,
                "tokens": [msgspec.to_builtins(each) for each in shape.lengths],
                "products": [msgspec.to_builtins(each) for each in shape.products],
                "without_session": shape.without_session,
                "runs": uses.runs,
                "trainings": uses.trainings,
            }
        )
        return
    for heading, values in (
        ("format", list(shape.formats.items())),
        ("tokens, roughly", [(each.label, each.count) for each in shape.lengths]),
        ("products", [(each.label, each.count) for each in shape.products]),
    ):
        largest = max((count for _, count in values), default=0)
        what = "sessions" if heading == "products" else "pieces"
        if heading != "format":
            print_gap(printed_as)
        if printed_as == "table":
            print_table([heading, what, ""], [(label, count, bar(count, largest, 40)) for label, count in values])
        else:
            print_table([heading, what], values, output=printed_as)
    if shape.without_session:
        say(
            f"{counted(shape.without_session, 'piece has', 'pieces have')} no session: patterns come from too many "
            "sessions, and imported pieces may come from sessions that this store does not have"
        )
    drawn = draws_in_words(sample)
    say(f"sample {name} has {counted(sample.pieces, 'piece')}" + (f": {drawn}" if drawn else ""))
    users = [*(f"run {run}" for run in uses.runs), *(f"training {training}" for training in uses.trainings)]
    if users:
        say(f"used by {', '.join(users)}")


@app.command("compare", examples=["kdtui sample compare half tents", "kdtui sample compare half tents --shared"])
def compare(
    one: NameArgument,
    other: NameArgument,
    shared: Annotated[bool, typer.Option("--shared", help="List the pieces that both have.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Compare two samples: how many pieces both have."""
    from kdtui.workflows.knowledge.sample import count_overlap
    from store.samples import shared_pieces

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        result = count_overlap(store, one, other)
        pieces = list(shared_pieces(store, one, other)) if shared else []
    if shared:
        print_table(
            ["id", "format", "dataset", "statement"],
            [(piece.number, piece.format, piece.dataset, piece.statement) for piece in pieces],
            wide=["statement"],
            output=printed_as,
        )
        return
    if printed_as == "json":
        print_json({"common": result.common, "pieces": [result.first, result.second], "jaccard": result.jaccard})
        return
    print_table(
        ["sample", "pieces", "share in the other"],
        [
            (name, size, result.common / size if size else None)
            for name, size in ((one, result.first), (other, result.second))
        ],
        output=printed_as,
    )
    say(f"{counted(result.common, 'piece is', 'pieces are')} in both (Jaccard {result.jaccard:.3f})")


@app.command("rm", examples=["kdtui sample rm half", "kdtui sample rm half tents --yes"])
def rm(names: NamesArgument, yes: YesOption = False, database: DatabaseOption = None) -> None:
    """Delete samples; their knowledge stays."""
    from store.samples import delete_sample, get_sample, sample_uses

    with open_store(database) as store:
        chosen = {}
        for name in dict.fromkeys(names):
            uses = sample_uses(store, name)
            named = counts({"run": len(uses.runs), "training": len(uses.trainings)}, "used by")
            pieces = counted(get_sample(store, name).pieces, "piece stays", "pieces stay")
            chosen[name] = [f"whose {pieces}", *named]
        confirm_removal({f"sample {name}": notes for name, notes in chosen.items()}, yes=yes)
        for name, notes in chosen.items():
            delete_sample(store, name)
            say(", ".join([f"deleted sample {name}", *notes]))
