"""What processes do to one store at the same time: read, write, use the app, follow logs. Each measures its steps."""

import asyncio
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, Protocol

from textual import events
from textual.pilot import Pilot

from benchmarks.measure import resident_memory_mb
from kdtui.tui.actions import keys_of
from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.memory import Memory
from kdtui.tui.places.knowledge.screen import KnowledgeScreen
from kdtui.workflows.async_events import Interrupt, Interrupted
from kdtui.workflows.job_state import known_trainings
from kdtui.workflows.knowledge.about_piece import about_piece
from kdtui.workflows.knowledge.pieces import search_pieces
from kdtui.workflows.knowledge.query import parse_query
from kdtui.workflows.training.watch import LogRead, Watch
from models.sft.job_files import LOG, PID, identity
from store.calls import call_hits, call_rows, record_call, totals_by_teacher
from store.database import open_database
from store.knowledge import NewKnowledge, add_knowledge
from store.records import TrainingSettings
from store.runs import list_runs
from store.sqlite import Database
from tests.support.acting import paint
from tests.support.jobs_place import make_job

FOLLOWED = 20
"""Trainings whose logs grow and are followed."""

_LINES_PER_SECOND = 5
"""Of each of these logs."""

_LOOKS = 0.01
"""Seconds between two looks at the event loop."""

_TYPING = 0.1
"""Seconds between two keys that a person types."""

_FINDS_ROWS = 60.0
"""Seconds after which a search counts as unanswered."""

_READS_LOG = 60.0
"""Seconds after which a line of a log that has not been read is lost."""

_QUERIES = (
    "tent",
    "camera battery",
    "format:rule lamp",
    "status:rejected cable",
    "support>0.2 paper",
    "ba*",
    "coffee tea",
)

_DATASET = "electronic"

_FOLLOWING = "follow a log: from a line to its arrival"
_OPENING, _KEY = "app: open a place until it is painted", "app: a key until it is painted"
_SEARCHING, _COUNTING = "app: search until the first rows are painted", "app: search until all matches are counted"
_WAITING = "app: a key waits for the event loop"


class Record:
    """How long each kind of work of one process takes, what goes wrong, and how much memory it has.

    Attributes:
        times: seconds of each kind of work.
        memory: resident megabytes after half of the time, and now.
        seconds: how long it has worked.
    """

    def __init__(self, seconds: float) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: dict[str, list[str]] = defaultdict(list)
        self._wanted, self._half = seconds, 0.0
        self._began: float | None = None

    @property
    def goes_on(self) -> bool:
        """Whether there is time left, which begins with the first look: an app takes a while to start."""
        if self._began is None:
            self._began = time.monotonic()
        if not self._half and self.seconds > self._wanted / 2:
            self._half = resident_memory_mb()
        return self.seconds < self._wanted

    @property
    def seconds(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def memory(self) -> tuple[float, float]:
        return self._half, resident_memory_mb()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step; an error in it is kept, and the next step follows."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            self.errors[name].append(f"{type(error).__name__}: {error}")
        self.times[name].append(time.monotonic() - began)


class Worker(Protocol):
    """Works on the store until the time of its record is over."""

    def __call__(self, path: Path, record: Record, chance: random.Random) -> None: ...


# Readers and a writer, each step with a connection of its own, like the app.


def _search(db: Database, chance: random.Random) -> None:
    search_pieces(db, parse_query(chance.choice(_QUERIES)), limit=50)


def _look_at_piece(db: Database, chance: random.Random) -> None:
    (last,) = db.execute("SELECT max(id) FROM knowledge").fetchone()
    # Rows can be missing; the next one is there.
    (number,) = db.execute("SELECT min(id) FROM knowledge WHERE id >= ?", [chance.randint(1, last)]).fetchone()
    about_piece(db, number)


def _list_calls(db: Database, _: random.Random) -> None:
    first = next(iter(call_hits(db)), None)
    if first is not None:
        call_rows(db, list(islice(first.ids, 50)))


def _search_calls(db: Database, chance: random.Random) -> None:
    next(iter(call_hits(db, chance.choice(("tent", "camera", "lamp")))), None)


READS: Mapping[str, Callable[[Database, random.Random], object]] = {
    "search knowledge": _search,
    "show a piece": _look_at_piece,
    "list runs": lambda db, _: list_runs(db),
    "list calls": _list_calls,
    "search calls": _search_calls,
    "total calls": lambda db, _: totals_by_teacher(db),
    "list trainings": lambda db, _: known_trainings(db),
}


def add_pieces(db: Database, chance: random.Random) -> None:
    """Store twenty pieces."""
    pieces = [
        NewKnowledge(f"Put tents with lamps {chance.random()}", json.dumps({"text": "x"}), support=chance.random())
        for _ in range(20)
    ]
    add_knowledge(db, _DATASET, "rule", "load", pieces)


def add_call(db: Database, chance: random.Random) -> None:
    """Store a call of a teacher."""
    record_call(
        db,
        key=f"{chance.getrandbits(128):032x}",
        teacher="load",
        step="rules",
        request=json.dumps({"messages": [["user", "What do you see?"]]}),
        response="Tents go with lamps.",
        prompt_tokens=100,
        completion_tokens=10,
        cost=0.001,
        seconds=1.0,
        attempts=1,
    )


WRITES: Mapping[str, Callable[[Database, random.Random], object]] = {
    "store 20 pieces": add_pieces,
    "store a call": add_call,
}


STEPS = (*READS, *WRITES, _OPENING, _KEY, _SEARCHING, _COUNTING, _WAITING, _FOLLOWING)
"""The kinds of work in a load."""


def read(path: Path, record: Record, chance: random.Random) -> None:
    """Read in all ways, in random order."""
    while record.goes_on:
        step = chance.choice(list(READS))
        with record.step(step), closing(open_database(path)) as db:
            READS[step](db, chance)


def write(path: Path, record: Record, chance: random.Random) -> None:
    """Write as fast as answers of a teacher come, not as fast as the disk is."""
    while record.goes_on:
        step = chance.choice(list(WRITES))
        with record.step(step), closing(open_database(path)) as db:
            WRITES[step](db, chance)
        time.sleep(0.02)


# The app.


def use_app(path: Path, record: Record, chance: random.Random) -> None:
    """Go from place to place in the app, move and search there, and measure what a user waits for."""
    asyncio.run(_use_app(path, record, chance))


async def _use_app(path: Path, record: Record, chance: random.Random) -> None:
    app = KdtuiApp(path, memory=Memory(None, path))
    async with app.run_test(size=(120, 40)) as pilot:
        watching = asyncio.ensure_future(_watch_loop(record))
        while record.goes_on:
            place = chance.choice(("knowledge", "samples", "runs", "jobs", "distill", "models", "studies"))
            with record.step(_OPENING):
                await _press(pilot, keys_of({})[f"app.{place}"][0])
            for _ in range(chance.randint(1, 5)):
                await asyncio.sleep(_TYPING)
                with record.step(_KEY):
                    await _press(pilot, chance.choice(("down", "up", "pagedown", "home")))
            if isinstance(app.screen, KnowledgeScreen):
                await _search_in_app(pilot, record, chance.choice(("tent", "lamp", "coffee")))
            for notice in app._notifications:
                if notice.severity == "error":
                    record.errors[_OPENING].append(notice.message)
            app.clear_notifications()
        watching.cancel()


async def _search_in_app(pilot: Pilot[Any], record: Record, word: str) -> None:
    for key in ("slash", *word):
        await asyncio.sleep(_TYPING)
        await _press(pilot, key)
    with record.step(_COUNTING):
        with record.step(_SEARCHING):
            await _press(pilot, "enter")
            table = pilot.app.screen.query_one(HitsTable)
            if await table.answered(_FINDS_ROWS) and await table.answered(0):
                raise TimeoutError(f"no match was shown within {_FINDS_ROWS:.0f} s")
            await paint(pilot)
        while not all(worker.is_finished for worker in pilot.app.workers):
            await asyncio.sleep(0.005)
        await paint(pilot)
    await _press(pilot, "escape")


async def _press(pilot: Pilot[Any], key: str) -> None:
    """Press a key and wait until it is painted; `Pilot.press` would wait for the threads of a search too."""
    pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
    for _ in range(2):
        await pilot.pause(0)
        await paint(pilot)


async def _watch_loop(record: Record) -> None:
    """Measure how long keys would have waited for the event loop that came every hundredth of a second."""
    waits = record.times[_WAITING]
    while True:
        began = time.monotonic()
        await asyncio.sleep(_LOOKS)
        late = max(0.0, time.monotonic() - began - _LOOKS)
        waits += [late - number * _LOOKS for number in range(int(late / _LOOKS) + 1)]


# Logs that grow and are followed.


def follow_logs(path: Path, record: Record, chance: random.Random) -> None:
    """Let the logs of trainings grow, follow them all at once, and measure when a line arrives."""
    process = json.dumps(identity(os.getpid()))
    names = [f"followed-{chance.getrandbits(32):08x}" for _ in range(FOLLOWED)]
    logs = [make_job(path, name, {PID: process, LOG: ""}, TrainingSettings((_DATASET,))) / LOG for name in names]
    interrupts = [Interrupt() for _ in names]
    # The first look at a log says only how long it is.
    ready = Barrier(FOLLOWED + 1)
    followers = [
        Thread(target=_follow, args=(path, name, record, interrupt, ready))
        for name, interrupt in zip(names, interrupts, strict=True)
    ]
    for follower in followers:
        follower.start()
    ready.wait()
    written = 0
    while record.goes_on:
        for log in logs:
            with log.open("a") as file:
                file.write(f"{time.monotonic()}\n")
            written += 1
        time.sleep(1 / _LINES_PER_SECOND)
    lost = time.monotonic() + _READS_LOG
    while len(record.times[_FOLLOWING]) < written and time.monotonic() < lost:
        time.sleep(0.1)
    for interrupt in interrupts:
        interrupt.set()
    for follower in followers:
        follower.join()
    if (arrived := len(record.times[_FOLLOWING])) != written:
        record.errors[_FOLLOWING].append(f"{written} lines were written, and {arrived} arrived")


def _follow(path: Path, name: str, record: Record, interrupt: Interrupt, ready: Barrier) -> None:
    is_ready, rest = False, b""
    try:
        with closing(open_database(path)) as db, interrupt.in_force():
            for event in Watch(name).events(db):
                if isinstance(event, LogRead):
                    if not is_ready:
                        is_ready = True
                        ready.wait()
                    now = time.monotonic()
                    # What arrives can end in the middle of a line.
                    *lines, rest = (rest + event.data).split(b"\n")
                    record.times[_FOLLOWING] += [now - float(line) for line in lines]
    except Interrupted:
        return
    except Exception as error:
        ready.abort()
        record.errors[_FOLLOWING].append(f"{type(error).__name__}: {error}")


WORKERS: Mapping[str, Worker] = {"reader": read, "writer": write, "app": use_app, "logs": follow_logs}


def work(kind: str, name: str, path: str, seconds: float, seed: int, results: Any) -> None:
    """Run a worker in this process, and put what it measured into a queue."""
    record = Record(seconds)
    with record.step(f"{kind}: end in order"):
        WORKERS[kind](Path(path), record, random.Random(seed))
    del record.times[f"{kind}: end in order"]
    results.put((name, record.seconds, dict(record.times), dict(record.errors), record.memory))
