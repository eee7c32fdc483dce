"""The root of this repository, for tests of its own files."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
