"""Valid and invalid values of `--db` and KDTUI_DB."""

from tests.inputs.case import Case

CASES = [
    Case("the path of the database is empty", ("data", "ls", "--db", ""), "it is empty; name a database file", code=2),
    Case("the database is in memory", ("data", "ls", "--db", ":memory:"), "':memory:' names no file"),
    Case("the database is an address", ("data", "ls", "--db", "file:x.db?mode=memory"), "names no file"),
    Case(
        "the database is a folder",
        ("--db", "{tmp}", "data", "ls"),
        "{tmp}: a database is a file, and this is a folder; name a file in it",
    ),
    Case("the database is a device", ("data", "ls", "--db", "/dev/null"), "/dev/null: a database is a file"),
    Case(
        "something is imported into a device",
        ("data", "import", "{outdoor}", "-d", "x", "--db", "/dev/full"),
        "/dev/full: a database is a file, and this is a device",
    ),
    Case(
        "the database is a short text",
        ("data", "ls", "--db", "{tmp}/a.db"),
        "{tmp}/a.db: this file is not an SQLite database",
        files={"a.db": "x"},
    ),
    Case(
        "the database is a compressed one",
        ("data", "ls", "--db", "{tmp}/a.db.gz"),
        "{tmp}/a.db.gz: this file is not an SQLite database",
        files={"a.db.gz": b"\x1f\x8b\x08\x00" + bytes(60)},
    ),
    Case(
        "the database is cut off after its first bytes",
        ("data", "ls", "--db", "{tmp}/a.db"),
        "{tmp}/a.db: this file is not an SQLite database",
        files={"a.db": b"SQLite format 3\0" + bytes(40)},
    ),
    Case(
        "the folder of the database is a file",
        ("data", "ls", "--db", "{tmp}/a/x.db"),
        "{tmp}/a/x.db: Not a directory",
        files={"a": "x"},
    ),
    Case(
        "the name of the database is too long",
        ("data", "ls", "--db", "{tmp}/" + "x" * 300),
        "File name too long; choose another with --db",
    ),
    Case(
        "a database that does not exist has no datasets",
        ("data", "ls", "--db", "{tmp}/none/x.db"),
        "there is no database {tmp}/none/x.db yet",
        code=0,
    ),
    Case(
        "a run in a database that does not exist is shown",
        ("run", "show", "1", "--db", "{tmp}/none/x.db"),
        "there is no run 1; kdtui run ls lists the runs (there is no database {tmp}/none/x.db yet)",
    ),
    Case(
        "an empty file is an empty database",
        ("data", "ls", "--db", "{tmp}/a.db"),
        "there is no dataset yet",
        code=0,
        files={"a.db": ""},
    ),
    Case(
        "an empty file becomes a database with the first write",
        ("data", "show", "o01", "--db", "{tmp}/a.db"),
        "weekend tent camping",
        code=0,
        files={"a.db": ""},
        before=(("data", "import", "{outdoor}", "-d", "demo", "--db", "{tmp}/a.db"),),
    ),
]
