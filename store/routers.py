"""Routers by name."""

from dataclasses import dataclass

from store.database import now
from store.errors import NotFound, StoreError
from store.similar import suggestion
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StoredRouter:
    """A stored router.

    Attributes:
        content: JSON, opaque to the store.
    """

    name: str
    content: str
    created_at: str


def save_router(db: Database, name: str, content: str, *, replace: bool = False) -> None:
    """Store a router.

    Raises:
        StoreError: the name is taken (without `replace`).
    """
    with db.atomic():
        if replace:
            db.execute("DELETE FROM routers WHERE name = ?", [name])
        check_router_name(db, name)
        db.execute("INSERT INTO routers (name, content, created_at) VALUES (?, ?, ?)", [name, content, now()])


def check_router_name(db: Database, name: str) -> None:
    """Refuse a name that is taken.

    Raises:
        StoreError: it is taken.
    """
    if db.execute("SELECT 1 FROM routers WHERE name = ?", [name]).fetchone():
        raise StoreError(f"there is a router {name!r} already; choose another name, or give --replace")


def list_routers(db: Database) -> list[StoredRouter]:
    """List all routers by name."""
    return [StoredRouter(*row) for row in db.execute(f"{_ROUTERS} ORDER BY name").fetchall()]


def get_router(db: Database, name: str) -> StoredRouter:
    """Return the router with this name.

    Raises:
        NotFound: there is no such router.
    """
    row = db.execute(f"{_ROUTERS} WHERE name = ?", [name]).fetchone()
    if row is None:
        names = [router.name for router in list_routers(db)]
        raise NotFound(f"there is no router {name!r}; {suggestion(name, names, 'kdtui router ls lists the routers')}")
    return StoredRouter(*row)


def routers_with(db: Database, adapter: str) -> int:
    """Count the routers that contain an adapter. When it is deleted they stay, and work without it."""
    row = db.execute(
        """
        SELECT count(*) FROM routers WHERE json_valid(content) AND EXISTS (
            SELECT 1 FROM json_each(content, '$.routes')
            WHERE json_extract(value, '$.settings.adapters[0][0]') = ?
        )
        """,
        [adapter],
    ).fetchone()
    return int(row[0])


def delete_router(db: Database, name: str) -> None:
    """Delete a router; its adapters and runs stay.

    Raises:
        NotFound: there is no such router.
    """
    get_router(db, name)
    with db.atomic():
        db.execute("DELETE FROM routers WHERE name = ?", [name])


_ROUTERS = "SELECT name, content, created_at FROM routers"
