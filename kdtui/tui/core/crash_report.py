"""Crash reports: a fault of the program is written to a file for bug reports."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from kdtui.tui.core.store_worker import fault
from models.files.whole_files import PRIVATE, write_whole


def write_crash_report(error: BaseException) -> str:
    """Write the traceback of an error to a file, and return a sentence that names the file."""
    from platformdirs import user_state_path

    sentence, details = fault(error)
    path = Path(user_state_path("kdtui")) / f"fault-{datetime.now():%Y%m%d-%H%M%S}.txt"
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, details, PRIVATE)
        return f"kdtui ended by {sentence}; the details are in {path}; stored data is safe"
    return f"kdtui ended by {sentence}; stored data is safe"
