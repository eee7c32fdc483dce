"""`kdtui knowledge`: what is known about bundles."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli.options import (
    LARGEST,
    BudgetOption,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    KnowledgeOption,
    NeighboursOption,
    SampleOption,
    chosen_dataset,
    formats,
    open_store,
    some_formats,
)
from kdtui.cli.output import print_json, print_table, print_text, say

if TYPE_CHECKING:
    from store.knowledge import Knowledge

app = typer.Typer(help="Distil, list, search and show knowledge.", no_args_is_help=True)

_SESSIONS_SHOWN = 10
_STATEMENT = 160
"""Characters of a statement in a list; a thought is much longer."""

FormatOption = Annotated[
    Literal["pattern", "rule", "thought"] | None, typer.Option("--format", "-f", help="Only this format.")
]
RejectedOption = Annotated[
    bool, typer.Option("--rejected", help="What is kept with a reason not to use it, instead of what is used.")
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


@app.command("distill")
def distill(
    dataset: DatasetOption = None,
    format_: Annotated[
        str, typer.Option("--format", "-f", help="Formats, comma-separated: rule, thought.", metavar="FORMATS")
    ] = "rule,thought",
    db: DatabaseOption = None,
) -> None:
    """Compose rules and thoughts from the bundles, intents and categories of the training sessions.

    The teacher are the people who bundled them; no model is asked. What is not good enough is kept apart, with the
    reason: kdtui knowledge ls --rejected.
    """
    from kdtui.workflows.distill import DISTILLED, distil_annotations

    wanted = some_formats(format_, DISTILLED)
    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        for event in distil_annotations(store, name, wanted):
            say(f"{event.kept:,} {event.format}s of dataset {name} are kept, {event.rejected:,} are rejected")


@app.command("for")
def for_session(
    session: Annotated[str, typer.Argument(help="Id of a stored session.", metavar="SESSION")],
    dataset: DatasetOption = None,
    knowledge: KnowledgeOption = "pattern,rule,thought",
    sample: SampleOption = None,
    neighbours: NeighboursOption = None,
    budget: BudgetOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show the knowledge that would be used for a session, and the exact prompt."""
    from kdtui.workflows.students import settings_for, shown_prompt
    from models.embedded import NAME
    from store.datasets import get_session

    settings = settings_for(NAME, formats(knowledge), sample=sample, neighbours=neighbours, budget=budget)
    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        applicable, messages = shown_prompt(store, name, settings, get_session(store, name, session))
    used = [piece.number for piece in (*applicable.rules, *applicable.thoughts)]
    if as_json:
        print_json(
            {"session": session, "knowledge": used, "messages": [[each.role, each.content] for each in messages]}
        )
        return
    for message in messages:
        print_text(f"[{message.role}]\n{message.content}\n")
    say(f"rules and thoughts used: {', '.join(map(str, used)) or 'none'}; kdtui knowledge show N shows one")


@app.command("ls")
def ls(
    dataset: DatasetOption = None,
    format_: FormatOption = None,
    sample: SampleOption = None,
    rejected: RejectedOption = False,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """List knowledge, the best supported first."""
    from store.knowledge import find_knowledge

    with open_store(db) as store:
        pieces = find_knowledge(
            store,
            dataset=dataset,
            format=format_,
            sample=sample,
            status="rejected" if rejected else "kept",
            limit=limit,
        )
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
    """Show one piece of knowledge with all that is known of it, and the tree of what it comes from."""
    from store.knowledge import get_knowledge, parents_of, sessions_of

    with open_store(db) as store:
        piece = get_knowledge(store, number)
        sessions, parents = sessions_of(store, number), parents_of(store, number)
    if as_json:
        print_json(_to_json(piece) | {"sessions": sessions, "parents": [parent.id for parent in parents]})
        return
    shown = _to_json(piece) | {"content": piece.content}
    print_table(["", "value"], [(key, value) for key, value in shown.items() if value is not None], wide=["value"])
    leaves = [f"teacher {piece.teacher}"]
    leaves += [f"call {piece.call_id}"] if piece.call_id is not None else []
    leaves += [f"session {session}" for session in sessions[:_SESSIONS_SHOWN]]
    leaves += [f"{len(sessions) - _SESSIONS_SHOWN:,} more sessions"] if len(sessions) > _SESSIONS_SHOWN else []
    leaves += [f"{parent.format} {parent.id}: {parent.statement}" for parent in parents]
    print_text("comes from")
    for leaf in leaves[:-1]:
        print_text(f"├── {leaf}")
    print_text(f"└── {leaves[-1]}")


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
        [(p.id, p.format, p.dataset, _short(p), p.support, p.confidence, p.lift, p.precision) for p in pieces],
        wide=["statement"],
    )
    if len(pieces) == limit:
        say(f"there may be more than these {limit}; --limit shows them")


def _short(piece: "Knowledge") -> str:
    """A statement for a list; what is rejected says why."""
    from kdtui.bundling.text import one_line

    statement = one_line(piece.statement, _STATEMENT)
    return statement if piece.reason is None else f"{statement} ({piece.reason})"


def _to_json(piece: "Knowledge") -> dict[str, object]:
    import json
    from dataclasses import asdict

    return asdict(piece) | {"content": json.loads(piece.content)}
