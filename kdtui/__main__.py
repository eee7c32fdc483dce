"""The program: the command line, and the app where no command is given. Neither face knows the other."""

from pathlib import Path

from kdtui.cli import run_command_line


def main() -> None:
    """Entry point of `kdtui` and of `python -m kdtui`."""
    run_command_line(_open_app)


def _open_app(database: Path) -> int:
    # Imported here: a command has no use for Textual.
    from kdtui.tui.app import run_app

    return run_app(database)


if __name__ == "__main__":
    main()
