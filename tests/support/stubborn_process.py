"""A process that ignores signals."""

from pathlib import Path


def stubborn(folder: Path) -> Path:
    """Make a Python that starts a child in a session of its own; both ignore signals."""
    path = folder / "python"
    path.write_text(
        "#!/bin/sh\ntrap '' TERM\n"
        '(trap \'\' TERM; exec setsid sh -c \'trap "" TERM; : >"$0/begun"; while :; do sleep 0.1; done\' "$3") &\n'
        "while :; do sleep 0.1; done\n"
    )
    path.chmod(0o755)
    return path
