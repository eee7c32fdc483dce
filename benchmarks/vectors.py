"""Vectors of texts: computing them, and reading stored ones.

python -m benchmarks.vectors [--texts 100000]
"""

import argparse
import random
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.measure import peak_memory_mb, resident_memory_mb
from kdtui.workflows.data.text_vectors import TextVectors, text_hash
from models.embedded import ENCODER_DIMENSIONS, ENCODER_SHA256
from models.llama.embedding import shipped_embedder
from store.database import open_database
from store.dataset_writer import write_dataset
from store.records import Item, Session
from store.sqlite import Database
from store.text_vectors import save_text_vectors

_PRODUCTS = 6
_CATEGORIES = [f"Aisle {number}" for number in range(1_000)]
_WORDS = [
    "tent",
    "two-person",
    "waterproof",
    "phone",
    "case",
    "leather",
    "for",
    "red",
    "32gb",
    "charger",
    "mens",
    "boot",
]
_SESSIONS = 6_000
_AT_ONCE = 200
"""Number of sessions whose texts are read together."""


def made() -> None:
    """Measure loading the encoder, encoding one title, and encoding many."""
    chance = random.Random(0)
    titles = [" ".join(chance.choices(_WORDS, k=14)) for _ in range(512)]
    started = perf_counter()
    import llama_cpp  # noqa: F401

    _print("importing llama.cpp", 1e3 * (perf_counter() - started), "ms")
    started = perf_counter()
    encoder = shipped_embedder()
    _print("loading the encoder", 1e3 * (perf_counter() - started), "ms")
    alone = []
    for title in titles[:20]:
        started = perf_counter()
        encoder.embed([title])
        alone.append(perf_counter() - started)
    _print("a single title, median", 1e3 * median(alone), "ms")
    started = perf_counter()
    encoder.embed(titles)
    _print(f"a title of {len(titles)}", 1e3 * (perf_counter() - started) / len(titles), "ms")
    encoder.close()


def found(texts: int) -> None:
    """Measure reading stored vectors for sessions of six products, with memory and disk space."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.db"
        db = open_database(path)
        list(write_dataset(db, "many", "made up", [Session("s", (Item("a", "x"), Item("b", "y")))]))
        started = perf_counter()
        _fill(db, texts)
        _print(f"storing {texts:,} vectors", perf_counter() - started, "s")
        _print("the store", path.stat().st_size / 1e6, "MB")
        before = resident_memory_mb()
        for name, at_once in (
            (f"reading, {_AT_ONCE} sessions at once", _AT_ONCE),
            ("reading, one session at a time", 1),
        ):
            chance = random.Random(at_once)
            with TextVectors(db, "many", print) as vectors:
                started = perf_counter()
                for _ in range(_SESSIONS // at_once):
                    assert vectors(_asked(chance, texts, at_once)) is not None
                _print(name, _SESSIONS / (perf_counter() - started), "sessions a second")
        _print("memory, increase", resident_memory_mb() - before, "MB")
        _print("memory, peak", peak_memory_mb(), "MB")
        db.close()


def _asked(chance: random.Random, texts: int, sessions: int) -> list[str]:
    titles = [f"title {chance.randrange(texts)}" for _ in range(_PRODUCTS * sessions)]
    return [*titles, *chance.choices(_CATEGORIES, k=len(titles))]


def _fill(db: Database, texts: int) -> None:
    chance = np.random.default_rng(0)
    names = _names(texts)
    while part := list(islice(names, 5_000)):
        rows = chance.normal(size=(len(part), ENCODER_DIMENSIONS)).astype("<f2")
        hashes = map(text_hash, part)
        save_text_vectors(
            db, "many", ENCODER_SHA256, {hash: row.tobytes() for hash, row in zip(hashes, rows, strict=True)}
        )


def _names(texts: int) -> Iterator[str]:
    yield from _CATEGORIES
    yield from (f"title {number}" for number in range(texts))


def _print(name: str, value: float, unit: str) -> None:
    print(f"{name:<36} {value:10,.1f} {unit}", flush=True)


def main() -> None:
    """Measure, and print a line for each measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100_000)
    given = parser.parse_args()
    made()
    found(given.texts)


if __name__ == "__main__":
    main()
