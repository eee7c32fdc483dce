"""`kdtui knowledge`: make, list, search, share and delete knowledge."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli import calls, completion, distill, exchange_knowledge
from kdtui.cli.commands import App
from kdtui.cli.options import (
    LARGEST,
    BudgetOption,
    DatabaseOption,
    DatasetOption,
    DomainsOption,
    JsonOption,
    KnowledgeFormatOption,
    KnowledgeOption,
    LimitOption,
    NearOption,
    NeighboursOption,
    OutputOption,
    QueryOption,
    SampleOption,
    StrategyOption,
    chosen_dataset,
    chosen_output,
    chosen_pieces,
    formats,
    formats_and_output,
    next_command,
    open_store,
)
from kdtui.cli.output import Branch, Output, print_json, print_table, print_text, print_tree, say
from kdtui.cli.removal import YesOption, confirm_removal, counts
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.about_piece import PieceSources
    from store.knowledge import Knowledge

app = App(
    "Distil, list, search and show knowledge.",
    examples=["kdtui knowledge mine", "kdtui knowledge search tents"],
    no_args_is_help=True,
)

_SESSIONS_SHOWN = 10
_STATEMENT = 160
"""Maximum length of a statement in a list, in characters; thoughts are much longer."""

RejectedOption = Annotated[bool, typer.Option("--rejected", help="List the rejected pieces instead of the kept ones.")]
AllOption = Annotated[bool, typer.Option("--all", help="Include rejected pieces.")]
ReverseOption = Annotated[bool, typer.Option("--reverse", help="Reverse the order.")]


def for_session(
    session: Annotated[
        str,
        typer.Argument(help="Id of a stored session.", metavar="SESSION", autocompletion=completion.names("sessions")),
    ],
    dataset: DatasetOption = None,
    knowledge: KnowledgeOption = "pattern,rule,thought",
    sample: SampleOption = None,
    domains: DomainsOption = "own",
    neighbours: NeighboursOption = None,
    near: NearOption = None,
    budget: BudgetOption = None,
    strategy: StrategyOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Show the exact prompt for a session, with the knowledge in it."""
    from kdtui.workflows.student.open import shown_prompt
    from kdtui.workflows.student.settings import settings_for
    from models.embedded import NAME
    from store.sessions import get_session

    settings = settings_for(
        NAME,
        formats(knowledge),
        strategy=strategy,
        sample=sample,
        domains=domains,
        neighbours=neighbours,
        budget=budget,
        near=near,
    )
    with open_store(database) as store:
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
        say(f"rules and thoughts used: {', '.join(map(str, used))}; {next_command('knowledge', 'show', 'N')} shows one")
    elif "rule" in settings.knowledge or "thought" in settings.knowledge:
        say("no rule or thought is used: none applies to this session and fits into the budget")


def ls(
    dataset: DatasetOption = None,
    format_: KnowledgeFormatOption = None,
    sample: SampleOption = None,
    rejected: RejectedOption = False,
    all_: AllOption = False,
    sort: Annotated[
        Literal["support", "precision", "confidence", "lift", "newest"],
        typer.Option(help="Sort by this measure, largest first, or by time, newest first."),
    ] = "support",
    reverse: ReverseOption = False,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """List knowledge, by default the best supported pieces first."""
    from kdtui.workflows.knowledge.pieces import search_pieces, why_nothing_found
    from store.records import FORMATS, KnowledgeQuery

    named_formats, printed_as = formats_and_output(format_, as_json, FORMATS)
    query = KnowledgeQuery(
        formats=named_formats,
        datasets=(dataset,) if dataset is not None else (),
        samples=(sample,) if sample is not None else (),
        statuses=() if all_ else ("rejected",) if rejected else ("kept",),
    )
    with open_store(database) as store:
        pieces = search_pieces(store, query, sort, reverse=reverse, limit=limit + 1)
        otherwise = "" if pieces else why_nothing_found(store, query)
    _print_pieces(pieces, printed_as, limit, otherwise)


def search(
    text: Annotated[str, typer.Argument(help="Words, or beginnings of words, and filters.")],
    dataset: DatasetOption = None,
    format_: KnowledgeFormatOption = None,
    all_: AllOption = False,
    sort: Annotated[
        Literal["match", "support", "precision", "confidence", "lift", "newest"],
        typer.Option(
            help="Sort by match of the words, best first; by a measure, largest first; or by time, newest first."
        ),
    ] = "match",
    reverse: ReverseOption = False,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Search knowledge by words, best match first.

    The text can contain filters: format:rule, dataset:NAME, teacher:NAME, status:rejected, sample:NAME, origin:NAME
    (imported from that dataset), support:>0.02, precision:<=0.5, confidence:>0.9, lift:>2. Put double quotes around
    values with blanks or colons: teacher:"large model".
    """
    from msgspec.structs import replace

    from kdtui.workflows.knowledge.pieces import search_pieces, why_nothing_found
    from kdtui.workflows.knowledge.query import parse_query
    from store.records import FORMATS

    named_formats, printed_as = formats_and_output(format_, as_json, FORMATS)
    query = parse_query(text)
    query = replace(
        query,
        formats=(*query.formats, *named_formats),
        datasets=(*query.datasets, dataset) if dataset is not None else query.datasets,
        statuses=query.statuses if query.statuses or all_ else ("kept",),
    )
    with open_store(database) as store:
        pieces = search_pieces(store, query, sort, reverse=reverse, limit=limit + 1)
        otherwise = "" if pieces else why_nothing_found(store, query)
    _print_pieces(pieces, printed_as, limit, otherwise)


def rm(
    numbers: Annotated[
        list[str] | None,
        typer.Argument(
            help="Numbers of pieces, from kdtui knowledge ls, or ranges: 40-52.",
            metavar="NUMBER",
            autocompletion=completion.names("pieces"),
        ),
    ] = None,
    query: QueryOption = None,
    yes: YesOption = False,
    database: DatabaseOption = None,
) -> None:
    """Delete pieces of knowledge, from samples too."""
    from store.knowledge_removal import dependents_of, remove_knowledge

    with open_store(database) as store:
        chosen = chosen_pieces(store, " ".join(numbers) if numbers else None, query)
        if chosen is None:
            raise typer.BadParameter("give the numbers of pieces, or --query")
        dependents = dependents_of(store, chosen)
        notes = counts(
            {
                "link to a training session|links to training sessions": dependents.sessions,
                "source of another piece|sources of other pieces": dependents.children,
            }
        ) + (
            [f"out of {counted(len(dependents.samples), 'sample')}: {', '.join(dependents.samples)}"]
            if dependents.samples
            else []
        )
        what = f"{counted(dependents.pieces, 'piece')} of knowledge"
        confirm_removal({what: notes}, yes=yes)
        remove_knowledge(store, chosen)
    say(", ".join([f"deleted {what}", *notes]))


def show(
    number: Annotated[
        int,
        typer.Argument(
            help="Number of a piece, from kdtui knowledge ls.",
            metavar="NUMBER",
            max=LARGEST,
            autocompletion=completion.names("pieces"),
        ),
    ],
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Show a piece of knowledge in full, with its sources as a tree and its uses."""
    from kdtui.workflows.knowledge.about_piece import about_piece, origin_in_words

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        about = about_piece(store, number)
    piece, sources = about.piece, about.sources
    if printed_as == "json":
        print_json(
            _to_json(piece)
            | {
                "sessions": sources.sessions,
                "parents": [parent.piece.id for parent in sources.parents],
                "samples": about.samples,
                "runs": about.runs,
                "trainings": about.trainings,
            }
        )
        return
    shown = _to_json(piece) | {"content": piece.content, "origin": origin_in_words(piece), "own": None}
    print_table(
        ["" if printed_as == "table" else "what", "value"],
        [(key, value) for key, value in shown.items() if value is not None],
        wide=["value"],
        output=printed_as,
    )
    if printed_as != "table":
        return
    print_tree(f"{piece.format} {piece.id} comes from", _branches(sources))
    uses = [
        *(f"sample {name}" for name in about.samples),
        *(f"run {run}" for run in about.runs),
        *(f"training {name}" for name in about.trainings),
    ]
    if uses:
        print_tree("used by", [(use, []) for use in uses])


def _branches(sources: "PieceSources") -> "list[Branch]":
    """Return the sources of a piece as branches, including those of the pieces that its teacher was given."""
    from kdtui.workflows.knowledge.about_piece import origin_in_words

    branches: list[Branch] = [(f"teacher {sources.piece.teacher}", [])]
    if (origin := origin_in_words(sources.piece)) is not None:
        branches.append((origin, []))
    if sources.piece.call_id is not None:
        branches.append((f"call {sources.piece.call_id}", []))
    branches += [(f"session {session}", []) for session in sources.sessions[:_SESSIONS_SHOWN]]
    if len(sources.sessions) > _SESSIONS_SHOWN:
        branches.append((counted(len(sources.sessions) - _SESSIONS_SHOWN, "more session"), []))
    for parent in sources.parents:
        branches.append((f"{parent.piece.format} {parent.piece.id}: {_short(parent.piece)}", _branches(parent)))
    return branches


def _print_pieces(pieces: "list[Knowledge]", output: Output, limit: int, otherwise: str) -> None:
    """Print pieces up to the limit; one more tells that there are others.

    Args:
        otherwise: the message if there are none.
    """
    more = len(pieces) > limit
    pieces = pieces[:limit]
    print_table(
        ["id", "format", "dataset", "statement", "support", "conf.", "lift", "prec."],
        [(p.id, p.format, p.dataset, _short(p), p.support, p.confidence, p.lift, p.precision) for p in pieces],
        wide=["statement"],
        output=output,
        records=map(_to_json, pieces),
        empty=otherwise,
    )
    if more:
        say(f"there are more than these {limit:,}; --limit shows more")


def _short(piece: "Knowledge") -> str:
    """Return a statement for a list, with the reason of a rejection and the origin of an import."""
    from pathlib import Path

    from kdtui.text import one_line

    notes = [] if piece.reason is None else [piece.reason]
    if piece.origin is not None:
        notes.append(f"from {piece.origin.dataset or Path(piece.origin.file).name}")
    return one_line(piece.statement, _STATEMENT) + (f" ({'; '.join(notes)})" if notes else "")


def _to_json(piece: "Knowledge") -> dict[str, object]:
    import json
    from dataclasses import asdict

    return asdict(piece) | {"content": json.loads(piece.content)}


# The help lists them in this order.
app.command(
    "mine",
    examples=[
        "kdtui knowledge mine --dataset demo-outdoor",
        "kdtui knowledge mine --dataset demo-outdoor --level 2 --level 3",
    ],
)(distill.mine)
app.command(
    "distill",
    examples=[
        "kdtui knowledge distill --dataset demo-outdoor",
        "kdtui knowledge distill --teacher https://HOST/v1#MODEL --dry-run",
    ],
)(distill.distill)
app.command("for", examples=["kdtui knowledge for o34 --dataset demo-outdoor"])(for_session)
app.command("export", examples=["kdtui knowledge export --dataset demo-outdoor --output knowledge-outdoor"])(
    exchange_knowledge.export
)
app.command("import", examples=["kdtui knowledge import knowledge-outdoor --dataset demo-outdoor"])(
    exchange_knowledge.import_
)
app.command("ls", examples=["kdtui knowledge ls --format rule", "kdtui knowledge ls --rejected --format csv"])(ls)
app.command(
    "search", examples=["kdtui knowledge search tents", "kdtui knowledge search 'tent format:rule support:>0.02'"]
)(search)
app.command("rm", examples=["kdtui knowledge rm 17 40-52", 'kdtui knowledge rm --query "status:rejected" --yes'])(rm)
app.command("show", examples=["kdtui knowledge show 17"])(show)
app.command("calls", examples=["kdtui knowledge calls", "kdtui knowledge calls --totals"])(calls.calls)
