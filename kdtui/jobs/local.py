"""Trainings on this machine: processes of their own, which go on when the terminal is closed."""

import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import psutil

from kdtui.errors import KdtuiError
from kdtui.jobs.state import LOG, last_line, trainer
from models.sft.job_files import EXIT_CODE

GRACE = 120.0
"""Seconds that a trainer has to write a checkpoint, before it is ended without one."""

_STARTS = 60.0
"""Seconds in which a trainer says who it is."""


def start(folder: Path) -> int:
    """Start the trainer of a job directory, or go on with it, and return its process id.

    Raises:
        KdtuiError: one is at work there already, or it does not start.
    """
    if (pid := trainer(folder)) is not None:
        raise KdtuiError(f"{folder}: process {pid} is at work here already")
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "models.sft", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Neither an interrupt nor the end of the terminal reaches it.
            start_new_session=True,
        )
    # Until then nobody could tell that it runs.
    end = monotonic() + _STARTS
    while trainer(folder) is None and process.poll() is None and monotonic() < end:
        sleep(0.02)
    if process.poll() is not None and not (folder / EXIT_CODE).exists():
        raise KdtuiError(f"the trainer did not start ({last_line(folder)}); its log is {folder / LOG}")
    return process.pid


def stop(folder: Path, *, grace: float = GRACE) -> bool:
    """Tell a trainer to stop, and wait until it has; one that does not is killed with all that it started.

    Returns:
        Whether it left a checkpoint; True too where nothing was running.
    """
    pid = trainer(folder)
    if pid is None:
        return True
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        process.terminate()
    except psutil.NoSuchProcess:
        return True
    end = monotonic() + grace
    while monotonic() < end:
        if trainer(folder) is None:
            return True
        sleep(0.05)
    for each in family:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
    return False
