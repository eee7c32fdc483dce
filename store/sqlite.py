"""sqlite-utils, for all of the program: imported from here, it is quick.

By itself it imports numpy and pandas where they are installed, to know the column types of their values when it makes a
table of such. Ours are made by migrations; the two would take longer than most commands do.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Database", "Migrations"]


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Have imports find modules missing, those that are not imported yet."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without("numpy", "pandas"):
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations
