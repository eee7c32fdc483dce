"""Evaluation by evidence only: `kdtui evaluate --student patterns` over any number of sessions.

    python -m benchmarks.evidence DATA [--sessions 10000 100000] [--titles 20000] [--kept] [--seed 0]

DATA is a dataset in the BundleRec layout. Its training sessions are imported unchanged. The sessions to answer are
synthetic: each combines the products and bundles of one real training or validation session with a part of another.
Products get variants with other titles and ids, about `--titles` titles in all, as many as in a shop.

Each size has its own store. The command runs twice, in separate processes: first without stored title vectors, then
with them. Both runs compute the floors. `--kept` skips the first run and stores random vectors, to measure only how
they are read, because encoding 20,000 titles takes minutes.

Rates are per second of computing: the command has one computing thread, and the encoder one for each core.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np
from msgspec.structs import replace

from kdtui.distill.pair_features import texts_to_read
from kdtui.exchange.bundlerec import read_directory
from kdtui.text import one_line
from kdtui.workflows.data.text_vectors import text_hash
from models.embedded import ENCODER_DIMENSIONS, ENCODER_SHA256
from models.unit_vectors import scaled_to_one
from store.database import open_database
from store.dataset_writer import write_dataset
from store.records import CategoryPath, Item, Session
from store.sqlite import Database
from store.text_vectors import save_text_vectors

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
    parser.add_argument("--sessions", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--titles", type=int, default=20_000)
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    real, _ = read_directory(given.data)
    for count in given.sessions:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "kdtui.db"
            with closing(open_database(path)) as db:
                list(write_dataset(db, _DATASET, "drawn", _drawn(real, count, given.titles, given.seed)))
                [titles] = db.execute("SELECT count(DISTINCT title) FROM items").fetchone()
                texts = _texts(db)
                if given.kept:
                    _keep_made_up(db, texts, given.seed)
            print(f"{count:,} sessions, {titles:,} titles, {len(texts):,} texts to read", flush=True)
            if given.kept:
                # Learning from the training sessions is not part of the measurement.
                _run(path, "--limit", "1")
            else:
                _measure(path, count, "without stored vectors")
            with closing(open_database(path)) as db, db.atomic():
                db.execute("DELETE FROM runs")
                db.execute("DELETE FROM floors")
            _measure(path, count, "with stored vectors")


def _drawn(real: Sequence[Session], count: int, titles: int, seed: int) -> Iterator[Session]:
    """Yield the training sessions, and N synthetic ones as the validation split."""
    yield from (session for session in real if session.split == "train")
    # The test split is not used during development.
    sources = [session for session in real if session.split in ("train", "valid") and session.bundles]
    products = len({item.id for session in sources for item in session.items})
    variants = max(1, round(titles / products))
    chance = random.Random(seed)
    for number in range(count):
        one, other = chance.choice(sources), chance.choice(sources)
        items = list(one.items)
        known = {item.id for item in items}
        added: list[Item] = [item for item in other.items if item.id not in known]
        items += chance.sample(added, min(len(added), chance.randint(0, 2)))
        items = [_variant(item, chance.randrange(variants)) for item in items]
        yield replace(one, id=f"drawn-{number}", items=tuple(items), split="valid")


def _variant(item: Item, number: int) -> Item:
    """Return the product itself, or a variant of it."""
    return replace(item, id=f"{item.id}-{number}", title=f"{item.title}, model {number}") if number else item


def _texts(db: Database) -> list[str]:
    """Return all texts of the sessions that need vectors."""
    rows = db.execute("SELECT item, title, categories FROM items")
    items = (
        Item(item, title, msgspec.json.decode(paths, type=tuple[CategoryPath, ...])) for item, title, paths in rows
    )
    return list(dict.fromkeys(text for item in items for text in texts_to_read(Session("", (item,)))))


def _keep_made_up(db: Database, texts: Sequence[str], seed: int) -> None:
    """Store a random vector for each text, in place of the encoder's."""
    chance = np.random.default_rng(seed)
    for first in range(0, len(texts), 1000):
        part = texts[first : first + 1000]
        rows = scaled_to_one(chance.normal(size=(len(part), ENCODER_DIMENSIONS)).astype(np.float32)).astype("<f2")
        hashes = (text_hash(one_line(text)) for text in part)
        save_text_vectors(db, _DATASET, ENCODER_SHA256, dict(zip(hashes, (row.tobytes() for row in rows), strict=True)))


def _run(path: Path, *options: str) -> str:
    """Run the evaluation and return its stderr."""
    command = [sys.executable, "-c", _MEMORY, "evaluate", "--dataset", _DATASET, "--split", "valid"]
    done = subprocess.run(
        [*command, "--student", "patterns", *options],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"KDTUI_DB": str(path)},
    )
    return done.stderr


def _measure(path: Path, count: int, how: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = perf_counter()
    said = _run(path)
    seconds = perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = int(said.split()[-1]) / (1e6 if sys.platform == "darwin" else 1e3)
    print(
        f"{count:>9,} sessions, {how:20}  {seconds:8,.1f} s  {computing:8,.1f} s of computing  "
        f"{count / computing:6,.0f} a second of computing  peak memory {peak:6,.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
