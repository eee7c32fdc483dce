"""Seeds that are new each day."""

from datetime import date


def seed_of_today() -> int:
    """Return the first of the hundred seeds of this day."""
    return date.today().toordinal() * 100
