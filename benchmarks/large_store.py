"""A large synthetic store for the benchmarks of the app. The same arguments make the same store.

python -m benchmarks.large_store PATH [--knowledge 1000000] [--sessions 100000]

Statements, titles, teachers and measures are distributed as in a real store: a few words are in very many pieces, most
are in few; thoughts have no measures; many distilled pieces are rejected, with the reason.
"""

import argparse
import json
import random
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from pathlib import Path
from time import perf_counter

import msgspec

from store.database import open_database
from store.predictions import PredictedBundle
from store.records import RunSettings, TrainingSettings
from store.samples import Draw

_DATASETS = ("clothing", "electronic", "food", "garden", "office")
_DATASET_WEIGHTS = (30, 40, 15, 10, 5)
_TEACHERS = ("annotations", "large-model", "small-model", "reasoner", "smollm2", "colleague")
_TEACHER_WEIGHTS = (30, 35, 15, 12, 5, 3)
_FORMATS = ("pattern", "rule", "thought")
_FORMAT_WEIGHTS = (10, 50, 40)
_SPLITS = ("train", "valid", "test")
_SPLIT_WEIGHTS = (8, 1, 1)
_DAYS = 700
_BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
_BATCH = 5_000

# As a list, these would fill the page.
_KINDS = """
    cable adapter tent bag case charger speaker jacket shoe boot lamp chair desk pen notebook shovel rake seed pot
    coffee tea pasta sauce snack bottle filter battery camera lens tripod screen keyboard mouse printer paper ink
    shirt dress belt hat glove scarf sock backpack mat stove cooler rope knife torch map tool drill screw tape glue
    """.split()  # noqa: SIM905
_SYLLABLES = ("ba", "ko", "mi", "tu", "re", "sol", "van", "dek", "lor", "pan", "tis", "gru", "fen", "ral")
_NAMES = [a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES]
_WORDS = [*_KINDS, *_NAMES]
# A few words are in very many texts; most are in few.
_WORD_WEIGHTS = list(accumulate(1 / (place + 3) for place in range(len(_WORDS))))
_PURPOSES = (
    "for a weekend outside",
    "to set up a new home office",
    "as a gift for a friend",
    "to replace what is worn",
    "for the start of school",
    "to keep things in order",
    "for a dinner with guests",
    "when travelling with children",
)


def make_store(path: Path, knowledge: int, sessions: int) -> None:
    """Make the store; the file must not exist."""
    db = open_database(path)
    connection = db.conn
    assert connection is not None
    chance = random.Random(0)
    with _in_bulk(connection):
        _datasets(connection, chance, max(200, sessions // 4), sessions)
        _knowledge(connection, chance, knowledge, sessions)
        _samples(connection, chance, knowledge)
        _runs(connection, chance)
    db.close()


@contextmanager
def _in_bulk(connection: sqlite3.Connection) -> Iterator[None]:
    """Run one transaction, and build the indexes and the text search at its end, which is many times faster."""
    connection.execute("PRAGMA cache_size = -400000")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN")
    later = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
    ).fetchall()
    for kind, name, _ in later:
        connection.execute(f"DROP {kind} [{name}]")
    yield
    for table in ("knowledge_fts", "items_fts"):
        connection.execute(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")
    for _, _, statement in later:
        connection.execute(statement)
    connection.commit()


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]]) -> None:
    """Insert rows into the first columns of a table; columns added later keep their defaults."""
    columns = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        names, marks = ", ".join(columns[: len(batch[0])]), ", ".join("?" * len(batch[0]))
        connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", batch)


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(_WORDS, cum_weights=_WORD_WEIGHTS, k=count))


def _when(chance: random.Random) -> str:
    return (_BEGAN + timedelta(seconds=chance.randrange(_DAYS * 86_400))).isoformat(timespec="seconds")


def _category(number: int) -> tuple[str, ...]:
    kind = _KINDS[number % len(_KINDS)].title()
    return ("Shop", f"Department {number % 20}", f"{kind}s", f"{kind}s {_NAMES[number % len(_NAMES)].title()}")


def _datasets(connection: sqlite3.Connection, chance: random.Random, items: int, sessions: int) -> None:
    """Insert datasets, each with its share of items and sessions, which are numbered in the order of datasets."""
    _insert(
        connection,
        "datasets",
        ((number, name, f"{name}.jsonl", _BEGAN.isoformat()) for number, name in enumerate(_DATASETS, start=1)),
    )
    _insert(
        connection,
        "items",
        (
            (
                item,
                _dataset_of(item, items),
                f"i{item}",
                f"{_words(chance, chance.randint(4, 9))} {item}",
                json.dumps([_category(chance.randrange(800))]),
            )
            for item in range(1, items + 1)
        ),
    )
    _insert(
        connection,
        "sessions",
        (
            (session, _dataset_of(session, sessions), f"s{session}", chance.choices(_SPLITS, _SPLIT_WEIGHTS)[0])
            for session in range(1, sessions + 1)
        ),
    )
    members: list[tuple[int, int, int]] = []
    bundles: list[tuple[int, int, str]] = []
    bundled: list[tuple[int, int]] = []
    for session in range(1, sessions + 1):
        first, last = _range_of(_dataset_of(session, sessions), items)
        chosen = chance.sample(range(first, last + 1), chance.randint(2, 10))
        members += [(session, position, item) for position, item in enumerate(chosen, start=1)]
        for _ in range(min(chance.randint(0, 2), len(chosen) // 2)):
            bundles.append((len(bundles) + 1, session, f"{_words(chance, 2)} {chance.choice(_PURPOSES)}"))
            bundled += [(len(bundles), item) for item in chance.sample(chosen, min(len(chosen), chance.randint(2, 3)))]
    _insert(connection, "session_items", members)
    _insert(connection, "bundles", bundles)
    _insert(connection, "bundle_items", bundled)
    # As after an import: nothing is learned from a session without bundles, or scored on it.
    connection.execute("UPDATE sessions SET split = NULL WHERE id NOT IN (SELECT session_id FROM bundles)")


def _range_of(dataset: int, count: int) -> tuple[int, int]:
    """Return the first and the last number that belong to a dataset, of `count` numbers."""
    ends = [0, *accumulate(_DATASET_WEIGHTS)]
    return ends[dataset - 1] * count // 100 + 1, ends[dataset] * count // 100


def _dataset_of(number: int, count: int) -> int:
    return next(each for each in range(1, len(_DATASETS) + 1) if number <= _range_of(each, count)[1])


def _knowledge(connection: sqlite3.Connection, chance: random.Random, count: int, sessions: int) -> None:
    """Insert patterns first, then rules that come from them, then thoughts that come from rules."""
    ends = [0, *(end * count // 100 for end in accumulate(_FORMAT_WEIGHTS))]
    calls = count // 20
    _insert(connection, "calls", (_call(number, chance) for number in range(1, calls + 1)))
    from_sessions: list[tuple[int, int]] = []
    parents: list[tuple[int, int]] = []

    def pieces() -> Iterator[tuple[object, ...]]:
        for number in range(1, count + 1):
            kind = next(place for place in range(3) if number <= ends[place + 1])
            dataset = chance.choices(range(1, len(_DATASETS) + 1), _DATASET_WEIGHTS)[0]
            yield _piece(number, _FORMATS[kind], dataset, calls, chance)
            if kind:
                first, last = _range_of(dataset, sessions)
                origin = {chance.randint(first, max(first, last)) for _ in range(4 if kind == 1 else 1)}
                from_sessions.extend((number, session) for session in origin if session <= sessions)
                if ends[kind] > ends[kind - 1]:
                    given = {chance.randint(ends[kind - 1] + 1, ends[kind]) for _ in range(chance.randint(0, 2))}
                    parents.extend((number, parent) for parent in given)

    _insert(
        connection,
        "knowledge_imports",
        (
            (number, number, _DATASETS[number % len(_DATASETS)], "knowledge", _BEGAN.isoformat())
            for number in range(1, len(_DATASETS) + 1)
        ),
    )
    _insert(connection, "knowledge", pieces())
    _insert(connection, "knowledge_sessions", from_sessions)
    _insert(connection, "knowledge_parents", parents)


def _piece(number: int, format: str, dataset: int, calls: int, chance: random.Random) -> tuple[object, ...]:
    teacher = "annotations" if format == "pattern" else chance.choices(_TEACHERS, _TEACHER_WEIGHTS)[0]
    one, other = _category(chance.randrange(800)), _category(chance.randrange(800))
    support: float | None = round(min(0.6, chance.expovariate(40) + 0.0005), 5)
    confidence = lift = precision = None
    reason = None
    content: dict[str, object]
    match format:
        case "pattern":
            statement = f"{' > '.join(one)} + {' > '.join(other)} {_words(chance, 1)} {number}"
            confidence, lift, precision = round(chance.random(), 4), round(chance.expovariate(0.3), 4), chance.random()
            content = {
                "categories": [one, other],
                "bundles": int((support or 0) * 20_000),
                "support": support,
                "confidence": confidence,
                "lift": lift,
                "precision": precision,
            }
        case "rule":
            verb = chance.choice(("Put", "Bundle", "Offer", "Keep"))
            statement = (
                f"{verb} {' > '.join(one[2:])} together with {' > '.join(other[2:])} {chance.choice(_PURPOSES)}, "
                f"above all {_words(chance, chance.randint(2, 6))} ({number})"
            )
            precision = round(chance.betavariate(1, 2), 4)
            if precision < 0.2:
                reason = f"right in only {int(precision * 40)} of 40 sessions that it applies to"
            content = {"text": statement, "together": True, "categories": [one, other], "intents": [_words(chance, 3)]}
        case _:
            support = None
            products = [f"{_words(chance, 4)} [{one[2]}]", f"{_words(chance, 4)} [{other[2]}]", _words(chance, 3)]
            purpose, why = chance.choice(_PURPOSES), f"{one[2]} and {other[2]} complement each other"
            listed = "; ".join(f"{place}. {product}" for place, product in enumerate(products, start=1))
            statement = f"Products: {listed}. Shoppers buy {purpose}: 1,2, because {why} ({number})."
            if chance.random() < 0.1:
                reason = "its bundles agree with the true ones by a pair F1 of 0.33"
            content = {
                "products": products,
                "steps": [{"positions": [1, 2], "intent": purpose, "why": why}],
                "left_out": "product 3 is for something else",
            }
    is_imported = number % 50 == 0
    return (
        number,
        dataset,
        format,
        statement,
        json.dumps(content),
        teacher,
        "kept" if reason is None else "rejected",
        reason,
        support,
        confidence,
        lift,
        precision,
        chance.randint(1, calls) if calls and teacher not in ("annotations", "smollm2") else None,
        _when(chance),
        not is_imported,
        dataset if is_imported else None,
    )


def _call(number: int, chance: random.Random) -> tuple[object, ...]:
    teacher = chance.choices(_TEACHERS[1:4], _TEACHER_WEIGHTS[1:4])[0]
    messages = [
        ("system", "You find product bundles and say why the products belong together."),
        ("user", "\n".join(f"{place}. {_words(chance, 5)}" for place in range(1, 8))),
    ]
    failed = chance.random() < 0.02
    return (
        number,
        f"{number:064x}",
        teacher,
        chance.choice(("bundles", "correction", "rules", "thought")),
        json.dumps({"model": teacher, "messages": messages}),
        "failed" if failed else "answered",
        None if failed else json.dumps({"rules": [_words(chance, 8)]}),
        None if failed else "stop",
        chance.randint(300, 900),
        chance.randint(40, 200),
        round(chance.random() / 100, 5),
        round(chance.expovariate(0.5), 2),
        1,
        "the server was too busy" if failed else None,
        _when(chance),
    )


def _samples(connection: sqlite3.Connection, chance: random.Random, knowledge: int) -> None:
    for number, (name, share) in enumerate((("all-rules", 0.3), ("tenth", 0.1), ("pilot", 0.001)), start=1):
        draws = [Draw(dataset, "rule", "random", share, 0) for dataset in _DATASETS]
        row = (number, name, msgspec.json.encode(draws).decode(), _when(chance))
        _insert(connection, "samples", [row])
        chosen = sorted(chance.sample(range(1, knowledge + 1), int(knowledge * share)))
        _insert(connection, "sample_knowledge", ((number, piece) for piece in chosen))


def _runs(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Insert runs over test sessions, some with a sample, and trainings."""
    for number in range(1, 13):
        dataset = number % len(_DATASETS) + 1
        shown = (("pattern",), ("rule",), ("rule", "thought"), ())[number % 4]
        sample = ("all-rules", "tenth", None)[number % 3]
        settings = RunSettings("smollm2", shown, limit=200, sample=sample if shown else None)
        name = " + ".join(("smollm2", *shown))
        _insert(
            connection,
            "runs",
            [
                (
                    number,
                    dataset,
                    "test",
                    name,
                    msgspec.json.encode(settings).decode(),
                    _when(chance),
                    _when(chance),
                    None,
                )
            ],
        )
        asked = connection.execute(
            """
            SELECT sessions.id, count(*) FROM sessions JOIN session_items ON session_id = sessions.id
            WHERE dataset_id = ? AND split = 'test' GROUP BY sessions.id LIMIT 200
            """,
            [dataset],
        ).fetchall()
        rows = []
        for session, size in asked:
            bundle = PredictedBundle((), tuple(sorted(chance.sample(range(1, size + 1), 2))), _words(chance, 3), 0.5)
            bundles = msgspec.json.encode([bundle]).decode()
            rows.append((number, session, bundles, None, round(chance.random(), 3), _when(chance)))
        _insert(connection, "predictions", rows)
    for number, (name, sample) in enumerate((("first", None), ("on-tenth", "tenth")), start=1):
        training = TrainingSettings(("electronic",), "pairs", ("rule",), sample=sample)
        settings_text = msgspec.json.encode(training).decode()
        connection.execute(
            "INSERT INTO jobs (id, name, folder, settings, created_at) VALUES (?, ?, ?, ?, ?)",
            [number, name, f"trainings/{name}", settings_text, _when(chance)],
        )


def main() -> None:
    """Make the store, unless it exists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--knowledge", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=100_000)
    arguments = parser.parse_args()
    if arguments.path.exists():
        sys.exit(f"{arguments.path} is there already")
    started = perf_counter()
    make_store(arguments.path, arguments.knowledge, arguments.sessions)
    size = arguments.path.stat().st_size / 1e6
    print(f"{arguments.path}: {size:,.0f} MB in {perf_counter() - started:,.0f} s")


if __name__ == "__main__":
    main()
