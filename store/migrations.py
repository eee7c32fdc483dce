"""The schema, as numbered migrations. A released migration is never edited: a change is a new one."""

from store.sqlite import Migrations
from store.sqlite import PlainDatabase as Database

migrations = Migrations("kdtui")

# Text search that finds "café" for "cafe". It does not stem words: a beginning such as "campin" has no stem.
TOKENIZER = "unicode61 remove_diacritics 2"


@migrations()
def m0001_datasets(db: Database) -> None:
    """Datasets: items and sessions, the bundles people saw in them, and the official split."""
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
        db,
        "CREATE INDEX calls_by_status ON calls (status)",
        "CREATE INDEX calls_by_teacher ON calls (teacher, status, prompt_tokens, completion_tokens, cost)",
    )


@migrations()
def m0011_search(db: Database) -> None:
    """Knowledge in the order of each measure, filtered, and searched from the first letter, however much there is."""
    _execute(
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
    _execute(db, "ALTER TABLE jobs ADD COLUMN evaluate INTEGER NOT NULL DEFAULT 0 CHECK (evaluate IN (0, 1))")


@migrations()
def m0013_beginnings(db: Database) -> None:
    """Words that begin with two or three letters are as quickly found as those that begin with one."""
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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
    _execute(
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


@migrations()
def m0020_training_paces(db: Database) -> None:
    """How fast trainings were that are not there any more, so that the next one can be estimated."""
    _execute(
        db,
        # training: the key of one; host: NULL for this machine; valid_seconds: for a token of the validation examples
        """CREATE TABLE training_paces (
            training TEXT NOT NULL,
            host TEXT,
            base TEXT NOT NULL,
            form TEXT NOT NULL,
            batch_tokens INTEGER NOT NULL,
            precision TEXT NOT NULL,
            recompute INTEGER NOT NULL CHECK (recompute IN (0, 1)),
            processes INTEGER NOT NULL,
            tokens_per_second REAL NOT NULL,
            start_seconds REAL NOT NULL,
            valid_seconds REAL,
            peak_memory_bytes INTEGER NOT NULL,
            device TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
    )


@migrations()
def m0021_text_vectors(db: Database) -> None:
    """Vectors of titles and category names, so that each is computed once."""
    _execute(
        db,
        # sha256: of the file of the encoder, in hexadecimal
        "CREATE TABLE encoders (id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE)",
        # text_hash: BLAKE2b of the text, 16 bytes. vector: 16-bit floats, little-endian, of length one.
        # With row ids: rows of this size make a tree by hash deep, and its index alone is quickly searched.
        """CREATE TABLE text_vectors (
            dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
            encoder_id INTEGER NOT NULL REFERENCES encoders(id),
            text_hash BLOB NOT NULL,
            vector BLOB NOT NULL,
            PRIMARY KEY (dataset_id, encoder_id, text_hash)
        )""",
    )


@migrations()
def m0022_studies(db: Database) -> None:
    """Studies, and the steps that they are made of, each of which is done once."""
    _execute(
        db,
        # spec: TOML, as it can be run again
        """CREATE TABLE studies (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            spec TEXT NOT NULL,
            source TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
        # key: SHA-256 of the settings. settings: JSON. basis: JSON, the datasets and knowledge that it was made of.
        # made: the name of a sample or a training, or the number of a run
        """CREATE TABLE study_steps (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            settings TEXT NOT NULL,
            basis TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('begun', 'done', 'failed')),
            made TEXT NOT NULL,
            reason TEXT,
            seconds REAL,
            begun_at TEXT NOT NULL,
            ended_at TEXT,
            CHECK ((reason IS NULL) <> (state = 'failed'))
        )""",
        "CREATE INDEX study_steps_by_kind ON study_steps (kind, state, ended_at)",
    )


@migrations()
def m0023_run_costs(db: Database) -> None:
    """What runs cost: tokens of each answer, and energy and memory of each process that has answered for a while."""
    _execute(
        db,
        # NULL where they are not known
        "ALTER TABLE predictions ADD COLUMN prompt_tokens INTEGER",
        "ALTER TABLE predictions ADD COLUMN completion_tokens INTEGER",
        # sessions: that were answered. joules: of the machine, NULL where no meter can be read; meters: which ones
        """CREATE TABLE run_stretches (
            id INTEGER PRIMARY KEY,
            run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            began_at TEXT NOT NULL,
            sessions INTEGER NOT NULL,
            seconds REAL NOT NULL,
            joules REAL,
            meters TEXT,
            peak_memory_bytes INTEGER
        )""",
        "CREATE INDEX run_stretches_by_run ON run_stretches (run_id)",
    )


@migrations()
def m0024_run_measures(db: Database) -> None:
    """What each session contributes to the measures of a run, so that reports over many runs need not measure again."""
    _execute(
        db,
        # version: of the code that measured. sessions: JSON, ids. content: 64-bit floats, little-endian: for each
        # measure a total and a weight for each session
        """CREATE TABLE run_measures (
            run_id INTEGER PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE,
            version TEXT NOT NULL,
            answered INTEGER NOT NULL,
            sessions TEXT NOT NULL,
            content BLOB NOT NULL,
            created_at TEXT NOT NULL
        )""",
    )


@migrations()
def m0025_run_scores(db: Database) -> None:
    """Scores of runs, so that a run of a million sessions is not scored anew for each list of runs."""
    _execute(
        db,
        # version: of what computed them; scores: JSON
        """CREATE TABLE run_scores (
            run_id INTEGER PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE,
            answered INTEGER NOT NULL,
            version TEXT NOT NULL,
            scores TEXT NOT NULL
        )""",
    )


@migrations()
def m0026_default_adapters(db: Database) -> None:
    """The adapter that a dataset is answered with where none is named, and what trainings were worth."""
    _execute(
        db,
        """CREATE TABLE default_adapters (
            dataset_id INTEGER PRIMARY KEY REFERENCES datasets(id) ON DELETE CASCADE,
            adapter TEXT NOT NULL REFERENCES models(name) ON DELETE CASCADE,
            created_at TEXT NOT NULL
        )""",
        # outcome: JSON, the answers of the adapter compared with those from before the training; NULL until then
        "ALTER TABLE jobs ADD COLUMN outcome TEXT",
    )


@migrations()
def m0028_routers(db: Database) -> None:
    """Routers: which of several adapters answers a session."""
    _execute(
        db,
        # content: JSON, for whoever fitted it to read
        """CREATE TABLE routers (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            content TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
    )


def _execute(db: Database, *statements: str) -> None:
    # executescript would commit the transaction that makes a migration all or nothing.
    for statement in statements:
        db.execute(statement)
