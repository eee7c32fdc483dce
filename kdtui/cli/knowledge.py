"""`kdtui knowledge`: what is known about bundles."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli.options import LARGEST, DatabaseOption, DatasetOption, JsonOption, chosen_dataset, open_store
from kdtui.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from store.knowledge import Knowledge

app = typer.Typer(help="Mine, list, search and show knowledge.", no_args_is_help=True)

FormatOption = Annotated[
    Literal["pattern", "rule", "thought"] | None, typer.Option("--format", "-f", help="Only this format.")
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", help="Rows at most.", min=1, max=LARGEST, metavar="N")]


@app.command("mine")
def mine(
    dataset: DatasetOption = None,
    level: Annotated[
        list[int] | None,
        typer.Option("--level", help="Category depth to mine; may be given several times (2, 3 and 4).", min=1),
    ] = None,
    min_support: Annotated[
        float, typer.Option(help="Least share of training bundles that hold a pattern.", min=0, max=1)
    ] = 0.005,
    max_size: Annotated[int, typer.Option(help="Most categories in a pattern.", min=2, max=6)] = 3,
    db: DatabaseOption = None,
) -> None:
    """Mine frequent category patterns from the training bundles."""
    from kdtui.distill.patterns import DEFAULT_LEVELS
    from kdtui.workflows.mine_patterns import mine_patterns

    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        count = mine_patterns(store, name, levels=level or DEFAULT_LEVELS, min_support=min_support, max_size=max_size)
    say(f"mined {count:,} patterns of dataset {name}")


@app.command("ls")
def ls(
    dataset: DatasetOption = None,
    format_: FormatOption = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """List knowledge, the best supported first."""
    from store.knowledge import find_knowledge

    with open_store(db) as store:
        pieces = find_knowledge(store, dataset=dataset, format=format_, limit=limit)
    _print_pieces(pieces, as_json, limit, "there is none yet; kdtui knowledge mine finds patterns in training bundles")


@app.command("search")
def search(
    text: Annotated[str, typer.Argument(help="Words to look for, or their beginnings.")],
    dataset: DatasetOption = None,
    format_: FormatOption = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Search knowledge by its words, the best match first."""
    from store.knowledge import find_knowledge

    with open_store(db) as store:
        pieces = find_knowledge(store, text, dataset=dataset, format=format_, limit=limit)
    _print_pieces(pieces, as_json, limit, f"nothing that is known matches {text}")


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(help="Number of a piece of knowledge, as `ls` shows it.", max=LARGEST)],
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show one piece of knowledge with all that is known of it."""
    from store.knowledge import get_knowledge

    with open_store(db) as store:
        piece = get_knowledge(store, number)
    if as_json:
        print_json(_to_json(piece))
        return
    shown = _to_json(piece) | {"content": piece.content}
    print_table(["", "value"], [(key, value) for key, value in shown.items() if value is not None], wide=["value"])


def _print_pieces(pieces: "list[Knowledge]", as_json: bool, limit: int, otherwise: str) -> None:
    if as_json:
        for piece in pieces:
            print_json(_to_json(piece))
        return
    if not pieces:
        say(otherwise)
        return
    print_table(
        ["id", "format", "dataset", "statement", "support", "conf.", "lift", "prec."],
        [(p.id, p.format, p.dataset, p.statement, p.support, p.confidence, p.lift, p.precision) for p in pieces],
        wide=["statement"],
    )
    if len(pieces) == limit:
        say(f"there may be more than these {limit}; --limit shows them")


def _to_json(piece: "Knowledge") -> dict[str, object]:
    import json
    from dataclasses import asdict

    return asdict(piece) | {"content": json.loads(piece.content)}
