"""What all migrations share: the set that they register in, in ascending order, and how they run statements."""

from store.sqlite import Migrations
from store.sqlite import PlainDatabase as Database

migrations = Migrations("kdtui")

# Text search that finds "café" for "cafe". It does not stem words: a beginning such as "campin" has no stem.
TOKENIZER = "unicode61 remove_diacritics 2"


def execute(db: Database, *statements: str) -> None:
    """Execute statements within the transaction of the migration; `executescript` would commit it."""
    for statement in statements:
        db.execute(statement)
