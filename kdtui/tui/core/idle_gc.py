"""Garbage collection while the user does not type."""

import gc
from time import monotonic

from kdtui.tui.core.services import Services

_PAUSE = 2.0
"""Seconds without a key after which a pause is assumed."""

_LONGEST_INTERVAL = 60.0
"""Seconds after which garbage is collected even if no key was pressed: live views create garbage too."""


def collect_at_rest(app: Services) -> None:
    """Collect old objects only in pauses.

    Python starts a full collection after a number of allocations, possibly in the middle of a key. With three screens
    that takes a noticeable 0.1 s. Young generations are collected as usual.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1_000_000)
    collected_at = 0.0

    def collect() -> None:
        nonlocal collected_at
        now = monotonic()
        if now - app.pressed_at > _PAUSE and (app.pressed_at > collected_at or now - collected_at > _LONGEST_INTERVAL):
            gc.collect()
            collected_at = now

    app.set_interval(_PAUSE, collect)
