"""The default experience: answers of the default student on real sessions, cold and warm.

    python -m benchmarks.default DATA [--runs 5] [--sessions 30] [--seed 0]

DATA is a folder with `electronic` and `clothing` in the BundleRec layout. Validation sessions are drawn at random. Each
line is printed when it is measured. Seconds are wall time; computing is the processor time of all threads.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from kdtui.workflows.data.import_dataset import import_dataset
from store.database import open_database
from store.records import Session
from store.sessions import iter_sessions

_DATASETS = ("electronic", "clothing")

_TITLES = ("Two-person tent", "Tent pegs", "Phone case", "Screen protector")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=5, help="sessions to answer one at a time")
    parser.add_argument("--sessions", type=int, default=30, help="sessions to answer in one run")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "KDTUI_DB": str(folder / "kdtui.db"), "XDG_CACHE_HOME": str(folder / "cache")}
        db = open_database(folder / "kdtui.db")
        chance = random.Random(given.seed)
        chosen: dict[str, list[str]] = {}
        sessions: dict[str, list[Session]] = {}
        for dataset in _DATASETS:
            list(import_dataset(db, given.data / dataset, dataset))
            sessions[dataset] = list(iter_sessions(db, dataset, split="valid"))
            picked = chance.sample(sessions[dataset], max(given.runs, given.sessions))
            chosen[dataset] = [session.id for session in picked]
            products = [len(session.items) for session in picked]
            print(f"{dataset}: {len(picked)} validation sessions of {median(products):g} products (median)", flush=True)
        db.close()
        typed = ["generate", *(part for title in _TITLES for part in ("--title", title))]
        _report("a first answer on this machine, to typed titles", [_measured(typed, environment)])
        _report("typed titles", [_measured(typed, environment) for _ in range(given.runs)])
        for dataset in _DATASETS:
            # A session that is not measured below.
            first = next(each.id for each in sessions[dataset] if each.id not in chosen[dataset])
            learning = _measured(["generate", first, "--dataset", dataset], environment)
            _report(f"the first answer of {dataset}, which learns", [learning])
            ids = chosen[dataset][: given.runs]
            for student in ([], ["--student", "patterns"]):
                times = [_measured(["generate", each, "--dataset", dataset, *student], environment) for each in ids]
                _report(f"one answer, {dataset}, {student[-1] if student else 'the default student'}", times)
            ids = chosen[dataset][: given.sessions]
            one = _measured(["generate", ids[0], "--dataset", dataset], environment)
            many = _measured(["generate", *ids, "--dataset", dataset], environment)
            each = tuple((b - a) / (len(ids) - 1) for a, b in zip(one, many, strict=True))
            _report(f"each further session in one command, {dataset}, of {len(ids)}", [(each[0], each[1])])


def _measured(arguments: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the wall seconds and the processor seconds of a command, including the start of Python."""
    command = [str(Path(sys.executable).with_name("kdtui")), *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    seconds = perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _report(name: str, times: Sequence[tuple[float, float]]) -> None:
    clock, computing = zip(*times, strict=True)
    between = f" ({min(clock):.2f} to {max(clock):.2f})" if len(times) > 1 else ""
    print(f"{name:<58} {median(clock):6.2f} s{between}, computing {median(computing):.2f} s", flush=True)


if __name__ == "__main__":
    main()
