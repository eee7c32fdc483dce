"""Disks that are really full: small file systems in memory, in a mount namespace of their own."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.needs import skip_unless_all_is_needed
from tests.support.stores import OUTDOOR
from tests.support.tiny import make_model

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


_FULL = """
disk=$1 python=$2 data=$3 model=$4
shift 4
mount -t tmpfs -o size=100m tmpfs "$disk" || exit 77
run() { "$python" -m kdtui "$@" --db "$disk/store/kdtui.db" 2>&1; echo "code $?"; }
run data import "$data" --dataset demo >/dev/null
cp "$model" "$disk"
used=$(du -sk "$disk" | cut -f1)
mount -o remount,size=$((used + 24))k tmpfs "$disk"
run "$@"
echo ---
mount -o remount,size=100m tmpfs "$disk"
run "$@"
find "$disk" -name "*.part"
"""
"""Runs a command on a disk that has a database and a model, and room for little else; and again with more space."""


@dataclass(frozen=True)
class Outcome:
    """What a command printed on the small disk, and with more space."""

    small: str
    large: str


def import_on_disk(limits: str, folder: Path) -> Outcome:
    """Import the demo data into a database on a file system with these limits."""
    folder.mkdir()
    return run_script(_SCRIPT, str(folder), limits, sys.executable, str(OUTDOOR))


def run_script(script: str, *arguments: str) -> Outcome:
    """Run a script that can mount file systems; skip the test if that is not possible here."""
    # In namespaces of its own, a user may mount.
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        skip_unless_all_is_needed("there is no program unshare")
    if "---" not in ended.stdout:
        skip_unless_all_is_needed(f"this system does not let users mount: {ended.stderr.strip()}")
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
    assert "No space left on device" in outcome.small or "that the disk can hold more files" in outcome.small, outcome
    assert outcome.small.count("\n") == 2, outcome
    assert "code 1" in outcome.small
    assert "code 0" in outcome.large, outcome
    assert '"sessions": 36' in outcome.large


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--dataset", "demo", "--split", "train", "--student", "patterns"),
        pytest.param(("knowledge", "mine", "--dataset", "demo"), marks=pytest.mark.slow),
        pytest.param(("data", "export", "--dataset", "demo", "--output", "{disk}/out.jsonl"), marks=pytest.mark.slow),
        pytest.param(
            ("model", "quantize", "{disk}/tiny.gguf", "--to", "F16", "--name", "less"), marks=pytest.mark.slow
        ),
    ],
    ids=lambda command: command[0],
)
def test_a_command_on_a_full_disk_says_so_and_works_when_there_is_space(command: Sequence[str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    model = make_model(tmp_path / "tiny.gguf")
    words = [word.replace("{disk}", str(disk)) for word in command]
    outcome = run_script(_FULL, str(disk), sys.executable, str(OUTDOOR), str(model), *words)
    assert "code 1" in outcome.small, outcome
    assert "disk is full" in outcome.small or "No space left on device" in outcome.small, outcome
    assert "Traceback" not in outcome.small
    assert "code 0" in outcome.large, outcome
    assert ".part" not in outcome.large
