"""`kdtui knowledge`: what is known about bundles."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.bundling.text import counted
from kdtui.cli import calls, distill, exchange_knowledge
from kdtui.cli.options import (
    LARGEST,
    BudgetOption,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    KnowledgeOption,
    LimitOption,
    NearOption,
    NeighboursOption,
    QueryOption,
    SampleOption,
    StrategyOption,
    chosen_dataset,
    chosen_pieces,
    formats,
    open_store,
)
from kdtui.cli.output import Branch, print_json, print_table, print_text, print_tree, say

if TYPE_CHECKING:
    from kdtui.workflows.about_piece import Origin
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
AllOption = Annotated[bool, typer.Option("--all", help="What is rejected, too.")]
ReverseOption = Annotated[bool, typer.Option("--reverse", help="The other way round.")]


def for_session(
    session: Annotated[str, typer.Argument(help="Id of a stored session.", metavar="SESSION")],
    dataset: DatasetOption = None,
    knowledge: KnowledgeOption = "pattern,rule,thought",
    sample: SampleOption = None,
    neighbours: NeighboursOption = None,
    near: NearOption = None,
    budget: BudgetOption = None,
    strategy: StrategyOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show the knowledge that would be used for a session, and the exact prompt."""
    from kdtui.workflows.students import settings_for, shown_prompt
    from models.embedded import NAME
    from store.datasets import get_session

    settings = settings_for(
        NAME, formats(knowledge), strategy=strategy, sample=sample, neighbours=neighbours, budget=budget, near=near
    )
    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        applicable, messages = shown_prompt(store, name, settings, get_session(store, name, session))
    used = applicable.numbers
    if as_json:
        print_json(
            {"session": session, "knowledge": used, "messages": [[each.role, each.content] for each in messages]}
        )
        return
    for message in messages:
        print_text(f"[{message.role}]\n{message.content}\n")
    if used:
        say(f"rules and thoughts used: {', '.join(map(str, used))}; kdtui knowledge show N shows one")
    elif "rule" in settings.knowledge or "thought" in settings.knowledge:
        say("no rule and no thought is used: none applies to this session, or fits into the budget")


def ls(
    dataset: DatasetOption = None,
    format_: FormatOption = None,
    sample: SampleOption = None,
    rejected: RejectedOption = False,
    all_: AllOption = False,
    sort: Annotated[
        Literal["support", "precision", "confidence", "lift", "newest"],
        typer.Option(help="What comes first: the largest, or the newest."),
    ] = "support",
    reverse: ReverseOption = False,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """List knowledge, the best supported first."""
    from kdtui.workflows.pieces import search_pieces, why_nothing_found
    from store.records import KnowledgeQuery

    query = KnowledgeQuery(
        formats=(format_,) if format_ else (),
        datasets=(dataset,) if dataset is not None else (),
        samples=(sample,) if sample is not None else (),
        statuses=() if all_ else ("rejected",) if rejected else ("kept",),
    )
    with open_store(db) as store:
        pieces = search_pieces(store, query, sort, reverse=reverse, limit=limit)
        otherwise = "" if pieces else why_nothing_found(store, query)
    _print_pieces(pieces, as_json, limit, otherwise)


def search(
    text: Annotated[str, typer.Argument(help="Words to look for, or their beginnings, and filters.")],
    dataset: DatasetOption = None,
    format_: FormatOption = None,
    all_: AllOption = False,
    sort: Annotated[
        Literal["match", "support", "precision", "confidence", "lift", "newest"],
        typer.Option(help="What comes first: the best match (of words), the largest, or the newest."),
    ] = "match",
    reverse: ReverseOption = False,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Search knowledge by its words, the best match first.

    Filters can stand among the words: format:rule, dataset:NAME, teacher:NAME, status:rejected, sample:NAME,
    origin:NAME (imported from that dataset), support:>0.02, precision:<=0.5, confidence:>0.9, lift:>2. What has blanks
    or a colon goes in double quotes: teacher:"large model".
    """
    from msgspec.structs import replace

    from kdtui.workflows.knowledge_query import parse_query
    from kdtui.workflows.pieces import search_pieces, why_nothing_found

    query = parse_query(text)
    query = replace(
        query,
        formats=(*query.formats, format_) if format_ else query.formats,
        datasets=(*query.datasets, dataset) if dataset is not None else query.datasets,
        statuses=query.statuses if query.statuses or all_ else ("kept",),
    )
    with open_store(db) as store:
        pieces = search_pieces(store, query, sort, reverse=reverse, limit=limit)
        otherwise = "" if pieces else why_nothing_found(store, query)
    _print_pieces(pieces, as_json, limit, otherwise)


def rm(
    numbers: Annotated[
        list[str] | None, typer.Argument(help="Numbers of pieces, as `ls` shows them, or ranges: 40-52.")
    ] = None,
    query: QueryOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Delete pieces of knowledge."""
    from kdtui.workflows.pieces import what_hangs_on
    from store.knowledge_removal import dependents_of, remove_knowledge

    with open_store(db) as store:
        chosen = chosen_pieces(store, " ".join(numbers) if numbers else None, query)
        if chosen is None:
            raise typer.BadParameter("say which, by their numbers or with --query")
        found = dependents_of(store, chosen)
        if not yes:
            typer.confirm(
                f"Delete {counted(found.pieces, 'piece')} of knowledge? {what_hangs_on(found)}", abort=True, err=True
            )
        remove_knowledge(store, chosen)
    say(f"deleted {counted(found.pieces, 'piece')} of knowledge")


def show(
    number: Annotated[int, typer.Argument(help="Number of a piece of knowledge, as `ls` shows it.", max=LARGEST)],
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show one piece of knowledge with all that is known of it, and the tree of what it comes from."""
    from kdtui.workflows.about_piece import about_piece, told_origin

    with open_store(db) as store:
        about = about_piece(store, number)
    piece, origin = about.piece, about.origin
    if as_json:
        print_json(
            _to_json(piece)
            | {
                "sessions": origin.sessions,
                "parents": [parent.piece.id for parent in origin.parents],
                "samples": about.samples,
                "runs": about.runs,
                "trainings": about.trainings,
            }
        )
        return
    shown = _to_json(piece) | {"content": piece.content, "origin": told_origin(piece), "own": None}
    print_table(["", "value"], [(key, value) for key, value in shown.items() if value is not None], wide=["value"])
    print_tree(f"{piece.format} {piece.id} comes from", _branches(origin))
    uses = [
        *(f"sample {name}" for name in about.samples),
        *(f"run {run}" for run in about.runs),
        *(f"training {name}" for name in about.trainings),
    ]
    if uses:
        print_tree("it was offered to", [(use, []) for use in uses])


def _branches(origin: "Origin") -> "list[Branch]":
    """What a piece comes from, and what its teacher was given, which has an origin too."""
    from kdtui.workflows.about_piece import told_origin

    branches: list[Branch] = [(f"teacher {origin.piece.teacher}", [])]
    if (told := told_origin(origin.piece)) is not None:
        branches.append((told, []))
    if origin.piece.call_id is not None:
        branches.append((f"call {origin.piece.call_id}", []))
    branches += [(f"session {session}", []) for session in origin.sessions[:_SESSIONS_SHOWN]]
    if len(origin.sessions) > _SESSIONS_SHOWN:
        branches.append((counted(len(origin.sessions) - _SESSIONS_SHOWN, "more session"), []))
    for parent in origin.parents:
        branches.append((f"{parent.piece.format} {parent.piece.id}: {_short(parent.piece)}", _branches(parent)))
    return branches


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
    """A statement for a list; what is rejected says why, and what was imported from where."""
    from pathlib import Path

    from kdtui.bundling.text import one_line

    notes = [] if piece.reason is None else [piece.reason]
    if piece.origin is not None:
        notes.append(f"from {piece.origin.dataset or Path(piece.origin.file).name}")
    return one_line(piece.statement, _STATEMENT) + (f" ({'; '.join(notes)})" if notes else "")


def _to_json(piece: "Knowledge") -> dict[str, object]:
    import json
    from dataclasses import asdict

    return asdict(piece) | {"content": json.loads(piece.content)}


# The help lists them in this order.
app.command("mine")(distill.mine)
app.command("distill")(distill.distill)
app.command("for")(for_session)
app.command("export")(exchange_knowledge.export)
app.command("import")(exchange_knowledge.import_)
app.command("ls")(ls)
app.command("search")(search)
app.command("rm")(rm)
app.command("show")(show)
app.command("calls")(calls.calls)
