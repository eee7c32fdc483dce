"""What a session of a run costs: seconds, tokens, energy, memory, and money where prices are known."""

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from time import monotonic

from kdtui.workflows.calls.costs import Prices, cost_text
from kdtui.workflows.model_names import is_endpoint
from kdtui.workflows.runs.energy import EnergyMeter
from kdtui.workflows.runs.peak_memory import PeakMemory
from kdtui.workflows.student.generate import GenerateEvent, SessionAnswered
from store.errors import Busy
from store.records import RunSettings
from store.run_costs import Stretch, TokenTotals, begin_stretch, stretches, token_totals, update_stretch
from store.runs import Run, RunSummary
from store.sqlite import Database

_PAUSE = 1.0
"""Seconds between two notes of what has been measured."""


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a session of a run takes on average; None where that is not known.

    Attributes:
        seconds: from its turn to its answer; several may be answered at a time.
        prompt_tokens, completion_tokens: over the answers of which they are known.
        joules: that the machine takes, with all that runs on it.
        meters: by which these are measured.
        peak_memory_bytes: the most that the process has held in the whole run.
        money: by the prices that the run was given.
    """

    seconds: float | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    joules: float | None = None
    meters: str | None = None
    peak_memory_bytes: int | None = None
    money: float | None = None

    def to_json(self) -> dict[str, object]:
        """A flat object."""
        return asdict(self)

    @property
    def in_words(self) -> list[tuple[str, str]]:
        """What is known besides the seconds: the name of a cost, and how much it is."""
        found = []
        if self.prompt_tokens is not None and self.completion_tokens is not None:
            told = f"{self.prompt_tokens:,.0f} read, {self.completion_tokens:,.0f} written"
            found.append(("tokens a session", told))
        if self.joules is not None:
            found.append(("energy a session", f"{self.joules:,.3g} J of the whole machine, by {self.meters}"))
        if self.peak_memory_bytes is not None:
            found.append(("peak memory", megabytes(self.peak_memory_bytes)))
        if self.money is not None:
            found.append(("price of a session", cost_text(self.money)))
        return found


NOT_KNOWN = RunCost()
"""Of what no model was asked for."""


def megabytes(count: int) -> str:
    """So many bytes, for people."""
    return f"{count / 1e6:,.0f} MB"


def prices_of(settings: RunSettings) -> Prices:
    """The prices that a run was given."""
    return Prices(settings.prompt_price, settings.answer_price)


def costs_of(db: Database, summaries: Iterable[RunSummary]) -> dict[int, RunCost]:
    """What runs cost, by their numbers."""
    wanted = list(summaries)
    tokens = token_totals(db, wanted[0].run.id if len(wanted) == 1 else None)
    worked = stretches(db)
    return {each.run.id: _cost(each, tokens.get(each.run.id), worked.get(each.run.id, [])) for each in wanted}


def _cost(summary: RunSummary, tokens: TokenTotals | None, worked: list[Stretch]) -> RunCost:
    measured = [each for each in worked if each.joules is not None and each.sessions]
    meters = {each.meters for each in measured}
    # Of stretches that were measured in different ways, one counts what the other leaves out.
    joules = sum(each.joules or 0.0 for each in measured) if len(meters) == 1 else None
    peaks = [each.peak_memory_bytes for each in worked if each.peak_memory_bytes is not None]
    prompt = completion = money = None
    if tokens is not None:
        prompt, completion = tokens.prompt / tokens.known, tokens.completion / tokens.known
        total = prices_of(summary.run.settings).of(tokens.prompt, tokens.completion)
        money = None if total is None else total / tokens.known
    return RunCost(
        seconds=summary.seconds_per_session,
        prompt_tokens=prompt,
        completion_tokens=completion,
        joules=None if joules is None else joules / sum(each.sessions for each in measured),
        meters=None if joules is None else meters.pop(),
        peak_memory_bytes=max(peaks, default=None),
        money=money,
    )


def measured(db: Database, run: Run, events: Iterator[GenerateEvent]) -> Iterator[GenerateEvent]:
    """The events of a run under way; meanwhile energy and memory are measured, and noted beside its answers.

    A note that others would have to wait for is left for later: what is measured is not worth that.
    """
    # Of what a server takes, this machine knows nothing.
    is_here = not is_endpoint(run.settings.student)
    with ExitStack() as stack:
        meter = stack.enter_context(EnergyMeter()) if is_here else None
        memory, began, noted = PeakMemory(), monotonic(), 0.0
        sessions, number = 0, None

        def note(patience: float) -> None:
            nonlocal number
            joules, meters = (None, None) if meter is None else meter.read()
            peak = None if meter is None else memory.read()
            taken = Stretch(sessions, monotonic() - began, joules, meters, peak)
            try:
                with db.waiting(patience):
                    number = begin_stretch(db, run.id) if number is None else number
                    if number is not None:
                        update_stretch(db, number, taken)
            except (Busy, sqlite3.OperationalError):
                pass

        try:
            for event in events:
                if isinstance(event, SessionAnswered):
                    sessions += 1
                    if monotonic() - noted >= _PAUSE and not db.conn.in_transaction:
                        note(0.0)
                        noted = monotonic()
                yield event
        finally:
            # What it stores at its end is to be stored before.
            if isinstance(events, Generator):
                events.close()
            if sessions and not db.conn.in_transaction:
                note(_PAUSE)
