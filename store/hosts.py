"""Hosts: other machines to train on."""

from dataclasses import dataclass

import msgspec

from store.database import now
from store.errors import NotFound, StoreError
from store.records import HostSettings
from store.similar import suggestion
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Host:
    """A machine with a name.

    Attributes:
        ssh: its name for OpenSSH; None for this machine.
        workdir: the folder on the host that contains everything.
    """

    name: str
    ssh: str | None
    workdir: str
    settings: HostSettings


def add_host(db: Database, host: Host) -> None:
    """Store a host.

    Raises:
        StoreError: the name is taken.
    """
    with db.atomic():
        if db.execute("SELECT 1 FROM hosts WHERE name = ?", [host.name]).fetchone():
            raise StoreError(
                f"there is a host {host.name!r} already; choose another name, or kdtui host rm {host.name}"
            )
        db.execute(
            "INSERT INTO hosts (name, ssh, workdir, settings, created_at) VALUES (?, ?, ?, ?, ?)",
            [host.name, host.ssh, host.workdir, msgspec.json.encode(host.settings).decode(), now()],
        )


def list_hosts(db: Database) -> list[Host]:
    """List all hosts by name."""
    rows = db.execute("SELECT name, ssh, workdir, settings FROM hosts ORDER BY name").fetchall()
    return [
        Host(name, ssh, workdir, msgspec.json.decode(settings, type=HostSettings))
        for name, ssh, workdir, settings in rows
    ]


def get_host(db: Database, name: str) -> Host:
    """Return the host with this name.

    Raises:
        NotFound: there is no such host.
    """
    for host in list_hosts(db):
        if host.name == name:
            return host
    names = [host.name for host in list_hosts(db)]
    if not names:
        raise NotFound(f"there is no host {name!r} yet; add one with: kdtui host add {name} --ssh ALIAS")
    there_are = f"there are: {', '.join(names)}"
    raise NotFound(f"there is no host {name!r}; {suggestion(name, names, there_are)}")


def change_host(db: Database, name: str, settings: HostSettings) -> None:
    """Change how a host starts trainings.

    Raises:
        NotFound: there is no such host.
    """
    get_host(db, name)
    with db.atomic():
        db.execute("UPDATE hosts SET settings = ? WHERE name = ?", [msgspec.json.encode(settings).decode(), name])


def forget_host(db: Database, name: str) -> None:
    """Remove a host from the store; nothing changes on the machine.

    Raises:
        NotFound: there is no such host.
        StoreError: it has trainings.
    """
    get_host(db, name)
    with db.atomic():
        check_unused(db, name)
        db.execute("DELETE FROM hosts WHERE name = ?", [name])


def check_unused(db: Database, name: str) -> None:
    """Refuse a host that has trainings.

    Raises:
        StoreError: it has trainings.
    """
    trainings = db.execute(
        "SELECT jobs.name FROM jobs JOIN hosts ON hosts.id = jobs.host_id WHERE hosts.name = ? ORDER BY jobs.id", [name]
    ).fetchall()
    if trainings:
        names = ", ".join(job for (job,) in trainings)
        raise StoreError(f"trainings are on host {name}: {names}; kdtui sft rm deletes them")
