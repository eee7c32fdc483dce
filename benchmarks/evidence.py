"""Sessions by evidence alone: `kdtui evaluate --student patterns` over as many as you like.

    python -m benchmarks.evidence DATA [--sessions 20000 100000] [--seed 0]

DATA is a dataset in the BundleRec layout. Its training sessions are imported as they are; the sessions to answer are
made up of the products of real validation sessions: each takes the products of one and a part of those of another, with
bundles that people saw there, under a new id. Each size is measured in a store and a process of its own, from the shell
back to the shell, and printed when it is measured. Per second and per core: the command runs one thread that computes.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

from msgspec.structs import replace

from kdtui.exchange.bundlerec import read_directory
from store.database import open_database
from store.datasets import write_dataset
from store.records import Bundle, Item, Session

_DATASET = "drawn"
_MEMORY = """
import resource, sys
from kdtui.__main__ import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sessions", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    real, _ = read_directory(given.data)
    for count in given.sessions:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "kdtui.db"
            db = open_database(path)
            list(write_dataset(db, _DATASET, "drawn", _drawn(real, count, given.seed)))
            db.close()
            _measure(path, count)


def _drawn(real: Sequence[Session], count: int, seed: int) -> Iterator[Session]:
    """The training sessions, and so many made up ones as the validation split."""
    yield from (session for session in real if session.split == "train")
    sources = [session for session in real if session.split == "valid" and session.bundles]
    chance = random.Random(seed)
    for number in range(count):
        one, other = chance.choice(sources), chance.choice(sources)
        items = list(one.items)
        known = {item.id for item in items}
        added: list[Item] = [item for item in other.items if item.id not in known]
        items += chance.sample(added, min(len(added), chance.randint(0, 2)))
        bundles = tuple(Bundle(bundle.positions, bundle.intent) for bundle in one.bundles)
        yield replace(one, id=f"drawn-{number}", items=tuple(items), bundles=bundles, split="valid")


def _measure(path: Path, count: int) -> None:
    command = [sys.executable, "-c", _MEMORY, "evaluate", "--dataset", _DATASET, "--split", "valid"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = perf_counter()
    done = subprocess.run(
        [*command, "--student", "patterns"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"KDTUI_DB": str(path)},
    )
    seconds = perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = int(done.stderr.split()[-1]) / (1e6 if sys.platform == "darwin" else 1e3)
    print(
        f"{count:>9,} sessions  {count / seconds:8,.0f} a second  {count / computing:8,.0f} a second of computing  "
        f"peak memory {peak:6,.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
