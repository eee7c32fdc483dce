"""The program: the command line, or the app if no command is given. Neither imports the other."""

from pathlib import Path

from kdtui.cli import run_command_line


def main() -> None:
    """Run `kdtui` or `python -m kdtui`."""
    run_command_line(_open_app)


def _open_app(database: Path) -> int:
    # Imported here, as commands do not need Textual.
    from kdtui.tui.app import run_app

    return run_app(database)


if __name__ == "__main__":
    main()
