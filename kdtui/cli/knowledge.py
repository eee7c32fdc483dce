"""`kdtui knowledge`: what is known about bundles."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli.options import (
    LARGEST,
    BudgetOption,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    KnowledgeOption,
    NearOption,
    NeighboursOption,
    PiecesOption,
    QueryOption,
    SampleOption,
    StrategyOption,
    chosen_dataset,
    chosen_pieces,
    formats,
    open_store,
    some_formats,
)
from kdtui.cli.output import Branch, print_json, print_table, print_text, print_tree, progress_bar, say

if TYPE_CHECKING:
    from kdtui.workflows.about_piece import Origin
    from kdtui.workflows.consult import Tally
    from kdtui.workflows.distill import Distilled
    from kdtui.workflows.distill_with_model import Job
    from store.knowledge import Knowledge
    from store.records import Format
    from store.sqlite import Database

app = typer.Typer(help="Distil, list, search and show knowledge.", no_args_is_help=True)

ANNOTATIONS = "annotations"
"""The teacher without a model."""

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
    teacher: Annotated[
        str,
        typer.Option(help="annotations (those who bundled), an endpoint (URL#MODEL), or a student.", metavar="TEACHER"),
    ] = "annotations",
    key: Annotated[
        str, typer.Option(help="The environment variable that holds the key of the endpoint.", metavar="NAME")
    ] = "OPENAI_API_KEY",
    limit: Annotated[
        int | None, typer.Option(help="Only the first N training sessions.", min=1, max=LARGEST, metavar="N")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Calls under way at a time.", min=1, max=1000)] = 16,
    per_minute: Annotated[
        int | None, typer.Option("--requests-per-minute", help="Calls a minute at most.", min=1, metavar="N")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Tokens a minute at most, by an estimate.", min=1, metavar="N")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a call may take.", min=0.1)] = 120.0,
    prompt_price: Annotated[float, typer.Option(help="Of a million tokens of prompts.", min=0)] = 0.0,
    answer_price: Annotated[float, typer.Option(help="Of a million tokens of answers.", min=0)] = 0.0,
    max_calls: Annotated[
        int | None, typer.Option(help="Pay for so many calls at most.", min=0, max=LARGEST, metavar="N")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(help="Pay so much at most, by these prices.", min=0)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost.")] = False,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Distil rules and thoughts from the training sessions.

    The annotations are a teacher without a model: rules and thoughts are composed from bundles, intents and
    categories. A model behind an endpoint finds bundles, corrects itself, is shown its errors, and states rules (three
    calls a session); a thought is one call. A student of your own answers the training sessions, and rules are about
    what it got wrong. Every answer is kept as it comes, and is never paid for twice: the same
    command goes on where it was stopped. What is not good enough is kept apart, with the reason: kdtui knowledge ls
    --rejected.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.distill import DISTILLED, distil_annotations
    from kdtui.workflows.model_names import check_address, is_endpoint

    wanted = some_formats(format_, DISTILLED)
    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        if teacher == ANNOTATIONS:
            if dry_run:
                raise KdtuiError("the annotations cost nothing; leave out --dry-run")
            for event in distil_annotations(store, name, wanted, limit):
                _print_distilled(event, name, as_json)
            return
        if not is_endpoint(teacher):
            if dry_run:
                raise KdtuiError("a model here costs nothing; leave out --dry-run")
            _have_answered(store, name, wanted, teacher, limit, as_json)
            return
        check_address(teacher)
        from kdtui.workflows.consult import Budget, Prices
        from kdtui.workflows.distill_with_model import Job
        from models.chat_server import Endpoint
        from models.teacher import Pace

        url, _, model = teacher.partition("#")
        job = Job(
            name,
            wanted,
            Endpoint(url, model or None, key),
            Pace(concurrency, per_minute, tokens_per_minute, timeout),
            Prices(prompt_price, answer_price),
            Budget(max_calls, max_cost),
            limit,
        )
        _ask_model(store, job, as_json, dry_run=dry_run)


def _have_answered(
    store: "Database", dataset: str, wanted: "tuple[Format, ...]", student: str, limit: int | None, as_json: bool
) -> None:
    """Distil with a model of one's own and show how it goes."""
    from kdtui.workflows.distill import Distilled, training_sessions
    from kdtui.workflows.distill_with_student import distil_with_student
    from kdtui.workflows.generate import SessionAnswered

    with progress_bar() as progress:
        task = progress.add_task("sessions", total=len(training_sessions(store, dataset)[:limit]))
        try:
            for event in distil_with_student(store, dataset, wanted, student, limit):
                if isinstance(event, SessionAnswered):
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
                elif isinstance(event, Distilled):
                    _print_distilled(event, dataset, as_json)
        except KeyboardInterrupt:
            say("interrupted; what was answered is kept, and the same command goes on from there")
            raise


def _ask_model(store: "Database", job: "Job", as_json: bool, *, dry_run: bool) -> None:
    """Distil with a model and show how it goes, or only what it would cost."""
    from dataclasses import asdict

    from kdtui.errors import KdtuiError
    from kdtui.workflows.consult import Tally
    from kdtui.workflows.distill import Distilled
    from kdtui.workflows.distill_with_model import (
        Progress,
        SessionFailed,
        Stopped,
        distil_with_model,
        rehearse,
    )

    if dry_run:
        estimate = rehearse(store, job)
        if as_json:
            print_json({"estimate": asdict(estimate)})
            return
        print_table(
            ["", "calls", "prompt tokens", "answer tokens", "cost"],
            [
                ("answered already", estimate.hits, None, None, 0.0),
                ("to be paid", estimate.paid, estimate.prompt_tokens, estimate.completion_tokens, estimate.cost),
            ],
        )
        say("tokens and cost are estimates; nothing has been asked")
        return
    failed = 0
    stopped: str | None = None
    tally = Tally()
    with progress_bar() as progress:
        tasks = {format: progress.add_task(f"{format}s", total=None, start=False) for format in job.formats}
        try:
            # An interrupt may come here, too: what is under way is waited for before anything else.
            with closing(distil_with_model(store, job)) as events:
                for event in events:
                    match event:
                        case Progress(format, sessions, of, tally):
                            progress.start_task(tasks[format])
                            progress.update(
                                tasks[format],
                                total=of,
                                completed=sessions,
                                description=f"{format}s · {_spent(tally)}",
                            )
                        case SessionFailed(format, session, reason):
                            failed += 1
                            say(f"kdtui: session {session}: no {format}s; {reason}")
                        case Stopped(reason, tally):
                            stopped = reason
                        case Distilled():
                            _print_distilled(event, job.dataset, as_json)
        except KeyboardInterrupt:
            say("interrupted; what was answered is kept, and the same command goes on from there")
            raise
    say(f"calls: {_spent(tally)}")
    if stopped is not None:
        raise KdtuiError(f"stopped: {stopped}; what was answered is kept, and the same command goes on from there")
    if failed:
        raise KdtuiError(f"{failed:,} sessions gave no knowledge")


def _spent(tally: "Tally") -> str:
    """Calls answered from the ledger and paid calls apart, and the cost so far."""
    failed = f", {tally.failed:,} failed" if tally.failed else ""
    return f"{tally.hits:,} answered before, {tally.paid:,} paid{failed}, cost {tally.cost:.4f}"


def _print_distilled(event: "Distilled", dataset: str, as_json: bool) -> None:
    if as_json:
        print_json({"dataset": dataset, "format": event.format, "kept": event.kept, "rejected": event.rejected})
        return
    say(f"{event.kept:,} {event.format}s of dataset {dataset} are kept, {event.rejected:,} are rejected")


@app.command("for")
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
    say(f"rules and thoughts used: {', '.join(map(str, used)) or 'none'}; kdtui knowledge show N shows one")


@app.command("export")
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", metavar="FOLDER")],
    dataset: DatasetOption = None,
    format_: Annotated[
        str, typer.Option("--format", "-f", help="Formats, comma-separated: pattern, rule, thought.", metavar="FORMATS")
    ] = "pattern,rule,thought",
    sample: SampleOption = None,
    pieces: PiecesOption = None,
    query: QueryOption = None,
    kind: Annotated[Literal["jsonl", "parquet"], typer.Option("--as", help="Kind of file.")] = "jsonl",
    licence: Annotated[
        str | None, typer.Option("--licence", help="Licence of the knowledge, for the card.", metavar="NAME")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an export that is in the folder.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Export knowledge with a dataset card into a folder, which `datasets.load_dataset` reads too.

    What is rejected goes too, with the reason.
    """
    from kdtui.workflows.exchange_knowledge import dataset_of, export_knowledge
    from store.records import FORMATS

    with open_store(db) as store:
        chosen = chosen_pieces(store, pieces, query)
        name = dataset or (chosen_dataset(store, None) if chosen is None else dataset_of(store, chosen))
        count = export_knowledge(
            store,
            name,
            output,
            formats=some_formats(format_, FORMATS),
            sample=sample,
            pieces=chosen,
            kind=kind,
            licence=licence,
            replace=replace,
        )
    say(f"exported {count:,} pieces of knowledge to {output}")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="An exported folder, or a file in it.", metavar="PATH")],
    dataset: DatasetOption = None,
    db: DatabaseOption = None,
) -> None:
    """Import knowledge from a folder or a file, all or nothing, beside what is there."""
    from kdtui.workflows.exchange_knowledge import import_knowledge

    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        count = import_knowledge(store, name, path)
    say(f"imported {count:,} pieces of knowledge into dataset {name}")


@app.command("ls")
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
    from kdtui.workflows.pieces import search_pieces
    from store.records import KnowledgeQuery

    query = KnowledgeQuery(
        formats=(format_,) if format_ else (),
        datasets=(dataset,) if dataset is not None else (),
        samples=(sample,) if sample is not None else (),
        statuses=() if all_ else ("rejected",) if rejected else ("kept",),
    )
    with open_store(db) as store:
        pieces = search_pieces(store, query, sort, reverse=reverse, limit=limit)
    _print_pieces(pieces, as_json, limit, "there is none yet; kdtui knowledge mine finds patterns in training bundles")


@app.command("search")
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
    support:>0.02, precision:<=0.5, confidence:>0.9, lift:>2. What has blanks or a colon goes in double quotes:
    teacher:"large model".
    """
    from msgspec.structs import replace

    from kdtui.workflows.knowledge_query import parse_query
    from kdtui.workflows.pieces import search_pieces

    query = parse_query(text)
    query = replace(
        query,
        formats=(*query.formats, format_) if format_ else query.formats,
        datasets=(*query.datasets, dataset) if dataset is not None else query.datasets,
        statuses=query.statuses if query.statuses or all_ else ("kept",),
    )
    with open_store(db) as store:
        pieces = search_pieces(store, query, sort, reverse=reverse, limit=limit)
    _print_pieces(pieces, as_json, limit, f"nothing that is known matches {text}")


@app.command("rm")
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
            typer.confirm(f"Delete {found.pieces:,} pieces of knowledge? {what_hangs_on(found)}", abort=True, err=True)
        remove_knowledge(store, chosen)
    say(f"deleted {found.pieces:,} pieces of knowledge")


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(help="Number of a piece of knowledge, as `ls` shows it.", max=LARGEST)],
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show one piece of knowledge with all that is known of it, and the tree of what it comes from."""
    from kdtui.workflows.about_piece import about_piece

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
    shown = _to_json(piece) | {"content": piece.content}
    print_table(["", "value"], [(key, value) for key, value in shown.items() if value is not None], wide=["value"])
    print_tree(f"{piece.format} {piece.id} comes from", _branches(origin))
    uses = [
        *(f"sample {name}" for name in about.samples),
        *(f"run {run}" for run in about.runs),
        *(f"training {name}" for name in about.trainings),
    ]
    if uses:
        print_tree("it was offered to", [(use, []) for use in uses])


@app.command("calls")
def calls(
    number: Annotated[
        int | None, typer.Argument(help="A call to see in full.", min=1, max=LARGEST, metavar="NUMBER")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only calls that have no answer.")] = False,
    search: Annotated[
        str, typer.Option("--search", help="Only calls with this text in what was asked or answered.", metavar="TEXT")
    ] = "",
    totals: Annotated[bool, typer.Option("--totals", help="What each teacher was asked, and what it cost.")] = False,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """List what teachers were asked, the newest first, or show one call in full."""
    if number is not None and (failed or search or totals):
        raise typer.BadParameter("the number of a call comes alone")
    with open_store(db) as store:
        if number is not None:
            _print_call(store, number, as_json)
        elif totals:
            _print_totals(store, as_json)
        else:
            _print_calls(store, search, failed, limit, as_json)


def _print_call(store: "Database", number: int, as_json: bool) -> None:
    import json
    from contextlib import suppress
    from dataclasses import asdict

    from kdtui.bundling.text import fit_lines
    from kdtui.workflows.ledger import call_text
    from store.calls import call_in_full

    found = call_in_full(store, number)
    if as_json:
        shown = asdict(found.call) | {"knowledge": [piece.id for piece in found.pieces]}
        with suppress(ValueError):
            shown["request"] = json.loads(found.call.request)
        print_json(shown)
        return
    print(fit_lines(call_text(found)), flush=True)


def _print_totals(store: "Database", as_json: bool) -> None:
    from dataclasses import asdict

    from store.calls import totals_by_teacher

    totals = totals_by_teacher(store)
    if as_json:
        for each in totals:
            print_json(asdict(each))
        return
    print_table(
        ["teacher", "answered", "failed", "prompt tokens", "answer tokens", "cost"],
        [tuple(asdict(each).values()) for each in totals],
        wide=["teacher"],
    )


def _print_calls(store: "Database", search: str, failed: bool, limit: int, as_json: bool) -> None:
    from dataclasses import asdict
    from itertools import chain, islice

    from store.calls import call_hits, call_rows

    hits = chain.from_iterable(part.ids for part in call_hits(store, search, failed=failed))
    rows = call_rows(store, list(islice(hits, limit)))
    if as_json:
        for row in rows:
            print_json(asdict(row))
        return
    if not rows:
        say("no call is like that" if search or failed else "no teacher behind an endpoint has been asked yet")
        return
    print_table(
        ["id", "step", "teacher", "status", "prompt tokens", "answer tokens", "cost", "seconds", "when"],
        [tuple(asdict(row).values()) for row in rows],
        wide=["teacher"],
    )
    if len(rows) == limit:
        say(f"there may be more than these {limit}; --limit shows them")


def _branches(origin: "Origin") -> "list[Branch]":
    """What a piece comes from, and what its teacher was given, which has an origin too."""
    branches: list[Branch] = [(f"teacher {origin.piece.teacher}", [])]
    if origin.piece.call_id is not None:
        branches.append((f"call {origin.piece.call_id}", []))
    branches += [(f"session {session}", []) for session in origin.sessions[:_SESSIONS_SHOWN]]
    if len(origin.sessions) > _SESSIONS_SHOWN:
        branches.append((f"{len(origin.sessions) - _SESSIONS_SHOWN:,} more sessions", []))
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
    """A statement for a list; what is rejected says why."""
    from kdtui.bundling.text import one_line

    statement = one_line(piece.statement, _STATEMENT)
    return statement if piece.reason is None else f"{statement} ({piece.reason})"


def _to_json(piece: "Knowledge") -> dict[str, object]:
    import json
    from dataclasses import asdict

    return asdict(piece) | {"content": json.loads(piece.content)}
