"""`kdtui generate`: find bundles in sessions."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from time import sleep
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from kdtui.bundling.tables import table_lines
from kdtui.cli import completion
from kdtui.cli.live_lines import LiveLines
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
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.distill.routing import AdapterChoice
    from kdtui.workflows.student.explain import PromptExplanation
    from models.bundle_list import WrittenBundle
    from store.predictions import PredictedBundle, Prediction
    from store.records import Session

_COLUMNS = ("session", "products", "confidence", "intent", "titles", "items")
_SHOWN = 20
"""Maximum number of products that a message names."""

EXAMPLES = [
    "kdtui generate o34 --dataset demo-outdoor",
    "kdtui generate --dataset demo-outdoor --title 'Two-person tent' --title 'Tent pegs' --title Kettle",
    "printf 'Tent\\nTent pegs\\n' | kdtui generate - --dataset demo-outdoor --json",
]


def generate(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of stored sessions; or - for stdin: one title per line, with an empty line between sessions, "
            "or JSON Lines.",
            metavar="SESSION",
            autocompletion=completion.names("sessions"),
        ),
    ] = None,
    title: Annotated[
        list[str] | None,
        typer.Option("--title", "-t", help="Title of a product, instead of stored sessions; once for each product."),
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
        bool, typer.Option("--show-prompt", help="Print the exact prompt and do not ask the student.")
    ] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Generate bundles with intents for stored sessions, for titles, or for sessions on stdin.

    A title on stdin can have a category after a bar: Two-person tent | Outdoor > Shelter. A product with
    neither a title nor a category is not shown to the student, which could only guess.
    """
    from kdtui.distill.applicable import AICL
    from kdtui.errors import KdtuiError
    from kdtui.exchange.lines import bounded_lines
    from kdtui.exchange.pasted_text import read_stream
    from kdtui.exchange.read_ahead import ReadAhead
    from kdtui.workflows.student.as_trained import settings_as_trained
    from kdtui.workflows.student.generate import BundleGrew, SessionAnswered
    from kdtui.workflows.student.generate import generate_bundles as answer
    from kdtui.workflows.student.open import open_student
    from kdtui.workflows.student.settings import check_settings
    from models.student_protocol import IDLE_SECONDS, Noted
    from store.sessions import get_session

    printed_as = chosen_output(output, as_json)
    if bool(sessions) == bool(title):
        raise typer.BadParameter("give ids of sessions, --title for each product of one session, or - for stdin")
    if sessions is not None and "-" in sessions[1:] + sessions[: len(sessions) > 1]:
        raise typer.BadParameter("- reads sessions from stdin, and cannot be combined with ids")
    typed = _typed_session(title) if title else None
    stored = sessions is not None and sessions != ["-"]
    with open_store(database) as store:
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
                say("type one product title on each line; an empty line ends a session, and Ctrl-D ends the input")
            asked = incoming = ReadAhead(read_stream(bounded_lines(sys.stdin.buffer, "stdin"), "stdin"))
        elif typed is not None:
            asked = [typed]
        else:
            assert name is not None
            # Look up all ids before the student is loaded.
            asked = [get_session(store, name, session_id) for session_id in sessions or []]
        is_typing = sessions == ["-"] and sys.stdin.isatty()
        answers = _AnswerPrinter(
            printed_as, live=None if printed_as != "table" or is_typing else LiveLines.in_terminal()
        )
        with StudentMessages(answers.say) as tell, open_student(store, name, settings, tell) as ready, closing(answers):
            shown = answers.without_unknown_products(asked)
            if show_prompt:
                for session in shown:
                    if session is None:
                        sleep(IDLE_SECONDS)
                    else:
                        _print_explanation(session, ready.explain(session), as_json=printed_as == "json")
            else:
                for event in answer(ready, shown):
                    if isinstance(event, Noted):
                        answers.say(f"kdtui: {event.text}")
                    elif isinstance(event, BundleGrew):
                        answers.show_bundle(event.session, event.bundle)
                    elif isinstance(event, SessionAnswered):
                        answers.print(event.session, event.prediction, event.choice)
        if incoming is not None:
            incoming.check()
    if not answers.seen:
        say("kdtui: stdin was empty")
    if answers.failed:
        raise KdtuiError(f"the student could not answer {counted(answers.failed, 'session')}")


def _typed_session(titles: list[str]) -> "Session":
    """Make a session of the products that --title names.

    Raises:
        typer.BadParameter: a title is empty or too long.
    """
    from kdtui.text import one_line
    from store.records import LONGEST_TEXT, Item, Session

    for number, title in enumerate(titles, start=1):
        if not one_line(title, 1):
            raise typer.BadParameter(
                f"--title is empty (number {number:,} of {len(titles):,}); give the title of a product"
            )
        if len(title) > LONGEST_TEXT:
            raise typer.BadParameter(
                f"--title has {len(title):,} characters (number {number:,} of {len(titles):,}); a title can have "
                f"{LONGEST_TEXT:,} at most"
            )
    return Session("titles", tuple(Item(str(number), title) for number, title in enumerate(titles, start=1)))


class _AnswerPrinter:
    """Prints answers as they arrive.

    Products without a title and a category are removed from a session before the student is asked, and named with the
    answer.

    Args:
        live: shows partial answers; None to show none.

    Attributes:
        seen: number of sessions.
        failed: number of sessions that the student could not answer.
    """

    def __init__(self, output: Output, *, live: LiveLines | None = None) -> None:
        self.seen = self.failed = 0
        self._output = output
        self._live = live
        # By the id() of the session that the student is asked: that part, the whole session, and its positions there.
        self._parts: dict[int, tuple[Session, Session, tuple[int, ...]]] = {}
        # Partial answers, by the id() of the session that the student is asked.
        self._partial: dict[int, tuple[Session, dict[int, WrittenBundle]]] = {}
        self._header: Sequence[str] | None = _COLUMNS

    def without_unknown_products(self, sessions: "Iterable[Session | None]") -> "Iterator[Session | None]":
        """Yield the sessions to ask about. A session with fewer than two described products is answered at once."""
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

    def show_bundle(self, asked: "Session", bundle: "WrittenBundle") -> None:
        """Show a bundle of a partial answer, unless it arrives complete and its session is not shown yet."""
        if self._live is None or (bundle.complete and id(asked) not in self._partial):
            return
        _, bundles = self._partial.setdefault(id(asked), (asked, {}))
        bundles[bundle.number] = bundle
        self._show_partial()

    def _show_partial(self) -> None:
        if self._live is None or not self._partial:
            return
        width = self._live.width
        # A generator: only as many sessions as fit on the screen are formatted.
        self._live.show(
            ([*_heading(session), *head], body)
            for session, bundles in map(self._partial_bundles, self._partial.values())
            for head, body in [table_lines(_BUNDLE_COLUMNS, _bundle_rows(session, bundles), width, wide=_WIDE)]
        )

    def _partial_bundles(
        self, partial: "tuple[Session, dict[int, WrittenBundle]]"
    ) -> "tuple[Session, list[tuple[tuple[int, ...], float, str]]]":
        """Return a session and its bundles so far."""
        asked, bundles = partial
        _, session, positions = self._parts.get(id(asked), (asked, asked, None))
        return session, [
            (
                _in_whole_session(bundle.positions, positions),
                bundle.confidence,
                bundle.intent if bundle.complete else f"{bundle.intent}…",
            )
            for _, bundle in sorted(bundles.items())
        ]

    def say(self, message: str) -> None:
        """Print a message above the partial answers."""
        if self._live is not None:
            self._live.clear()
        say(message)
        self._show_partial()

    def close(self) -> None:
        """Print the partial answers of sessions that will not be answered."""
        if self._live is None:
            return
        self._live.clear()
        for partial in self._partial.values():
            session, bundles = self._partial_bundles(partial)
            print(*_heading(session), flush=True)
            _print_bundles(session, bundles)
        self._partial.clear()

    def print(self, asked: "Session", prediction: "Prediction", choice: "AdapterChoice | None" = None) -> None:
        """Print an answer, and the adapter that a router chose for it."""
        from msgspec.structs import replace

        if self._live is not None:
            self._live.clear()
            self._partial.pop(id(asked), None)
        _, session, positions = self._parts.pop(id(asked), (asked, asked, None))
        if prediction.error is not None:
            self.failed += 1
            self.say(f"kdtui: session {session.id}: {prediction.error}")
            return
        bundles = prediction.bundles or ()
        bundles = tuple(replace(bundle, positions=_in_whole_session(bundle.positions, positions)) for bundle in bundles)
        self._print(session, bundles, positions, choice)
        self._show_partial()

    def _print(
        self,
        session: "Session",
        bundles: "Sequence[PredictedBundle]",
        described: tuple[int, ...] | None,
        choice: "AdapterChoice | None" = None,
    ) -> None:
        """Print the bundles of a session.

        Args:
            described: the positions of the products that the student saw; None for all.
        """
        import msgspec

        from kdtui.text import one_line

        positions = range(1, len(session.items) + 1)
        left_out = [] if described is None else [at for at in positions if at not in set(described)]
        reason = None
        if not bundles and len(session.items) - len(left_out) < 2:
            reason = "a bundle needs two products" + (" with a title or a category" if left_out else "")
        if self._output == "json":
            record = {"session": session.id, "bundles": msgspec.to_builtins(bundles)}
            if choice is not None:
                record["adapter"] = {
                    "name": choice.route.name,
                    "because": choice.because or None,
                    "expected_pair_f1": choice.expected,
                }
            if left_out:
                record["not_judged"] = [session.items[at - 1].id for at in left_out]
            print_json(record if reason is None else record | {"reason": reason})
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
        """Print bundles as CSV or Markdown, with a header before the first answer; no bundles are one empty row."""
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
    """List the first positions, and count the others."""
    shown = ", ".join(f"{position:,}" for position in positions[:_SHOWN])
    return shown if len(positions) <= _SHOWN else f"{shown} and {len(positions) - _SHOWN:,} more"


def _print_explanation(session: "Session", explanation: "PromptExplanation", *, as_json: bool) -> None:
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


def _in_whole_session(of_part: tuple[int, ...], positions: tuple[int, ...] | None) -> tuple[int, ...]:
    """Translate positions in a part of a session to positions in the whole.

    Args:
        of_part: positions in the part.
        positions: the positions of the part in the session; None if the part is the whole.
    """
    return of_part if positions is None else tuple(positions[at - 1] for at in of_part)


def _heading(session: "Session") -> list[str]:
    from kdtui.text import one_line

    return [one_line(f"session {session.id}")]


_Rows: TypeAlias = "Sequence[tuple[tuple[int, ...], float, str]]"
"""Bundles: their positions, confidences and intents."""

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
