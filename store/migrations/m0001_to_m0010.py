"""Migrations 1 to 10: datasets, knowledge, runs, teachers, trainings and hosts."""

from store.migrations.registry import TOKENIZER, execute, migrations
from store.sqlite import PlainDatabase as Database


@migrations()
def m0001_datasets(db: Database) -> None:
    """Datasets: items and sessions, the bundles people saw in them, and the official split."""
    execute(
        db,
        """CREATE TABLE datasets (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            source TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
        # categories: a JSON list of paths, each a list of names from the widest to the narrowest
        """CREATE TABLE items (
            id INTEGER PRIMARY KEY,
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            item TEXT NOT NULL,
            title TEXT,
            categories TEXT NOT NULL,
            UNIQUE (dataset_id, item)
        )""",
        # split: NULL for a session that is there to be served, not to learn from or to be scored on
        """CREATE TABLE sessions (
            id INTEGER PRIMARY KEY,
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            session TEXT NOT NULL,
            split TEXT CHECK (split IN ('train', 'valid', 'test')),
            UNIQUE (dataset_id, session)
        )""",
        "CREATE INDEX sessions_by_split ON sessions (dataset_id, split) WHERE split IS NOT NULL",
        """CREATE TABLE session_items (
            session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            item_id INTEGER NOT NULL REFERENCES items(id) ON DELETE CASCADE,
            PRIMARY KEY (session_id, position)
        ) WITHOUT ROWID""",
        "CREATE INDEX session_items_by_item ON session_items (item_id)",
        """CREATE TABLE bundles (
            id INTEGER PRIMARY KEY,
            session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
            intent TEXT NOT NULL
        )""",
        "CREATE INDEX bundles_by_session ON bundles (session_id)",
        """CREATE TABLE bundle_items (
            bundle_id INTEGER NOT NULL REFERENCES bundles(id) ON DELETE CASCADE,
            item_id INTEGER NOT NULL REFERENCES items(id) ON DELETE CASCADE,
            PRIMARY KEY (bundle_id, item_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX bundle_items_by_item ON bundle_items (item_id)",
    )
    db.table("items").enable_fts(["title", "categories"], create_triggers=True, tokenize=TOKENIZER)


@migrations()
def m0002_knowledge(db: Database) -> None:
    """What a teacher knows, piece by piece, in three formats."""
    execute(
        db,
        # content: the piece as JSON, in the shape of its format; statement: the same for a person to read
        """CREATE TABLE knowledge (
            id INTEGER PRIMARY KEY,
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            format TEXT NOT NULL CHECK (format IN ('pattern', 'rule', 'thought')),
            statement TEXT NOT NULL,
            content TEXT NOT NULL,
            teacher TEXT NOT NULL,
            support REAL,
            confidence REAL,
            lift REAL,
            precision REAL,
            created_at TEXT NOT NULL,
            UNIQUE (dataset_id, format, statement)
        )""",
    )
    db.table("knowledge").enable_fts(["statement"], create_triggers=True, tokenize=TOKENIZER)


@migrations()
def m0003_runs(db: Database) -> None:
    """Runs over a split, and what the student answered for each session."""
    execute(
        db,
        # settings: JSON, all that is needed to go on with the run; sessions: how many it is to cover
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            split TEXT NOT NULL,
            student TEXT NOT NULL,
            settings TEXT NOT NULL,
            created_at TEXT NOT NULL,
            finished_at TEXT
        )""",
        # bundles: JSON, NULL where the student failed and error says why
        """CREATE TABLE predictions (
            run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
            bundles TEXT,
            error TEXT,
            seconds REAL NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (run_id, session_id),
            CHECK ((bundles IS NULL) <> (error IS NULL))
        )""",
        "CREATE INDEX predictions_by_session ON predictions (session_id)",
    )


@migrations()
def m0004_calibrations(db: Database) -> None:
    """How far a student's judgement can be trusted on a dataset, for each way to ask it."""
    execute(
        db,
        # student: JSON, whom to ask with what knowledge; weights: JSON; chosen: 1 for the strategy to use
        """CREATE TABLE calibrations (
            id INTEGER PRIMARY KEY,
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            student TEXT NOT NULL,
            strategy TEXT NOT NULL,
            weights TEXT NOT NULL,
            sessions INTEGER NOT NULL,
            pair_f1 REAL NOT NULL,
            calibration_error REAL,
            seconds_per_session REAL NOT NULL,
            chosen INTEGER NOT NULL CHECK (chosen IN (0, 1)),
            created_at TEXT NOT NULL,
            UNIQUE (dataset_id, student, strategy)
        )""",
    )


@migrations()
def m0005_models(db: Database) -> None:
    """Models by name: files that are the user's, or that the program has made or fetched (made: 1)."""
    execute(
        db,
        """CREATE TABLE models (
            name TEXT PRIMARY KEY,
            path TEXT NOT NULL,
            source TEXT NOT NULL,
            made INTEGER NOT NULL CHECK (made IN (0, 1)),
            created_at TEXT NOT NULL
        )""",
    )


@migrations()
def m0006_teachers(db: Database) -> None:
    """Teachers: what they were asked and what it cost, where knowledge comes from, and samples of it."""
    execute(
        db,
        # key: the hash of all that shapes the answer; request: JSON; response: NULL where error says why there is none
        """CREATE TABLE calls (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            teacher TEXT NOT NULL,
            step TEXT NOT NULL,
            request TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('answered', 'failed')),
            response TEXT,
            finish_reason TEXT,
            prompt_tokens INTEGER,
            completion_tokens INTEGER,
            cost REAL,
            seconds REAL NOT NULL,
            attempts INTEGER NOT NULL,
            error TEXT,
            created_at TEXT NOT NULL,
            CHECK ((response IS NULL) = (status = 'failed') AND (error IS NULL) = (status = 'answered'))
        )""",
    )
    # Two teachers may say the same, and what is rejected stays, with the reason.
    db.table("knowledge").disable_fts()
    execute(
        db,
        "ALTER TABLE knowledge RENAME TO knowledge_before",
        """CREATE TABLE knowledge (
            id INTEGER PRIMARY KEY,
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            format TEXT NOT NULL CHECK (format IN ('pattern', 'rule', 'thought')),
            statement TEXT NOT NULL,
            content TEXT NOT NULL,
            teacher TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('kept', 'rejected')),
            reason TEXT,
            support REAL,
            confidence REAL,
            lift REAL,
            precision REAL,
            call_id INTEGER REFERENCES calls(id) ON DELETE SET NULL,
            created_at TEXT NOT NULL,
            UNIQUE (dataset_id, format, teacher, statement),
            CHECK ((reason IS NULL) = (status = 'kept'))
        )""",
        """INSERT INTO knowledge (id, dataset_id, format, statement, content, teacher, status, support, confidence,
               lift, precision, created_at)
           SELECT id, dataset_id, format, statement, content, teacher, 'kept', support, confidence, lift, precision,
               created_at FROM knowledge_before""",
        "DROP TABLE knowledge_before",
        "CREATE INDEX knowledge_by_call ON knowledge (call_id) WHERE call_id IS NOT NULL",
        # which training sessions a piece comes from
        """CREATE TABLE knowledge_sessions (
            knowledge_id INTEGER NOT NULL REFERENCES knowledge(id) ON DELETE CASCADE,
            session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
            PRIMARY KEY (knowledge_id, session_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX knowledge_sessions_by_session ON knowledge_sessions (session_id)",
        # which pieces its teacher was given
        """CREATE TABLE knowledge_parents (
            knowledge_id INTEGER NOT NULL REFERENCES knowledge(id) ON DELETE CASCADE,
            parent_id INTEGER NOT NULL REFERENCES knowledge(id) ON DELETE CASCADE,
            PRIMARY KEY (knowledge_id, parent_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX knowledge_parents_by_parent ON knowledge_parents (parent_id)",
        # settings: JSON, how it was drawn
        """CREATE TABLE samples (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            settings TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
        """CREATE TABLE sample_knowledge (
            sample_id INTEGER NOT NULL REFERENCES samples(id) ON DELETE CASCADE,
            knowledge_id INTEGER NOT NULL REFERENCES knowledge(id) ON DELETE CASCADE,
            PRIMARY KEY (sample_id, knowledge_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX sample_knowledge_by_knowledge ON sample_knowledge (knowledge_id)",
    )
    db.table("knowledge").enable_fts(["statement"], create_triggers=True, tokenize=TOKENIZER)


@migrations()
def m0007_vectors(db: Database) -> None:
    """Vectors of sessions, by embedding model."""
    execute(
        db,
        # vector: 32-bit floats, little-endian, of length one
        """CREATE TABLE session_vectors (
            session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
            model TEXT NOT NULL,
            vector BLOB NOT NULL,
            PRIMARY KEY (session_id, model)
        )""",
    )


@migrations()
def m0008_trainings(db: Database) -> None:
    """Trainings, and the adapters that come of them."""
    execute(
        db,
        # settings: JSON, what the training set is made of
        """CREATE TABLE jobs (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            folder TEXT NOT NULL,
            settings TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
        "ALTER TABLE models ADD COLUMN kind TEXT NOT NULL DEFAULT 'base' CHECK (kind IN ('base', 'adapter'))",
    )


@migrations()
def m0009_hosts(db: Database) -> None:
    """Other machines to train on, and the trainings that are there."""
    execute(
        db,
        # ssh: how OpenSSH knows it; NULL for this machine. settings: JSON, how trainings are started there
        """CREATE TABLE hosts (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            ssh TEXT,
            workdir TEXT NOT NULL,
            settings TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
        # key: what no other training has, on any host. status: JSON, as it was seen last
        "ALTER TABLE jobs ADD COLUMN host_id INTEGER REFERENCES hosts(id)",
        "ALTER TABLE jobs ADD COLUMN key TEXT",
        "ALTER TABLE jobs ADD COLUMN status TEXT",
        "ALTER TABLE jobs ADD COLUMN seen_at TEXT",
        "ALTER TABLE jobs ADD COLUMN after TEXT",
    )


@migrations()
def m0010_ledger(db: Database) -> None:
    """Lists and sums of calls, without reading what was asked and answered."""
    execute(
        db,
        "CREATE INDEX calls_by_status ON calls (status)",
        "CREATE INDEX calls_by_teacher ON calls (teacher, status, prompt_tokens, completion_tokens, cost)",
    )
