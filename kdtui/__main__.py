"""The program: the command line, or the app if no command is given. Neither imports the other."""

import sys
from pathlib import Path
from threading import enumerate


def main() -> None:
    """Run `kdtui` or `python -m kdtui`."""
    try:
        try:
            # Imported here, so that an interrupt at any moment of the start ends without a traceback.
            from kdtui.cli import run_command_line

            run_command_line(_open_app)
        except KeyboardInterrupt:
            sys.exit(130)
    except SystemExit as end:
        # A thread may still be waiting for stdin. Python would abort when it closes stdin at its exit.
        if isinstance(end.code, int) and sys.stdin is sys.__stdin__ and _is_reading():
            from kdtui.tui.leaving import end_at_once

            end_at_once(end.code)
        raise
    finally:
        # An interrupt can come while a text is executed, as dataclasses do. Even if it was handled, `python -m` then
        # ends by SIGINT, whatever the exit code is. Executing another text prevents that.
        exec("")


def _is_reading() -> bool:
    from kdtui.exchange.read_ahead import READER

    return any(thread.daemon and thread.name == READER for thread in enumerate())


def _open_app(database: Path) -> int:
    # Imported here, as commands do not need Textual.
    from kdtui.tui.app import run_app

    return run_app(database)


if __name__ == "__main__":
    main()
