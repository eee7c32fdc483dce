"""Load: processes that work on one store at the same time, as people and programs do, for minutes.

    python -m tests.faults.load --seconds 600

The store is made first: a million pieces of knowledge, a hundred thousand calls of teachers, two hundred trainings.
Before the load, a command answers ten thousand sessions.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np
import psutil

from benchmarks.large_store import make_store
from store.damage import first_damage
from store.database import open_database
from tests.faults.load_workers import add_call, work
from tests.faults.soak import LOAD_SECONDS, SESSIONS, version
from tests.support.jobs_place import make_job
from tests.support.stores import OUTDOOR
from tests.support.tiny import make_model

PIECES, CALLS, TRAININGS, READERS = 1_000_000, 100_000, 200, 8


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
class ManySessions:
    """What a command needed to answer many sessions.

    Attributes:
        p50, p99, longest: seconds from one answer to the next; they come in groups.
        memory: its most resident megabytes until half of the answers, and until the end.
        errors: what went wrong, a sentence each.
    """

    student: str
    sessions: int
    answers: int
    seconds: float
    p50: float
    p99: float
    longest: float
    memory: tuple[float, float]
    errors: Sequence[str]


@dataclass(frozen=True)
class Load:
    """What a load has shown.

    Attributes:
        seconds: how long the process worked that worked for the shortest time.
        memory: resident megabytes of each process, after half of the time and at the end.
        damage: what SQLite finds wrong with the store afterwards; "" for nothing.
    """

    seconds: float
    latencies: Sequence[Latencies]
    memory: Mapping[str, tuple[float, float]]
    damage: str
    many_sessions: Sequence[ManySessions] = ()


def make(path: Path, pieces: int = PIECES, calls: int = CALLS, trainings: int = TRAININGS) -> None:
    """Make the store."""
    make_store(path, pieces, pieces // 10)
    with closing(open_database(path)) as db, db.atomic():
        chance = random.Random(1)
        for _ in range(calls):
            add_call(db, chance)
    for number in range(trainings):
        make_job(path, f"training-{number}", {"exit_code": str(number % 2), "log": "step 1 of 1\n"})


def load(path: Path, seconds: float, readers: int = READERS) -> Load:
    """Let readers, a writer, the app and followers of logs work on a store, and measure their steps."""
    context = get_context("spawn")
    results = context.SimpleQueue()
    kinds = ["writer", "app", "logs", *["reader"] * readers]
    workers = [
        context.Process(
            target=work, args=(kind, f"{kind} {number}", str(path), seconds, number, results), name=f"{kind} {number}"
        )
        for number, kind in enumerate(kinds)
    ]
    for worker in workers:
        worker.start()
    times: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, list[str]] = defaultdict(list)
    memory, worked = {}, []
    for _ in workers:
        name, its_seconds, its_times, its_errors, memory[name] = _next_result(results, workers)
        worked.append(its_seconds)
        for step, values in its_times.items():
            times[step] += values
        for step, sentences in its_errors.items():
            errors[step] += sentences
    for worker in workers:
        worker.join()
    latencies = [
        Latencies(step, len(times[step]), *_quantiles(times[step]), errors[step])
        for step in times.keys() | errors.keys()
    ]
    with closing(open_database(path)) as db:
        damage = first_damage(db)
    return Load(min(worked), latencies, memory, damage or "")


def _quantiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the 99th percentile and the largest of some times."""
    p50, p99, longest = (float(each) for each in np.quantile(seconds or [0.0], (0.5, 0.99, 1.0)))
    return p50, p99, longest


def _next_result(results: Any, workers: Sequence[Any]) -> Any:
    """Wait for the result of a worker.

    Raises:
        RuntimeError: one ended without a result.
    """
    while results.empty():
        if broken := [worker.name for worker in workers if worker.exitcode]:
            raise RuntimeError(f"{', '.join(broken)} ended without a result")
        time.sleep(0.1)
    return results.get()


def answer_many(count: int = SESSIONS) -> list[ManySessions]:
    """Let `generate` answer many sessions: with a student without a language model, and with a tiny model."""
    with TemporaryDirectory() as folder:
        data, store = Path(folder) / "many.jsonl", Path(folder) / "kdtui.db"
        demo = [json.loads(line) for line in OUTDOOR.read_text(encoding="utf-8").splitlines()]
        ids = [f"s{number}" for number in range(count)]
        lines = (json.dumps(demo[number % len(demo)] | {"session": each}) for number, each in enumerate(ids))
        data.write_text("\n".join(lines), encoding="utf-8")
        for arguments in (("data", "import", str(data), "--dataset", "many"), ("knowledge", "mine")):
            command = [sys.executable, "-m", "kdtui", *arguments, "--db", str(store)]
            subprocess.run(command, check=True, capture_output=True)
        students = {"patterns": "patterns", "a tiny model": str(make_model(Path(folder) / "tiny.gguf"))}
        return [_answer(name, student, ids, store) for name, student in students.items()]


def _answer(name: str, student: str, ids: Sequence[str], store: Path) -> ManySessions:
    command = [sys.executable, "-m", "kdtui", "generate", *ids, "--student", student, "--json", "--db", str(store)]
    began, times, half, late = time.monotonic(), [], 0.0, 0.0
    # A file: a pipe that nobody reads would fill up.
    with (
        TemporaryFile("w+") as err,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True) as process,
    ):
        assert process.stdout is not None
        watched = psutil.Process(process.pid)
        for _ in process.stdout:
            times.append(time.monotonic() - began)
            # After the last answer, the process may have ended already.
            with suppress(psutil.Error):
                late = max(late, watched.memory_info().rss / 1e6)
            if len(times) == len(ids) // 2:
                half = late
        failed = process.wait()
        err.seek(0)
        errors = err.read().splitlines() if failed else []
    gaps = np.diff([0.0, *times]).tolist()
    return ManySessions(
        name, len(ids), len(times), time.monotonic() - began, *_quantiles(gaps), memory=(half, late), errors=errors
    )


def is_done(output: Path) -> bool:
    """Return whether a file has the results of this version."""
    return output.exists() and json.loads(output.read_text(encoding="utf-8"))["version"] == version()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("soak"), help="for the database, which is deleted again")
    parser.add_argument("--seconds", type=float, default=LOAD_SECONDS)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--output", type=Path, help="a file for the results, as JSON")
    options = parser.parse_args()
    if options.output is not None and is_done(options.output):
        print(f"{options.output} has the results of this version", file=sys.stderr)
        return
    began = time.monotonic()
    many = answer_many(options.sessions)
    options.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=options.folder) as folder:
        store = Path(folder) / "kdtui.db"
        make(store)
        found = replace(load(store, options.seconds), many_sessions=many)
    facts = {"version": version(), "processors": os.cpu_count(), "in_all": time.monotonic() - began}
    text = json.dumps({**asdict(found), **facts}, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
