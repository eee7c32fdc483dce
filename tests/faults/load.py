"""Load: processes that read and write one store at the same time, as people and programs do, for minutes.

    python -m tests.faults.load STORE --seconds 600

The store is made first, if it does not exist: a million pieces of knowledge, a hundred thousand calls of teachers.
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.large_store import make_store
from benchmarks.measure import resident_memory_mb
from kdtui.workflows.knowledge.about_piece import about_piece
from kdtui.workflows.knowledge.pieces import search_pieces
from kdtui.workflows.knowledge.query import parse_query
from store.calls import call_hits, call_rows, record_call, totals_by_teacher
from store.database import open_database
from store.knowledge import NewKnowledge, add_knowledge
from store.runs import list_runs
from store.sqlite import Database

PIECES, CALLS, READERS = 1_000_000, 100_000, 8

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


@dataclass(frozen=True)
class Latencies:
    """How long one kind of work took.

    Attributes:
        p50, p99, longest: seconds.
        errors: what went wrong, a sentence each.
    """

    work: str
    count: int
    p50: float
    p99: float
    longest: float
    errors: Sequence[str]


@dataclass(frozen=True)
class Load:
    """What a load has shown.

    Attributes:
        memory: resident megabytes of each process, after a tenth of the time and at the end.
        damage: what SQLite finds wrong with the store afterwards.
    """

    seconds: float
    latencies: Sequence[Latencies]
    memory: Mapping[str, tuple[float, float]]
    damage: Sequence[str]


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
}
"""What readers do in turn, each with a connection of its own, like the app."""


def _add_pieces(db: Database, chance: random.Random) -> None:
    pieces = [
        NewKnowledge(f"Put tents with lamps {chance.random()}", json.dumps({"text": "x"}), support=chance.random())
        for _ in range(20)
    ]
    add_knowledge(db, _DATASET, "rule", "load", pieces)


def _add_call(db: Database, chance: random.Random) -> None:
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
    "store 20 pieces": _add_pieces,
    "store a call": _add_call,
}


def make(path: Path, pieces: int = PIECES, calls: int = CALLS) -> None:
    """Make the store."""
    make_store(path, pieces, pieces // 10)
    with closing(open_database(path)) as db, db.atomic():
        chance = random.Random(1)
        for _ in range(calls):
            _add_call(db, chance)


def load(path: Path, seconds: float, readers: int = READERS) -> Load:
    """Let readers and a writer work on a store, and measure how long each of their steps takes."""
    context = get_context("spawn")
    results = context.SimpleQueue()
    arguments = [("writer", 0), *((f"reader {number}", number) for number in range(1, readers + 1))]
    workers = [
        context.Process(target=_work, args=(name, str(path), seconds, seed, results)) for name, seed in arguments
    ]
    for worker in workers:
        worker.start()
    times: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, list[str]] = defaultdict(list)
    memory = {}
    for _ in workers:
        name, its_times, its_errors, its_memory = results.get()
        memory[name] = its_memory
        for work, values in its_times.items():
            times[work] += values
        for work, sentences in its_errors.items():
            errors[work] += sentences
    for worker in workers:
        worker.join()
    latencies = []
    for work, values in times.items():
        p50, p99, longest = (float(each) for each in np.quantile(values, (0.5, 0.99, 1.0)))
        latencies.append(Latencies(work, len(values), p50, p99, longest, errors[work]))
    with closing(open_database(path)) as db:
        damage = [text for (text,) in db.execute("PRAGMA quick_check") if text != "ok"]
    return Load(seconds, latencies, memory, damage)


def _work(name: str, path: str, seconds: float, seed: int, results: "object") -> None:
    """Repeat the steps of a reader or of the writer until the time is over."""
    chance = random.Random(seed)
    steps = WRITES if name == "writer" else READS
    times: dict[str, list[float]] = {work: [] for work in steps}
    errors: dict[str, list[str]] = {work: [] for work in steps}
    began, early = time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < seconds:
        if not early and passed > seconds / 10:
            early = resident_memory_mb()
        work = chance.choice(list(steps))
        before = time.monotonic()
        try:
            with closing(open_database(Path(path))) as db:
                steps[work](db, chance)
        except Exception as error:
            errors[work].append(f"{type(error).__name__}: {error}")
        times[work].append(time.monotonic() - before)
        if name == "writer":
            # As fast as an answer of a teacher comes, not as fast as the disk is.
            time.sleep(0.02)
    results.put((name, times, errors, (early, resident_memory_mb())))  # type: ignore[attr-defined]


def main() -> int:
    """Run the command line; return the exit code: 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--output", type=Path, help="a file for the results, as JSON")
    options = parser.parse_args()
    if not options.store.exists():
        make(options.store)
    found = load(options.store, options.seconds)
    text = json.dumps(asdict(found), indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    return 1 if found.damage or any(each.errors for each in found.latencies) else 0


if __name__ == "__main__":
    sys.exit(main())
