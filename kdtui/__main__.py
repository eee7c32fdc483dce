"""The program: the command line, or the app if no command is given. Neither imports the other."""

from pathlib import Path
from threading import enumerate

from kdtui.cli import run_command_line


def main() -> None:
    """Run `kdtui` or `python -m kdtui`."""
    try:
        run_command_line(_open_app)
    except SystemExit as end:
        # A daemon thread may be waiting for stdin. Python would abort when it closes stdin at its exit.
        if isinstance(end.code, int) and any(thread.daemon for thread in enumerate()):
            from kdtui.tui.leaving import end_at_once

            end_at_once(end.code)
        raise


def _open_app(database: Path) -> int:
    # Imported here, as commands do not need Textual.
    from kdtui.tui.app import run_app

    return run_app(database)


if __name__ == "__main__":
    main()
