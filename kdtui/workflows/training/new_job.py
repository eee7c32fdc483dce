"""The folder of a new training, and its row in the store: both, or neither."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from kdtui.errors import KdtuiError
from kdtui.workflows.claims import claimed
from models.files.whole_files import locked, new_folder
from store.jobs import add_job, list_jobs
from store.records import TrainingSettings
from store.sqlite import Database

_UNSTORED = "unstored"
"""A file in the folder of a training that is not stored yet, locked by the process that makes it."""


def is_taken(folder: Path) -> bool:
    """Return whether there is something at this path that a new training may not replace.

    A launch that was killed right before it stored the training leaves a folder that may be replaced.
    """
    if not folder.exists():
        return False
    try:
        with locked(folder / _UNSTORED) as has_lock:
            return not has_lock
    except OSError:
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
    with claimed(db, f"training {name}", refusal), ExitStack() as stack:
        _delete_unstored(target)
        if target.exists() or any(job.name == name for job in list_jobs(db)):
            raise KdtuiError(f"another kdtui has made training {name!r} meanwhile")
        with new_folder(target, mode=0o700) as part:
            (part / _UNSTORED).touch(0o600)
            # The lock stays with the file when the folder gets its name.
            stack.enter_context(locked(part / _UNSTORED))
            yield part
        try:
            add_job(db, name, target, settings, key, **more)
        finally:
            # An interrupt can come right after the training is stored.
            with suppress(Exception):
                if any(job.key == key for job in list_jobs(db)):
                    (target / _UNSTORED).unlink()
                else:
                    shutil.rmtree(target)


def _delete_unstored(target: Path) -> None:
    """Delete a folder that a killed launch has left."""
    with suppress(FileNotFoundError, NotADirectoryError), locked(target / _UNSTORED) as has_lock:
        if has_lock:
            shutil.rmtree(target)
