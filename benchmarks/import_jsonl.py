"""Import of JSON Lines against a bare `executemany` of the same rows into the same schema.

    python -m benchmarks.import_jsonl [--sessions 1000000]

The import parses, checks and writes a file; the other side gets tuples that are made outside the measured time. Both
run in one transaction with the same cache. Needs about 3 GB of disk for a million sessions.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from benchmarks.measure import peak_memory_mb, report
from kdtui.workflows.data.import_dataset import import_dataset
from store.database import now, open_database

ITEMS_PER_SESSION = 6
CATALOGUE = 100_000
BATCH = 5_000


def members(session: int) -> list[int]:
    """Return the item numbers of a session: six, spread over the catalogue."""
    return [(session * 7919 + place * 104_729) % CATALOGUE for place in range(ITEMS_PER_SESSION)]


def title(item: int) -> str:
    return f"Brandless product number {item} with a title of usual length, 12 cm"


def categories(item: int) -> list[list[str]]:
    return [["Shop", f"Department {item % 20}", f"Shelf {item % 400}"]]


def write_file(path: Path, sessions: int) -> None:
    """Write the sessions. Every tenth has a bundle; the others are only to be answered."""
    with path.open("w", encoding="utf-8") as file:
        for session in range(sessions):
            items = [{"id": f"i{n}", "title": title(n), "categories": categories(n)} for n in members(session)]
            line: dict[str, object] = {"session": f"s{session}", "items": items}
            if session % 10 == 0:
                line["bundles"] = [{"items": [items[0]["id"], items[1]["id"]], "intent": "bought together"}]
                line["split"] = "train"
            file.write(json.dumps(line) + "\n")


def run_import(path: Path, database: Path) -> None:
    db = open_database(database)
    started = perf_counter()
    for _ in import_dataset(db, path, "benchmark"):
        pass
    print(json.dumps({"seconds": perf_counter() - started, "memory": peak_memory_mb()}))


def run_bare(sessions: int, database: Path) -> None:
    connection = open_database(database).conn
    assert connection is not None
    connection.execute("PRAGMA cache_size = -131072")
    connection.execute("INSERT INTO datasets VALUES (1, 'benchmark', '', ?)", [now()])
    seconds = 0.0
    known: set[int] = set()
    numbers = iter(range(sessions))
    while batch := list(islice(numbers, BATCH)):
        wanted = {n: None for session in batch for n in members(session)}
        new = [n for n in wanted if n not in known]
        known.update(new)
        bundled = [session for session in batch if session % 10 == 0]
        rows: dict[str, list[tuple[object, ...]]] = {
            "INSERT INTO items VALUES (?, 1, ?, ?, ?)": [
                (n + 1, f"i{n}", title(n), json.dumps(categories(n), separators=(",", ":"))) for n in new
            ],
            "INSERT INTO sessions VALUES (?, 1, ?, ?)": [
                (s + 1, f"s{s}", "train" if s % 10 == 0 else None) for s in batch
            ],
            "INSERT INTO session_items VALUES (?, ?, ?)": [
                (s + 1, place, n + 1) for s in batch for place, n in enumerate(members(s), start=1)
            ],
            "INSERT INTO bundles VALUES (?, ?, ?)": [(s + 1, s + 1, "bought together") for s in bundled],
            "INSERT INTO bundle_items VALUES (?, ?)": [(s + 1, n + 1) for s in bundled for n in members(s)[:2]],
        }
        started = perf_counter()
        for statement, values in rows.items():
            connection.executemany(statement, cast("Any", values))
        seconds += perf_counter() - started
    started = perf_counter()
    connection.commit()
    print(json.dumps({"seconds": seconds + perf_counter() - started, "memory": peak_memory_mb()}))


def measured(*arguments: object) -> dict[str, float]:
    """Run one side in its own process, to measure its memory separately."""
    command = [sys.executable, "-m", "benchmarks.import_jsonl", *map(str, arguments)]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(output.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--side", choices=["import", "bare"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.side == "import":
        run_import(options.folder / "sessions.jsonl", options.folder / "import.db")
    elif options.side == "bare":
        run_bare(options.sessions, options.folder / "bare.db")
    else:
        with tempfile.TemporaryDirectory() as name:
            write_file(Path(name) / "sessions.jsonl", options.sessions)
            shared = ("--sessions", options.sessions, "--folder", name)
            bare = measured("--side", "bare", *shared)
            ours = measured("--side", "import", *shared)
        rows = f"import of {options.sessions * ITEMS_PER_SESSION:,} item rows"
        report(rows, ours["seconds"], bare["seconds"], "s ", "at most 2")
        report("its memory, against 400 MB", ours["memory"], 400, "MB", "at most 1")


if __name__ == "__main__":
    main()
