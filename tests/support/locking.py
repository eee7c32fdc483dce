"""A store that another process is writing to, and commands that use it."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def writing(path: Path) -> Iterator[Callable[[], None]]:
    """Hold a write lock with another connection; yields a function that releases it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other.commit


def begun(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "kdtui", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def said(process: "subprocess.Popen[str]", what: str) -> str:
    """Wait for the line on stderr with these words, and return it."""
    assert process.stderr is not None
    return next(line for line in process.stderr if what in line)
