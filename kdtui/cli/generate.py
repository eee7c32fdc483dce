"""`kdtui generate`: bundles for sessions."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from time import sleep
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from kdtui.bundling.tables import table_lines
from kdtui.cli import completion
from kdtui.cli.growing import Growing
from kdtui.cli.options import (
    AdapterOption,
    AskedKnowledgeOption,
    AskedStudentOption,
    BudgetOption,
    ContextOption,
    DatabaseOption,
    DatasetOption,
    DomainsOption,
    JsonOption,
    NearOption,
    NeighboursOption,
    OutputOption,
    SampleOption,
    StrategyOption,
    adapters,
    chosen_dataset,
    chosen_output,
    formats,
    open_store,
)
from kdtui.cli.output import Output, print_json, print_lines, print_table, print_text, say
from kdtui.cli.student_messages import StudentMessages, say_default

if TYPE_CHECKING:
    from kdtui.distill.routing import AdapterChoice
    from kdtui.workflows.student.explain import Explanation
    from models.bundle_list import WrittenBundle
    from store.predictions import PredictedBundle, Prediction
    from store.records import Session

_COLUMNS = ("session", "products", "confidence", "intent", "titles", "items")
_SHOWN = 20
"""Products that a sentence names."""

EXAMPLES = [
    "kdtui generate o34 --dataset demo-outdoor",
    "kdtui generate --dataset demo-outdoor --title 'Two-person tent' --title 'Tent pegs' --title Kettle",
    "printf 'Tent\\nTent pegs\\n' | kdtui generate - --dataset demo-outdoor --json",
]


def generate(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of stored sessions; or - to read stdin: a title a line, where an empty line ends a session, or "
            "JSON Lines.",
            metavar="SESSION",
            autocompletion=completion.names("sessions"),
        ),
    ] = None,
    title: Annotated[
        list[str] | None,
        typer.Option("--title", "-t", help="Title of a product; give it once per product instead of a session."),
    ] = None,
    dataset: DatasetOption = None,
    student: AskedStudentOption = None,
    knowledge: AskedKnowledgeOption = None,
    sample: SampleOption = None,
    domains: DomainsOption = "own",
    neighbours: NeighboursOption = None,
    near: NearOption = None,
    budget: BudgetOption = None,
    strategy: StrategyOption = None,
    adapter: AdapterOption = None,
    context: ContextOption = None,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Show what the student is asked, word for word, and ask nothing.")
    ] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Generate bundles with intents: for stored sessions, for titles, or for what comes on stdin.

    A title on stdin may have a category behind a bar: Two-person tent | Outdoor > Shelter. A product without a title
    and a category is not shown to the student, which could only guess.
    """
    from kdtui.distill.applicable import AICL
    from kdtui.errors import KdtuiError
    from kdtui.exchange.lines import bounded_lines
    from kdtui.exchange.pasted_text import read_stream
    from kdtui.exchange.read_ahead import ReadAhead
    from kdtui.workflows.student.as_trained import settings_as_trained
    from kdtui.workflows.student.generate import BundleGrew, SessionAnswered
    from kdtui.workflows.student.generate import generate as answer
    from kdtui.workflows.student.open import open_student
    from kdtui.workflows.student.settings import check_settings
    from models.student_protocol import NAP, Noted
    from store.sessions import get_session

    told = chosen_output(output, as_json)
    if bool(sessions) == bool(title):
        raise typer.BadParameter("give sessions, or --title for each product of one session, or - to read stdin")
    if sessions is not None and "-" in sessions[1:] + sessions[: len(sessions) > 1]:
        raise typer.BadParameter("- reads sessions from stdin, and stands alone")
    typed = _typed_session(title) if title else None
    stored = sessions is not None and sessions != ["-"]
    with open_store(db) as store:
        name = chosen_dataset(store, dataset) if stored else dataset
        settings = settings_as_trained(
            store,
            student,
            None if knowledge is None else formats(knowledge),
            dataset=name,
            context=context,
            strategy=strategy,
            adapters=adapters(adapter),
            sample=sample,
            domains=domains,
            neighbours=neighbours,
            budget=budget,
            near=near,
        )
        if settings.knowledge or strategy == AICL:
            name = chosen_dataset(store, dataset)
        check_settings(settings, name)
        if student is None and adapter is None:
            say_default(settings, name)
        incoming = None
        asked: Iterable[Session | None]
        if sessions == ["-"]:
            if sys.stdin.isatty():
                say("type the title of a product in each line; an empty line ends a session, and Ctrl-D ends all")
            asked = incoming = ReadAhead(read_stream(bounded_lines(sys.stdin.buffer, "stdin"), "stdin"))
        elif typed is not None:
            asked = [typed]
        else:
            assert name is not None
            # Every id is looked up before the student is loaded.
            asked = [get_session(store, name, wanted) for wanted in sessions or []]
        types = sessions == ["-"] and sys.stdin.isatty()
        answers = _Answers(told, growing=None if told != "table" or types else Growing.in_terminal())
        with StudentMessages(answers.say) as tell, open_student(store, name, settings, tell) as ready, closing(answers):
            shown = answers.to_ask(asked)
            if show_prompt:
                for session in shown:
                    if session is None:
                        sleep(NAP)
                    else:
                        _print_explanation(session, ready.explain(session), as_json=told == "json")
            else:
                for event in answer(ready, shown):
                    if isinstance(event, Noted):
                        answers.say(f"kdtui: {event.text}")
                    elif isinstance(event, BundleGrew):
                        answers.grow(event.session, event.bundle)
                    elif isinstance(event, SessionAnswered):
                        answers.print(event.session, event.prediction, event.choice)
        if incoming is not None:
            incoming.check()
    if not answers.seen:
        say("kdtui: nothing has come on stdin")
    if answers.failed:
        raise KdtuiError(f"{answers.failed:,} of the sessions could not be answered")


def _typed_session(titles: list[str]) -> "Session":
    """A session of the products that --title names.

    Raises:
        typer.BadParameter: a title has nothing to read in it, or is none.
    """
    from kdtui.text import one_line
    from store.records import LONGEST_TEXT, Item, Session

    for number, title in enumerate(titles, start=1):
        if not one_line(title, 1):
            raise typer.BadParameter(
                f"--title is empty (number {number:,} of {len(titles):,}); say what the product is"
            )
        if len(title) > LONGEST_TEXT:
            raise typer.BadParameter(
                f"--title has {len(title):,} characters (number {number:,} of {len(titles):,}); a title may have "
                f"{LONGEST_TEXT:,} at most"
            )
    return Session("titles", tuple(Item(str(number), title) for number, title in enumerate(titles, start=1)))


class _Answers:
    """Prints answers as they come.

    Products of which nothing is known are taken out of a session before a student is asked, and named beside its
    answer.

    Args:
        growing: where answers are shown that are not whole yet; None for nowhere.

    Attributes:
        seen: how many sessions there were.
        failed: how many of them the student could not answer.
        empty: how many of them have no bundle, by what the student found.
    """

    def __init__(self, output: Output, *, growing: Growing | None = None) -> None:
        self.seen = self.failed = self.empty = 0
        self._output = output
        self._growing = growing
        # What a student is asked, by its identity: a part of a session, and its positions in the whole.
        self._parts: dict[int, tuple[Session, Session, tuple[int, ...]]] = {}
        # What is known of sessions that are not answered yet, by the identity of what was asked.
        self._grown: dict[int, tuple[Session, dict[int, WrittenBundle]]] = {}
        self._header: Sequence[str] | None = _COLUMNS

    def to_ask(self, sessions: "Iterable[Session | None]") -> "Iterator[Session | None]":
        """What to ask of these sessions; one with fewer than two products that can be judged is answered here."""
        from kdtui.bundling.described import described_positions, restrict_session

        for session in sessions:
            if session is None:
                yield None
                continue
            self.seen += 1
            positions = described_positions(session)
            if len(positions) == len(session.items):
                yield session
            elif len(positions) < 2:
                self._print(session, (), positions)
            else:
                part = restrict_session(session, positions)
                self._parts[id(part)] = part, session, positions
                yield part

    def grow(self, asked: "Session", bundle: "WrittenBundle") -> None:
        """Show what is known of the answer to what was asked; one that comes whole need not be shown before."""
        if self._growing is None or (bundle.complete and id(asked) not in self._grown):
            return
        _, bundles = self._grown.setdefault(id(asked), (asked, {}))
        bundles[bundle.number] = bundle
        self._show()

    def _show(self) -> None:
        if self._growing is None or not self._grown:
            return
        width = self._growing.width
        # One after the other, as far as the screen has room for them.
        self._growing.show(
            ([*_heading(session), *head], body)
            for session, bundles in map(self._so_far, self._grown.values())
            for head, body in [table_lines(_BUNDLE_COLUMNS, _bundle_rows(session, bundles), width, wide=_WIDE)]
        )

    def _so_far(
        self, grown: "tuple[Session, dict[int, WrittenBundle]]"
    ) -> "tuple[Session, list[tuple[tuple[int, ...], float, str]]]":
        """A session, and the bundles that are known of it."""
        asked, bundles = grown
        _, session, positions = self._parts.get(id(asked), (asked, asked, None))
        return session, [
            (
                _in_whole(bundle.positions, positions),
                bundle.confidence,
                bundle.intent if bundle.complete else f"{bundle.intent}…",
            )
            for _, bundle in sorted(bundles.items())
        ]

    def say(self, message: str) -> None:
        """A message for the user, above what is shown of answers."""
        if self._growing is not None:
            self._growing.clear()
        say(message)
        self._show()

    def close(self) -> None:
        """Leave on the screen what is known of sessions that will not be answered."""
        if self._growing is None:
            return
        self._growing.clear()
        for grown in self._grown.values():
            session, bundles = self._so_far(grown)
            print(*_heading(session), flush=True)
            _print_bundles(session, bundles)
        self._grown.clear()

    def print(self, asked: "Session", prediction: "Prediction", choice: "AdapterChoice | None" = None) -> None:
        """Print the answer to what was asked, and which adapter a router chose for it."""
        from msgspec.structs import replace

        if self._growing is not None:
            self._growing.clear()
            self._grown.pop(id(asked), None)
        _, session, positions = self._parts.pop(id(asked), (asked, asked, None))
        if prediction.error is not None:
            self.failed += 1
            self.say(f"kdtui: session {session.id}: {prediction.error}")
            return
        bundles = prediction.bundles or ()
        self.empty += not bundles
        bundles = tuple(replace(bundle, positions=_in_whole(bundle.positions, positions)) for bundle in bundles)
        self._print(session, bundles, positions, choice)
        self._show()

    def _print(
        self,
        session: "Session",
        bundles: "Sequence[PredictedBundle]",
        described: tuple[int, ...] | None,
        choice: "AdapterChoice | None" = None,
    ) -> None:
        """Print an answer.

        Args:
            described: the positions of the products that were judged; None for all.
        """
        import msgspec

        from kdtui.text import one_line

        positions = range(1, len(session.items) + 1)
        left_out = [] if described is None else [at for at in positions if at not in set(described)]
        reason = None
        if not bundles and len(session.items) - len(left_out) < 2:
            reason = "a bundle needs two products" + (" of which something is known" if left_out else "")
        if self._output == "json":
            told = {"session": session.id, "bundles": msgspec.to_builtins(bundles)}
            if choice is not None:
                told["adapter"] = {
                    "name": choice.route.name,
                    "because": choice.because or None,
                    "expected_pair_f1": choice.expected,
                }
            if left_out:
                told["not_judged"] = [session.items[at - 1].id for at in left_out]
            print_json(told if reason is None else told | {"reason": reason})
            return
        if self._output == "table":
            print(*_heading(session), flush=True)
            if choice is not None:
                print(one_line(f"  {choice.in_words}"), flush=True)
            if bundles:
                _print_bundles(session, [(bundle.positions, bundle.confidence, bundle.intent) for bundle in bundles])
            else:
                print("  no bundles" + (f"; {reason}" if reason else ""), flush=True)
        else:
            self._print_lines(session, bundles)
        if left_out:
            which = f"product {left_out[0]} has" if len(left_out) == 1 else f"products {_some(left_out)} have"
            say(f"session {session.id}: {which} neither a title nor a category, and cannot be judged")

    def _print_lines(self, session: "Session", bundles: "Sequence[PredictedBundle]") -> None:
        """The bundles as lines of CSV or Markdown, with a header before the first; an answer without any has one."""
        rows: list[tuple[object, ...]] = [
            (
                session.id,
                ", ".join(map(str, bundle.positions)),
                bundle.confidence,
                bundle.intent,
                " | ".join(session.items[at - 1].title or "" for at in bundle.positions),
                " | ".join(bundle.items),
            )
            for bundle in bundles
        ] or [(session.id, *([None] * (len(_COLUMNS) - 1)))]
        print_lines(self._header, rows, self._output)
        self._header = None


def _some(positions: list[int]) -> str:
    """A few of the positions, and how many more there are."""
    shown = ", ".join(f"{position:,}" for position in positions[:_SHOWN])
    return shown if len(positions) <= _SHOWN else f"{shown} and {len(positions) - _SHOWN:,} more"


def _print_explanation(session: "Session", explanation: "Explanation", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "session": session.id,
                "prompt": explanation.prompt,
                "questions": explanation.questions,
                "bundles": explanation.bundles,
                "pairs": explanation.pairs,
                "knowledge": explanation.numbers,
            }
        )
        return
    print_text(f"[session]\n{session.id}\n")
    for heading, text in explanation.sections:
        print_text(f"[{heading}]\n{text}\n")


def _in_whole(of_part: tuple[int, ...], positions: tuple[int, ...] | None) -> tuple[int, ...]:
    """Positions in a session of those in a part of it.

    Args:
        positions: that the part has in the session; None where it is all of it.
    """
    return of_part if positions is None else tuple(positions[at - 1] for at in of_part)


def _heading(session: "Session") -> list[str]:
    from kdtui.text import one_line

    return [one_line(f"session {session.id}")]


_Rows: TypeAlias = "Sequence[tuple[tuple[int, ...], float, str]]"
"""Bundles: their positions, how sure they are, and their intents."""

_BUNDLE_COLUMNS = ("bundle", "confidence", "intent", "products")
_WIDE = ("products",)


def _bundle_rows(session: "Session", bundles: _Rows) -> list[tuple[str, ...]]:
    from kdtui.text import one_line

    return [
        (
            ", ".join(map(str, positions)),
            f"{confidence:.0%}",
            intent,
            " | ".join(one_line(session.items[at - 1].title or session.items[at - 1].id, 40) for at in positions),
        )
        for positions, confidence, intent in bundles
    ]


def _print_bundles(session: "Session", bundles: _Rows) -> None:
    print_table(_BUNDLE_COLUMNS, _bundle_rows(session, bundles), wide=_WIDE)
