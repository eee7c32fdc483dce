"""Files and folders that exist completely or not at all, even if the process is killed or the power fails."""

import errno
import os
import platform
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

_HOST = sha256(platform.node().encode()).hexdigest()[:4]
"""The beginning of names of new files and folders: locks of other machines are not seen on all file systems."""

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
"""Names of new files and folders before they are complete."""

_NEW = 10.0
"""Seconds in which a new file or folder may not be locked yet."""


PRIVATE = 0o600
"""Permissions of a file that only its owner can read, whatever the umask."""


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` at the end. After an error everything is as before.

    What killed processes have left next to it is deleted.

    Args:
        mode: its permissions, less those of the umask.

    Raises:
        OSError: it cannot be written.
    """
    _delete_abandoned(path.parent)
    part = _part_of(path)
    try:
        part.touch(mode, exist_ok=False)
        # Locked until it has its name: it may look abandoned after a slow write.
        with locked(part):
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Write a file (text as UTF-8) in place of an old one; nobody ever sees a partial file.

    Args:
        mode: its permissions, less those of the umask.

    Raises:
        OSError: it cannot be written; an old file is unchanged.
    """
    with replacing(path, mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_folder(target: Path, *, replace: bool = False, mode: int = 0o777) -> Iterator[Path]:
    """Make a new folder that gets the name of `target` at the end. After an error everything is as before.

    What killed processes have left next to it is deleted.

    Args:
        replace: replace a folder of this name, and delete it.
        mode: its permissions, less those of the umask.

    Raises:
        OSError: it cannot be written; or, without `replace`, there is a folder of this name that is not empty.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each target: a long name cannot get a suffix.
    former = target.with_name(f".{sha256(target.name.encode()).hexdigest()[:16]}.old")
    _restore(former, target)
    _delete_abandoned(target.parent)
    part = _part_of(target)
    try:
        part.mkdir(mode)
        with locked(part):
            yield part
            if replace and target.exists():
                with locked(target) as has_lock:
                    if has_lock is False:
                        raise OSError(errno.EBUSY, "another process is replacing it", str(target))
                    _exchange(part, target, former)
            else:
                put_in_place(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def delete_whole(folder: Path) -> None:
    """Delete a folder. If this process is killed, no part of it is left under its name.

    Raises:
        OSError: it cannot be renamed.
    """
    part = _part_of(folder)
    folder.rename(part)
    shutil.rmtree(part, ignore_errors=True)


def _part_of(target: Path) -> Path:
    # A short name with a random part: the name of the target can be as long as a name can be.
    return target.with_name(f".{_HOST}{secrets.token_hex(6)}.part")


def _exchange(part: Path, target: Path, former: Path) -> None:
    """Put a new folder in the place of another. If this process is killed, the next one restores the former one."""
    target.rename(former)
    try:
        put_in_place(part, target)
    except BaseException:
        former.rename(target)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _restore(former: Path, target: Path) -> None:
    """Undo what a process did that was killed while it replaced a folder."""
    with suppress(FileNotFoundError), locked(former) as has_lock:
        # A process that is replacing the folder now holds the lock.
        if has_lock is not False:
            if target.exists():
                shutil.rmtree(former)
            else:
                former.rename(target)


@contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Lock a file or folder, and yield whether that worked.

    It does not if another process has it locked. None means that there are no such locks here.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield None
        return
    # A pipe of this name must not block.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    has_lock: bool | None = True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        has_lock = False
    except OSError:
        has_lock = None
    try:
        yield has_lock
    finally:
        os.close(number)


def _delete_abandoned(parent: Path) -> None:
    """Delete new files and folders whose process on this machine was killed: it does not hold its lock any more."""
    for part in parent.glob(f".{_HOST}*.part"):
        # Two processes can delete the same one, and a new one is locked a moment after it is made.
        with suppress(OSError):
            found = part.lstat()
            is_old = time.time() - found.st_mtime > _NEW
            is_plain = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
            if is_old and is_plain and _PART.fullmatch(part.name):
                with locked(part) as is_abandoned:
                    if is_abandoned and part.is_dir():
                        shutil.rmtree(part)
                    elif is_abandoned:
                        part.unlink()


@contextmanager
def replacing_path(target: Path) -> Iterator[Path]:
    """Yield a path for a library to write a new file to, which replaces `target` at the end.

    After an error everything is as before. The path depends only on `target`, so that the next attempt overwrites what
    a killed process left.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        yield part
        put_in_place(part, target)
    finally:
        part.unlink(missing_ok=True)


def put_in_place(part: Path, target: Path) -> None:
    """Write a file or a folder to disk, and then rename it to its target. A file can replace another.

    Raises:
        OSError: that is not possible, or there is a folder of this name that is not empty.
    """
    for path in [part, *part.rglob("*")] if part.is_dir() else [part]:
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    part.replace(target)
