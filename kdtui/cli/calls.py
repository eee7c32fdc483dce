"""`kdtui knowledge calls`: the calls to teachers, with their answers and costs."""

from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.cli import completion
from kdtui.cli.options import (
    LARGEST,
    DatabaseOption,
    JsonOption,
    LimitOption,
    OutputOption,
    chosen_output,
    open_store,
)
from kdtui.cli.output import Output, print_json, print_table, say
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.calls.tally import Tally
    from store.sqlite import Database


def calls(
    number: Annotated[
        int | None,
        typer.Argument(
            help="Number of a call to show in full.",
            min=1,
            max=LARGEST,
            metavar="NUMBER",
            autocompletion=completion.names("calls"),
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only calls without a usable answer.")] = False,
    search: Annotated[
        str, typer.Option("--search", help="Only calls whose request or answer contains this text.", metavar="TEXT")
    ] = "",
    totals: Annotated[bool, typer.Option("--totals", help="Totals by teacher: calls, tokens and costs.")] = False,
    limit: LimitOption = 50,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """List the calls to teachers, newest first, or show one call in full."""
    printed_as = chosen_output(output, as_json)
    if number is not None and (failed or search or totals):
        raise typer.BadParameter("the number of a call cannot be combined with --failed, --search or --totals")
    with open_store(database) as store:
        if number is not None:
            _print_call(store, number, printed_as)
        elif totals:
            _print_totals(store, printed_as)
        else:
            _print_calls(store, search, failed, limit, printed_as)


def _print_call(store: "Database", number: int, output: Output) -> None:
    import json
    from contextlib import suppress
    from dataclasses import asdict

    from kdtui.workflows.calls.call_report import call_text
    from store.calls import call_details

    full_call = call_details(store, number)
    if output == "json":
        shown = asdict(full_call.call) | {"knowledge": [piece.id for piece in full_call.pieces]}
        with suppress(ValueError):
            shown["request"] = json.loads(full_call.call.request)
        print_json(shown)
        return
    print(call_text(full_call), flush=True)


def _print_totals(store: "Database", output: Output) -> None:
    from dataclasses import asdict

    from kdtui.text import counted
    from kdtui.workflows.calls.costs import cost_text
    from store.calls import totals_by_teacher

    totals = totals_by_teacher(store)
    print_table(
        ["teacher", "answered", "failed", "prompt tokens", "answer tokens", "cost", "unknown cost"],
        [
            (
                each.teacher,
                each.answered,
                each.failed,
                each.prompt_tokens,
                each.completion_tokens,
                cost_text(each.cost, is_estimated=each.estimated > 0, unknown="-"),
                counted(each.unknown, "call") if each.unknown else None,
            )
            for each in totals
        ],
        wide=["teacher"],
        right=["cost", "unknown cost"],
        output=output,
        records=map(asdict, totals),
    )


def _print_calls(store: "Database", search: str, failed: bool, limit: int, output: Output) -> None:
    from dataclasses import asdict
    from itertools import chain, islice

    from kdtui.workflows.calls.costs import cost_text, tokens_text
    from store.calls import call_hits, call_rows

    hits = chain.from_iterable(part.ids for part in call_hits(store, search, failed=failed))
    rows = call_rows(store, list(islice(hits, limit + 1)))
    more = len(rows) > limit
    rows = rows[:limit]
    print_table(
        ["id", "step", "teacher", "status", "prompt tokens", "answer tokens", "cost", "seconds", "when"],
        [
            (
                row.id,
                row.step,
                row.teacher,
                row.status,
                tokens_text(row.prompt_tokens, is_estimated=row.is_estimated, unknown="-"),
                tokens_text(row.completion_tokens, is_estimated=row.is_estimated, unknown="-"),
                cost_text(row.cost, is_estimated=row.is_estimated, unknown="-"),
                row.seconds,
                row.created_at,
            )
            for row in rows
        ],
        wide=["teacher"],
        right=["prompt tokens", "answer tokens", "cost"],
        output=output,
        records=map(asdict, rows),
        empty="no call matches" if search or failed else "there are no calls to endpoints yet",
    )
    if output != "json" and any(row.is_estimated for row in rows):
        say("~ marks estimates: the server did not report all token counts")
    if more:
        say(f"there are more than these {limit:,}; --limit shows more")


def tally_in_words(tally: "Tally") -> str:
    """Count in words the calls answered before and the paid calls, with the cost so far."""
    from kdtui.workflows.calls.costs import cost_text

    failed = f", {tally.failed:,} failed" if tally.failed else ""
    asked = f"{tally.hits:,} answered before, {tally.paid:,} paid{failed}"
    if not (tally.paid or tally.failed):
        return asked
    cost = cost_text(tally.cost, is_estimated=tally.estimated > 0, unknown="unknown: no prices given")
    how = f" (tokens of {counted(tally.estimated, 'call')} estimated)" if tally.estimated else ""
    return f"{asked}, cost {cost}{how}"
