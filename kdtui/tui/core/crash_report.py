"""Faults of the program: what is known of one is kept in a file, for whoever is to mend it."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from kdtui.tui.core.store_worker import fault


def keep(error: BaseException) -> str:
    """Write down where an error comes from, and return a sentence that says where that is."""
    from platformdirs import user_state_path

    sentence, details = fault(error)
    path = Path(user_state_path("kdtui")) / f"fault-{datetime.now():%Y%m%d-%H%M%S}.txt"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(details, encoding="utf-8")
        return f"kdtui has ended by {sentence}; where it comes from stands in {path}; nothing that was stored is lost"
    return f"kdtui has ended by {sentence}; nothing that was stored is lost"
