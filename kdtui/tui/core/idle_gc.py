"""Looking for garbage while nobody waits for a key."""

import gc
from time import monotonic

from kdtui.tui.core.services import Services

_REST = 2.0
"""Seconds without a key after which nobody waits for the next."""

_OFTEN = 60.0
"""Seconds after which it is time, whether a key was pressed or not: what is followed makes garbage too."""


def collect_at_rest(app: Services) -> None:
    """Have Python look through old objects when nothing is pressed, and at no other time.

    Python does it by itself after so many new ones: in the middle of a key, for as long as a person takes to notice
    (0.1 s with three screens). Young objects are looked at as always.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1_000_000)
    looked = 0.0

    def look() -> None:
        nonlocal looked
        now = monotonic()
        if now - app.pressed_at > _REST and (app.pressed_at > looked or now - looked > _OFTEN):
            gc.collect()
            looked = now

    app.set_interval(_REST, look)
