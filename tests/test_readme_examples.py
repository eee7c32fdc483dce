"""The first session in README.md prints what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kdtui.workflows.demo import import_demo
from store.database import open_database
from tests.support.repository import ROOT

_SECTION = re.search(
    r"^## A first session$(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
)
assert _SECTION is not None
EXAMPLES = re.findall(r"^```console\n\$ kdtui (.*?)\n(.*?)^```$", _SECTION[1], flags=re.DOTALL | re.MULTILINE)

_WIDTH = 150
"""Columns; the widest table has fewer."""


def lines(text: str, command: str) -> list[str]:
    """Return the lines of an output, without what a language model can write otherwise on another processor."""
    found = [" ".join(line.replace("─", "").split()) for line in text.splitlines()]
    if command.startswith("generate"):
        # Which products are in which bundle, without the confidence and the intent.
        found = [re.sub(r" \d+% .*", "", line) for line in found if line]
    return [line for line in found if line]


@pytest.fixture(scope="module")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database that `make demo` makes, without its runs."""
    path = tmp_path_factory.mktemp("demo") / "kdtui.db"
    db = open_database(path)
    list(import_demo(db))
    db.close()
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[command.split()[0] for command, _ in EXAMPLES])
def test_an_example_prints_what_the_readme_says(demo_store: Path, command: str, output: str) -> None:
    environment = {**os.environ, "COLUMNS": str(_WIDTH), "KDTUI_DB": str(demo_store)}
    ended = subprocess.run(
        [sys.executable, "-m", "kdtui", *shlex.split(command)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    printed, wanted = lines(ended.stdout, command), lines(output, command)
    assert printed[: len(wanted)] == wanted


def test_the_readme_has_a_first_session_of_five_commands() -> None:
    assert len(EXAMPLES) == 5
