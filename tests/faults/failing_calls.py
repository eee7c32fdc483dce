"""Calls to the file system that fail in a process, and a clock that moves, by a library that is preloaded into it."""

import ctypes
import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COMPILER = shutil.which("cc")
CAN_FAIL = sys.platform == "linux" and COMPILER is not None
"""Whether calls can be made to fail here: with a C compiler, and /proc to find the names of open files."""

STOP = 0

_RANDOM = re.compile(r"[0-9a-f]{8,}|(?<=tmp)\w+|(?<=etilqs_)\w+|(?<=^/)\w{8}$|(?<=\.)\w{8}(?=\.part)|\d+")
"""The parts of the names of files that differ between two runs of the same command."""

ERRORS: Mapping[str, int] = {
    "the disk is full": errno.ENOSPC,
    "the quota is used up": errno.EDQUOT,
    "the disk fails": errno.EIO,
    "the file system is read-only": errno.EROFS,
}

_FAILED = "!"
"""Begins the line about a call that failed."""

_SPECIAL = re.compile(r"[\\*?\[]")
"""Characters that mean something in a glob."""


@dataclass(frozen=True)
class FailingCall:
    """Which call of a process fails: the one of this number among those of a kind that write below a folder.

    Attributes:
        number: 0 to let none fail, and only count.
        kind: see `listed_calls`; "" for any.
        error: the error number that it fails with; `STOP` to stop the process before the call instead.
        lasts: whether all later calls fail, too, as on a disk that stays full.
        lists_to: a file that gets a line for each call; "" for none.
    """

    folder: str
    number: int
    error: int = errno.ENOSPC
    lasts: bool = False
    lists_to: str = ""
    kind: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def build_shim(folder: Path) -> Path:
    """Compile the library that makes calls fail."""
    assert COMPILER is not None
    shim = folder / "failing_calls.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-o", str(shim), str(source), "-ldl"], check=True)
    return shim


def preload(shim: Path) -> dict[str, str]:
    """Return the environment of a process that loads the library."""
    return {"LD_PRELOAD": " ".join([str(shim), *os.environ.get("LD_PRELOAD", "").split()])}


def shift_clock(seconds: int) -> None:
    """Move the wall clock of this process, which has loaded the library."""
    ctypes.CDLL(None).shift_clock(ctypes.c_long(seconds))


def arm(fails: FailingCall) -> None:
    """Let a call of this process fail, which has loaded the library."""
    listing = os.open(fails.lists_to, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if fails.lists_to else -1
    pattern = _SPECIAL.sub(r"\\\g<0>", fails.kind).replace("#", "*")
    ctypes.CDLL(None).arm(
        os.fsencode(fails.folder),
        os.fsencode(pattern),
        ctypes.c_long(fails.number),
        fails.error,
        int(fails.lasts),
        listing,
    )


def listed_calls(listing: Path) -> list[str]:
    """Return the kind of each call that a process has listed, in their order.

    The kind is the function and the file, without the digits and the random letters in its name.
    """
    numbered = (line.split(" ", 1) for line in _lines(listing) if not line.startswith(_FAILED))
    calls = sorted((int(number), _kind(call)) for number, call in numbered)
    return [kind for _, kind in calls]


def failed_call(listing: Path) -> str:
    """Return the kind of the first call that failed; "" if none did."""
    return next((_kind(line.removeprefix(_FAILED)) for line in _lines(listing) if line.startswith(_FAILED)), "")


def _lines(listing: Path) -> list[str]:
    return listing.read_text(errors="replace").splitlines() if listing.exists() else []


def _kind(call: str) -> str:
    name, *path = call.split(" ", 1)
    return f"{name} {_RANDOM.sub('#', ''.join(path))}"
