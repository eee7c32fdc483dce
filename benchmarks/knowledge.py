"""Searching and mining knowledge, against the bare text search and mlxtend.

python -m benchmarks.knowledge [--pieces 1000000] [--sessions 100000] [--only retrieval|mining]
"""

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import msgspec

from benchmarks.measure import report
from kdtui.bundling.truth import true_bundles
from kdtui.distill.applicable import estimate_tokens
from kdtui.distill.patterns import category_at, mine
from kdtui.distill.retrieval import Retriever
from kdtui.distill.rules import Rule
from store.database import open_database
from store.dataset_writer import write_dataset
from store.full_text import match_any, session_words
from store.knowledge import NewKnowledge, add_knowledge
from store.nearest_sessions import nearest_sessions
from store.records import Bundle, Item, RunSettings, Session
from store.sqlite import Database

_ASKED = 15
_CATEGORIES = [("Shop", f"Department {a}", f"Aisle {a}-{b}") for a in range(20) for b in range(20)]


def retrieval(pieces: int, _: int) -> None:
    """Rules for one session among N pieces, against the query that only finds the words."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        db = open_database(Path(folder) / "many.db")
        sessions = _sessions(2_000, chance)
        list(write_dataset(db, "many", "made up", sessions))
        add_knowledge(db, "many", "rule", "nobody", (_rule(number, chance) for number in range(pieces)))
        retrieve = Retriever(
            db, "many", RunSettings("", ("rule",)), partial(nearest_sessions, db, "many"), estimate_tokens
        )
        ours, bare = [], []
        for session in sessions[: _ASKED + 1]:
            bare.append(_seconds(lambda session=session: _bare_search(db, session)))  # type: ignore[misc]
            ours.append(_seconds(lambda session=session: retrieve(session)))  # type: ignore[misc]
    # The first query fills the caches.
    report(f"rules for a session among {pieces:,}", median(ours[1:]), median(bare[1:]), "s", "at most 1.5")


def mining(_: int, count: int) -> None:
    """Patterns of N sessions, against mlxtend.fpgrowth over the same bundles, with equal counts."""
    import pandas
    from mlxtend.frequent_patterns import fpgrowth
    from mlxtend.preprocessing import TransactionEncoder

    sessions = _sessions(count, random.Random(0))
    started = perf_counter()
    found = mine(sessions, levels=[3], min_support=0.001, max_size=3)
    ours = perf_counter() - started
    started = perf_counter()
    # Input for their algorithm: a second product of a category is an element of its own.
    transactions = [_elements(session, bundle) for session in sessions for bundle in true_bundles(session)]
    encoder = TransactionEncoder()
    table = pandas.DataFrame.sparse.from_spmatrix(
        encoder.fit(transactions).transform(transactions, sparse=True), columns=[str(each) for each in encoder.columns_]
    )
    itemsets = fpgrowth(table, min_support=0.001, max_len=3, use_colnames=True)
    other = perf_counter() - started
    support = {frozenset(names): round(share * len(transactions)) for share, names in itemsets.to_numpy().tolist()}
    for pattern in found:
        counts = Counter(pattern.categories)
        names = frozenset(str((path, nth)) for path, times in counts.items() for nth in range(1, times + 1))
        assert support[names] == pattern.bundles, f"{pattern.statement}: {support[names]} and {pattern.bundles}"
    report(f"patterns of {count:,} sessions, against fpgrowth", ours, other, "s", "at most 1")
    print(f"  {len(found):,} patterns, with equal counts")


def _sessions(count: int, chance: random.Random) -> list[Session]:
    return [_session(number, chance) for number in range(count)]


def _session(number: int, chance: random.Random) -> Session:
    department = chance.randrange(20)
    items = tuple(
        Item(
            f"{number}-{at}",
            " ".join(chance.choices(_WORDS, k=6)),
            (_CATEGORIES[department * 20 + min(19, int(chance.expovariate(0.3)))],),
        )
        for at in range(chance.randint(3, 8))
    )
    return Session(str(number), items, (Bundle((1, 2, 3)), Bundle((len(items) - 1, len(items)))), "train")


def _rule(number: int, chance: random.Random) -> NewKnowledge:
    one, other = sorted(chance.sample(_CATEGORIES, 2))
    words = " ".join(chance.choices(_WORDS, k=4))
    text = f"Put {one[-1]} together with {other[-1]} for {words} ({number})"
    content = msgspec.json.encode(Rule(text, True, (one, other))).decode()
    return NewKnowledge(text, content, 0.1, precision=chance.random())


_WORDS = [
    f"{a}{b}{c}" for a in ("ba", "ko", "mi", "tu", "re") for b in ("nil", "sor", "tam", "dek") for c in "abcdefghij"
]


def _bare_search(db: Database, session: Session) -> None:
    db.execute(
        "SELECT rowid FROM knowledge_fts WHERE knowledge_fts MATCH ? ORDER BY rank LIMIT 200",
        [match_any(session_words(session))],
    ).fetchall()


def _elements(session: Session, bundle: frozenset[int]) -> list[str]:
    counts = Counter(category_at(session.items[position - 1], 3) for position in bundle)
    return [str((path, nth)) for path, times in counts.items() for nth in range(1, min(times, 2) + 1)]


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def main(benchmarks: Sequence[Callable[[int, int], None]] = (retrieval, mining)) -> None:
    """Run the benchmarks named by --only, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--only", choices=[each.__name__ for each in benchmarks], action="append")
    arguments = parser.parse_args()
    for each in benchmarks:
        if arguments.only is None or each.__name__ in arguments.only:
            each(arguments.pieces, arguments.sessions)


if __name__ == "__main__":
    main()
