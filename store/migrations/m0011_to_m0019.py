"""Migrations 11 to 19: search, imports, notes and costs."""

from store.migrations.registry import TOKENIZER, execute, migrations
from store.sqlite import PlainDatabase as Database


@migrations()
def m0011_search(db: Database) -> None:
    """Knowledge in the order of each measure, filtered, and searched from the first letter, however much there is."""
    execute(
        db,
        # NULL is the least value of all: in this order it comes last.
        *(
            f"CREATE INDEX knowledge_by_{column} ON knowledge ({column} DESC)"
            for column in ("support", "confidence", "lift", "precision", "created_at")
        ),
        # all that knowledge is filtered and sorted by, so that none of its texts is read for it
        """CREATE INDEX knowledge_facets ON knowledge (
            dataset_id, format, status, teacher, support, confidence, lift, precision, created_at
        )""",
        # The words that begin with a letter are very many: they get an index of their own. The triggers stay.
        "DROP TABLE knowledge_fts",
        f"""CREATE VIRTUAL TABLE knowledge_fts USING fts5 (
            statement, tokenize = '{TOKENIZER}', prefix = '1', content = "knowledge"
        )""",
        "INSERT INTO knowledge_fts (knowledge_fts) VALUES ('rebuild')",
    )


@migrations()
def m0012_evaluations(db: Database) -> None:
    """Trainings whose adapter is to be evaluated when it is here."""
    execute(db, "ALTER TABLE jobs ADD COLUMN evaluate INTEGER NOT NULL DEFAULT 0 CHECK (evaluate IN (0, 1))")


@migrations()
def m0013_beginnings(db: Database) -> None:
    """Words that begin with two or three letters are as quickly found as those that begin with one."""
    execute(
        db,
        "DROP TABLE knowledge_fts",
        f"""CREATE VIRTUAL TABLE knowledge_fts USING fts5 (
            statement, tokenize = '{TOKENIZER}', prefix = '1 2 3', content = "knowledge"
        )""",
        "INSERT INTO knowledge_fts (knowledge_fts) VALUES ('rebuild')",
    )


@migrations()
def m0014_imports(db: Database) -> None:
    """Where imported knowledge comes from, and whether the sessions of its dataset gave it too."""
    execute(
        db,
        # source: the dataset that it was exported from, NULL where the file does not say; dataset_id: where it went
        """CREATE TABLE knowledge_imports (
            id INTEGER PRIMARY KEY,
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            source TEXT,
            file TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
        "CREATE INDEX knowledge_imports_by_dataset ON knowledge_imports (dataset_id)",
        # own: 1 where the sessions of the dataset gave it, so that its measures are theirs
        "ALTER TABLE knowledge ADD COLUMN own INTEGER NOT NULL DEFAULT 1 CHECK (own IN (0, 1))",
        "ALTER TABLE knowledge ADD COLUMN import_id INTEGER REFERENCES knowledge_imports(id) ON DELETE SET NULL",
        "CREATE INDEX knowledge_by_import ON knowledge (import_id) WHERE import_id IS NOT NULL",
    )


@migrations()
def m0015_notes(db: Database) -> None:
    """What people say of runs, and what is computed once: scores of floors, and how calibrations did by session."""
    execute(
        db,
        "ALTER TABLE runs ADD COLUMN note TEXT",
        """CREATE TABLE run_tags (
            run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            tag TEXT NOT NULL,
            PRIMARY KEY (run_id, tag)
        ) WITHOUT ROWID""",
        # subset: JSON, how many sessions and by which seed; version: of what computed them; scores: JSON
        """CREATE TABLE floors (
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            split TEXT NOT NULL,
            subset TEXT NOT NULL,
            version TEXT NOT NULL,
            scores TEXT NOT NULL,
            PRIMARY KEY (dataset_id, split, subset)
        )""",
        # session_f1: JSON, pair F1 by session id, each judged by a fit on the others; NULL where that was not kept.
        # model: the files that were calibrated, as they were then
        "ALTER TABLE calibrations ADD COLUMN session_f1 TEXT",
        "ALTER TABLE calibrations ADD COLUMN model TEXT",
    )


@migrations()
def m0016_pattern_students(db: Database) -> None:
    """What pattern students have learned, so that it is not learned anew for each answer."""
    execute(
        db,
        # fingerprint: hash of the sessions that were learned from. learned: JSON
        """CREATE TABLE pattern_students (
            dataset_id INTEGER PRIMARY KEY REFERENCES datasets(id) ON DELETE CASCADE,
            fingerprint TEXT NOT NULL,
            learned TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
    )


@migrations()
def m0019_costs(db: Database) -> None:
    """Costs that are not known, tokens that are estimated, and calls that failed for good."""
    execute(
        db,
        # estimated: 1 where the server did not tell all of the tokens
        "ALTER TABLE calls ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0 CHECK (estimated IN (0, 1))",
        # final: 1 for a failed call that would fail, and be paid for, again
        "ALTER TABLE calls ADD COLUMN final INTEGER NOT NULL DEFAULT 0 CHECK (final IN (0, 1))",
        # 0 stood for a cost that was not known. The index has all that is looked at, and the table all that was said.
        """UPDATE calls SET cost = NULL WHERE id IN (
            SELECT id FROM calls INDEXED BY calls_by_teacher WHERE cost = 0
        )""",
        "DROP INDEX calls_by_teacher",
        "CREATE INDEX calls_by_teacher ON calls (teacher, status, prompt_tokens, completion_tokens, cost, estimated)",
    )
