"""Migrations 20 to 28: paces, vectors, studies, measures of runs and routers."""

from store.migrations.registry import execute, migrations
from store.sqlite import PlainDatabase as Database


@migrations()
def m0020_training_paces(db: Database) -> None:
    """How fast trainings were that are not there any more, so that the next one can be estimated."""
    execute(
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
    execute(
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
    execute(
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
    execute(
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
    execute(
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
    execute(
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
    execute(
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
    execute(
        db,
        # content: JSON, for whoever fitted it to read
        """CREATE TABLE routers (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            content TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
    )
