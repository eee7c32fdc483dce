"""Disks that are really full: small file systems in memory, in a mount namespace of their own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.stores import OUTDOOR

_SCRIPT = """
mount -t tmpfs -o "$2" tmpfs "$1" || exit 77
run() { "$3" -m kdtui data import "$4" --dataset demo --db "$1/kdtui.db" 2>&1; echo "code $?"; }
run "$@"
echo ---
mount -o remount,size=100m,nr_inodes=1000 tmpfs "$1"
run "$@"
"$3" -m kdtui data ls --json --db "$1/kdtui.db"
"""
"""Imports a dataset on a small disk, and again on the same disk when it has more space."""


@dataclass(frozen=True)
class Outcome:
    """What a command printed on the small disk, and with more space."""

    small: str
    large: str


def import_on_disk(limits: str, folder: Path) -> Outcome:
    """Import the demo data into a database on a file system with these limits."""
    folder.mkdir()
    arguments = [str(folder), limits, sys.executable, str(OUTDOOR)]
    # In namespaces of its own, a user may mount.
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", _SCRIPT, "sh", *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no program unshare")
    if "---" not in ended.stdout:
        pytest.skip(f"this system does not let users mount: {ended.stderr.strip()}")
    small, _, large = ended.stdout.partition("---\n")
    return Outcome(small, large)


@pytest.mark.parametrize("size", ["100k", "200k", "400k"])
def test_a_full_disk_is_named_and_the_import_works_when_there_is_space(size: str, tmp_path: Path) -> None:
    outcome = import_on_disk(f"size={size}", tmp_path / "disk")
    assert "disk is full" in outcome.small or "No space left on device" in outcome.small, outcome
    assert outcome.small.count("\n") == 2, outcome
    assert "code 1" in outcome.small
    assert "code 0" in outcome.large, outcome
    assert '"sessions": 36' in outcome.large


@pytest.mark.parametrize("inodes", [1, 2, 3])
def test_a_disk_without_inodes_is_named_and_the_import_works_when_there_are_some(inodes: int, tmp_path: Path) -> None:
    outcome = import_on_disk(f"size=100m,nr_inodes={inodes}", tmp_path / "disk")
    assert outcome.small.count("\n") == 2, outcome
    assert "code 1" in outcome.small
    assert "code 0" in outcome.large, outcome
    assert '"sessions": 36' in outcome.large
