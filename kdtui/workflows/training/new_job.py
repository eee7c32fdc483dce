"""The folder of a new training, and its row in the store: both, or neither."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from kdtui.errors import KdtuiError
from kdtui.workflows.claims import claimed
from models.files.whole_files import delete_whole, locked, new_folder
from store.jobs import add_job, list_jobs
from store.records import TrainingSettings
from store.sqlite import Database

_UNSTORED = "unstored"
"""A file in the folder of a training that is not stored yet. It names the database that it will be stored in and the
key of the training, and the process that makes it has locked it."""


def is_taken(db: Database, folder: Path) -> bool:
    """Return whether there is something at this path that a new training may not replace.

    A launch that was killed right before it stored the training leaves a folder that may be replaced. A folder of
    another database may not: several can have their trainings in the same place.
    """
    if not folder.exists():
        return False
    with suppress(OSError, ValueError), locked(folder / _UNSTORED) as has_lock:
        return not (has_lock and _is_abandoned(db, folder))
    return True


@contextmanager
def new_job(db: Database, name: str, target: Path, settings: TrainingSettings, key: str, **more: Any) -> Iterator[Path]:
    """Provide a folder for the files of a training, and store the training at the end. After an error nothing is left.

    Args:
        more: see `add_job`.

    Raises:
        KdtuiError: another process makes a training of this name, or has made one.
    """
    refusal = f"another kdtui makes training {name!r} at the moment"
    with claimed(db, f"training {name}", refusal), ExitStack() as lock:
        if is_taken(db, target) or any(job.name == name for job in list_jobs(db)):
            raise KdtuiError(f"another kdtui has made training {name!r} meanwhile")
        if target.exists():
            delete_whole(target)
        with new_folder(target, mode=0o700) as part:
            (part / _UNSTORED).write_text(json.dumps([_named(db), key]), encoding="utf-8")
            # The lock stays with the file when the folder gets its name.
            lock.enter_context(locked(part / _UNSTORED))
            yield part
        try:
            add_job(db, name, target, settings, key, **more)
        finally:
            lock.close()
            with suppress(Exception):
                # An interrupt can come right after the training is stored.
                if _is_abandoned(db, target):
                    delete_whole(target)
                else:
                    (target / _UNSTORED).unlink()


def _is_abandoned(db: Database, folder: Path) -> bool:
    """Return whether a folder was made for a training of this database that is not stored."""
    made_for, key = json.loads((folder / _UNSTORED).read_text(encoding="utf-8"))
    is_stored = any(job.key == key or job.folder == folder for job in list_jobs(db))
    return bool(made_for == _named(db)) and not is_stored


def _named(db: Database) -> str:
    return "" if db.path is None else str(db.path.resolve())
