"""`kdtui generate`: bundles for sessions."""

import sys
from collections.abc import Iterable
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.cli.options import (
    AdapterOption,
    AskedKnowledgeOption,
    BudgetOption,
    ContextOption,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    NearOption,
    NeighboursOption,
    SampleOption,
    StrategyOption,
    StudentOption,
    adapters,
    chosen_dataset,
    formats,
    open_store,
)
from kdtui.cli.output import print_json, print_table, print_text, say

if TYPE_CHECKING:
    from kdtui.workflows.explain import Explanation
    from store.records import Session
    from store.runs import Prediction
    from store.sqlite import Database


def generate(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of stored sessions, or - for JSON Lines on stdin.", metavar="SESSION…"),
    ] = None,
    title: Annotated[
        list[str] | None,
        typer.Option("--title", "-t", help="Title of a product; give it once per product instead of a session."),
    ] = None,
    dataset: DatasetOption = None,
    student: StudentOption = "shipped",
    knowledge: AskedKnowledgeOption = None,
    sample: SampleOption = None,
    neighbours: NeighboursOption = None,
    near: NearOption = None,
    budget: BudgetOption = None,
    strategy: StrategyOption = None,
    adapter: AdapterOption = None,
    context: ContextOption = None,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Show what the student is asked, word for word, and ask nothing.")
    ] = False,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Generate bundles with intents, for stored sessions, for titles, or for JSON Lines on stdin."""
    from kdtui.distill.applicable import AICL
    from kdtui.errors import KdtuiError
    from kdtui.exchange.jsonl import read_sessions
    from kdtui.exchange.read_ahead import ReadAhead
    from kdtui.workflows.as_trained import settings_as_trained
    from kdtui.workflows.generate import SessionAnswered
    from kdtui.workflows.generate import generate as answer
    from kdtui.workflows.model_names import PATTERNS
    from kdtui.workflows.students import check_settings, open_student
    from models.answers import NAP, Noted

    if bool(sessions) == bool(title):
        raise typer.BadParameter("give sessions, or --title for each product of one session, or - to read stdin")
    stored = sessions is not None and sessions != ["-"]
    failed = 0
    with open_store(db) as store:
        settings = settings_as_trained(
            store,
            student,
            None if knowledge is None else formats(knowledge),
            context=context,
            strategy=strategy,
            adapters=adapters(adapter),
            sample=sample,
            neighbours=neighbours,
            budget=budget,
            near=near,
        )
        name = dataset
        if stored or settings.knowledge or strategy == AICL or student == PATTERNS:
            name = chosen_dataset(store, dataset)
        check_settings(settings, name)
        incoming = None
        asked: Iterable[Session | None]
        if sessions == ["-"]:
            asked = incoming = ReadAhead(session for _, session, _ in read_sessions(sys.stdin.buffer, "stdin"))
        else:
            # Every id is looked up before the student is loaded.
            asked = _sessions(store, name, sessions or [], title or [])
        with open_student(store, name, settings) as ready:
            if show_prompt:
                for session in asked:
                    if session is None:
                        sleep(NAP)
                    else:
                        _print_explanation(session, ready.explain(session), as_json=as_json)
                asked = ()
            for event in answer(ready, asked):
                if isinstance(event, Noted):
                    say(f"kdtui: {event.text}")
                if not isinstance(event, SessionAnswered):
                    continue
                if event.prediction.error is not None:
                    failed += 1
                    say(f"kdtui: session {event.session.id}: {event.prediction.error}")
                elif as_json:
                    print_json(_to_json(event.prediction))
                else:
                    _print_answer(event.session, event.prediction)
        if incoming is not None:
            incoming.check()
    if failed:
        raise KdtuiError(f"{failed:,} of the sessions could not be answered")


def _sessions(store: "Database", dataset: str | None, sessions: list[str], titles: list[str]) -> "list[Session]":
    from store.datasets import get_session
    from store.records import Item, Session

    if titles:
        return [Session("titles", tuple(Item(str(number), title) for number, title in enumerate(titles, start=1)))]
    assert dataset is not None
    return [get_session(store, dataset, wanted) for wanted in sessions]


def _to_json(prediction: "Prediction") -> dict[str, object]:
    import msgspec

    return {"session": prediction.session, "bundles": msgspec.to_builtins(prediction.bundles)}


def _print_explanation(session: "Session", explanation: "Explanation", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "session": session.id,
                "prompt": explanation.prompt,
                "questions": explanation.questions,
                "knowledge": explanation.numbers,
            }
        )
        return
    print_text(f"[session]\n{session.id}\n")
    for heading, text in explanation.sections:
        print_text(f"[{heading}]\n{text}\n")


def _print_answer(session: "Session", prediction: "Prediction") -> None:
    from kdtui.bundling.text import one_line

    print(one_line(f"session {session.id}"), flush=True)
    if not prediction.bundles:
        print("  no bundles" + ("; a bundle needs two products" if len(session.items) < 2 else ""), flush=True)
        return
    print_table(
        ["bundle", "confidence", "intent", "products"],
        [
            (
                ", ".join(map(str, bundle.positions)),
                f"{bundle.confidence:.0%}",
                bundle.intent,
                " | ".join(one_line(session.items[at - 1].title or bundle.items[0], 40) for at in bundle.positions),
            )
            for bundle in prediction.bundles
        ],
        wide=["products"],
    )
