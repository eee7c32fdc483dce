"""Calls to the file system that fail in a process, and a clock that moves, by a library that is preloaded into it."""

import atexit
import ctypes
import errno
import os
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

ERRORS: Mapping[str, int] = {
    "the disk is full": errno.ENOSPC,
    "the quota is used up": errno.EDQUOT,
    "the disk fails": errno.EIO,
    "the file system is read-only": errno.EROFS,
}


@dataclass(frozen=True)
class FailingCall:
    """Which call of a process fails: the one of this number among those that write below a folder.

    Attributes:
        number: 0 to let none fail, and only count.
        error: the error number that it fails with; `STOP` to stop the process before the call instead.
        lasts: whether all later calls fail, too, as on a disk that stays full.
        counts_to: a file that gets the number of calls when the process ends; "" for none.
    """

    folder: str
    number: int
    error: int = errno.ENOSPC
    lasts: bool = False
    counts_to: str = ""

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
    library = ctypes.CDLL(None)
    library.counted.restype = ctypes.c_long
    library.arm(os.fsencode(fails.folder), ctypes.c_long(fails.number), fails.error, int(fails.lasts))
    if fails.counts_to:
        # Registered first, so that it runs after the other functions of the exit.
        atexit.register(lambda: Path(fails.counts_to).write_text(str(library.counted())))
