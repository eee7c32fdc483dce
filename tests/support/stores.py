"""Stores and data for tests of the app."""

import shutil
from importlib.resources import files
from pathlib import Path

OUTDOOR = Path(str(files("kdtui") / "demo_data" / "outdoor.jsonl"))


def copy_store(source: Path, target: Path) -> None:
    """Copy a store that is not open."""
    for suffix in ("", "-wal"):
        if (part := Path(f"{source}{suffix}")).exists():
            shutil.copy(part, f"{target}{suffix}")
