"""What a session of a run costs: seconds, tokens, energy, memory, and money if prices are known."""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
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
"""Seconds between two records of the measurements."""


@dataclass(frozen=True, slots=True)
class RunCost:
    """The mean cost of a session of a run; None if unknown.

    Attributes:
        seconds: see `RunSummary.seconds_per_session`.
        prompt_tokens, completion_tokens: over the answers with known tokens.
        joules: of the whole machine, with everything that runs on it.
        meters: that measured them.
        peak_memory_bytes: of the process, in the whole run.
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
        """Return a flat object."""
        return asdict(self)

    @property
    def in_words(self) -> list[tuple[str, str]]:
        """The known costs except the seconds, as pairs of a name and a value."""
        costs = []
        if self.prompt_tokens is not None and self.completion_tokens is not None:
            tokens = f"{self.prompt_tokens:,.0f} read, {self.completion_tokens:,.0f} written"
            costs.append(("tokens a session", tokens))
        if self.joules is not None:
            costs.append(("energy a session", f"{self.joules:,.3g} J of the whole machine, by {self.meters}"))
        if self.peak_memory_bytes is not None:
            costs.append(("peak memory", megabytes(self.peak_memory_bytes)))
        if self.money is not None:
            costs.append(("price of a session", cost_text(self.money)))
        return costs


NOT_KNOWN = RunCost()
"""The cost of rows that used no model."""


def megabytes(count: int) -> str:
    """Format a number of bytes for users."""
    return f"{count / 1e6:,.0f} MB"


def prices_of(settings: RunSettings) -> Prices:
    """Return the prices that a run was given."""
    return Prices(settings.prompt_price, settings.answer_price)


def costs_of(db: Database, summaries: Iterable[RunSummary]) -> dict[int, RunCost]:
    """Return the costs of runs, by their numbers."""
    wanted = list(summaries)
    tokens = token_totals(db, wanted[0].run.id if len(wanted) == 1 else None)
    worked = stretches(db)
    return {each.run.id: _cost(each, tokens.get(each.run.id), worked.get(each.run.id, [])) for each in wanted}


def _cost(summary: RunSummary, tokens: TokenTotals | None, worked: list[Stretch]) -> RunCost:
    measured = [each for each in worked if each.joules is not None and each.sessions]
    meters = {each.meters for each in measured}
    # Stretches with different meters measure different things and cannot be added.
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


def record_costs(
    db: Database, run: Run, events: Iterator[GenerateEvent], *, paused: Callable[[], float] = lambda: 0.0
) -> Iterator[GenerateEvent]:
    """Yield the events of a running run. Meanwhile measure time, energy and memory, and store them with its answers.

    The time is that in which this waits for events, without pauses.
    A record that would make other processes wait is postponed: measurements are not worth that.

    Args:
        paused: returns the seconds in which the events have been paused so far.
    """
    # The costs of a server cannot be measured on this machine.
    is_here = not is_endpoint(run.settings.student)
    with ExitStack() as stack:
        meter = stack.enter_context(EnergyMeter()) if is_here else None
        memory, worked, noted = PeakMemory(), 0.0, 0.0
        sessions, number = 0, None

        def note(patience: float) -> None:
            nonlocal number
            joules, meters = (None, None) if meter is None else meter.read()
            peak = None if meter is None else memory.read()
            taken = Stretch(sessions, worked, joules, meters, peak)
            try:
                with db.waiting(patience):
                    number = begin_stretch(db, run.id) if number is None else number
                    if number is not None:
                        update_stretch(db, number, taken)
            except (Busy, sqlite3.OperationalError):
                pass

        try:
            began = monotonic() - paused()
            for event in events:
                worked += monotonic() - paused() - began
                if isinstance(event, SessionAnswered):
                    sessions += 1
                    if monotonic() - noted >= _PAUSE and not db.conn.in_transaction:
                        note(0.0)
                        noted = monotonic()
                yield event
                began = monotonic() - paused()
        finally:
            # Let it store its last answers first.
            if isinstance(events, Generator):
                events.close()
            if sessions and not db.conn.in_transaction:
                note(_PAUSE)
