"""The folder of a new training, and its row in the store: both, or neither."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdtui.errors import KdtuiError
from kdtui.workflows.claims import claimed
from models.files.whole_files import new_folder
from models.sft.job_files import ID, JOB, START, TRAIN, VALID
from store.jobs import add_job, list_jobs
from store.records import TrainingSettings
from store.sqlite import Database

_BEFORE_START = {ID, JOB, TRAIN, VALID, START}
"""What a folder holds before the training begins."""


def is_taken(folder: Path) -> bool:
    """Return whether there is something at this path that a new training may not replace.

    A launch that was killed right before it stored the training leaves a folder in which no training has begun.
    """
    if not folder.is_dir():
        return folder.exists()
    names = {path.name for path in folder.iterdir()}
    return not (ID in names and names <= _BEFORE_START)


@contextmanager
def new_job(db: Database, name: str, target: Path, settings: TrainingSettings, key: str, **more: Any) -> Iterator[Path]:
    """Provide a folder for the files of a training, and store the training at the end. After an error nothing is left.

    Args:
        more: see `add_job`.

    Raises:
        KdtuiError: another process makes a training of this name, or has made one.
    """
    with claimed(db, f"training {name}", f"another kdtui makes training {name!r} at the moment"):
        if is_taken(target) or any(job.name == name for job in list_jobs(db)):
            raise KdtuiError(f"another kdtui has made training {name!r} meanwhile")
        with new_folder(target, replace=target.exists(), mode=0o700) as part:
            yield part
        try:
            add_job(db, name, target, settings, key, **more)
        except BaseException:
            # Nothing else knows the folder.
            shutil.rmtree(target, ignore_errors=True)
            raise
