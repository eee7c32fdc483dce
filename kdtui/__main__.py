"""The program: the command line, and the app where no command is given. Neither face knows the other."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kdtui.cli import run

if TYPE_CHECKING:
    from types import ModuleType


def main() -> None:
    """Entry point of `kdtui` and of `python -m kdtui`."""
    # sqlite-utils imports pandas where there is one, for rows of its own kind: longer than most commands take.
    sys.modules.setdefault("pandas", cast("ModuleType", None))
    run(_open_app)


def _open_app(database: Path) -> int:
    # Imported here: a command has no use for Textual.
    from kdtui.tui.app import run_app

    return run_app(database)


if __name__ == "__main__":
    main()
