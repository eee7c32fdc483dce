"""Files and folders that are there whole or not at all, whoever is killed and whatever goes out meanwhile."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` at the end. After an error all is as it was.

    Raises:
        OSError: it cannot be written.
    """
    # Not after the name of the file, which may be as long as a name can be.
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8) in place of the one that was there; nobody ever sees a part of it.

    Raises:
        OSError: it cannot be written; one that was there is as it was.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to write files into, which gets the name of `target` at the end. After an error all is as it was.

    Args:
        replace: take the place of a folder of this name, which is deleted then.

    Raises:
        OSError: it cannot be written; without `replace`, there is a folder of the name that is not empty.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.mkdir()
        yield part
        if replace and target.exists():
            former = part.with_suffix(".old")
            target.rename(former)
            try:
                put_in_place(part, target)
            except BaseException:
                former.rename(target)
                raise
            shutil.rmtree(former, ignore_errors=True)
        else:
            put_in_place(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def put_in_place(part: Path, target: Path) -> None:
    """Give a file or a folder its name, when all that is in it has reached the disk. A file may take another's place.

    Raises:
        OSError: that cannot be, or there is a folder of the name that is not empty.
    """
    for path in [part, *part.rglob("*")] if part.is_dir() else [part]:
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    part.replace(target)
