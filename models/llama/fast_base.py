"""The embedded student in the quantization that llama.cpp computes fastest on this machine, made once and cached."""

import os
from contextlib import suppress
from pathlib import Path

from models.embedded import embedded_student
from models.errors import ModelError
from models.llama.model import can_use_gpu
from models.llama.student import Student
from models.llama.threads import processors


def open_embedded_student(*, context: int, cache: Path) -> Student:
    """Load the fastest version of the embedded student.

    Args:
        context: as for `Student`.
        cache: the folder for all that is kept between processes.

    Raises:
        ModelError: it is not installed, or there is no memory for the context.
    """
    path = fast_embedded_student(cache / "models")
    try:
        # kdtui made the file, from what is shipped.
        return Student(path, context=context, cache=cache / "prefixes", trusted=True)
    except ModelError:
        if path == embedded_student():
            raise
        # The cached file can be damaged.
        path.unlink(missing_ok=True)
        path = fast_embedded_student(cache / "models")
        return Student(path, context=context, cache=cache / "prefixes", trusted=True)


def fast_embedded_student(cache: Path) -> Path:
    """Return the embedded student as Q4_0, which has a fast kernel on processors; with a GPU, as it is shipped.

    It is shipped as Q4_1, which takes twice as long. The first call makes the file in a few seconds.

    Args:
        cache: a folder for the file. If it cannot be written, the shipped file is used.

    Raises:
        ModelError: the embedded student is not installed.
    """
    source = embedded_student()
    if can_use_gpu():
        return source
    about = source.stat()
    # Another release of the package gets a file of its own.
    target = cache / f"{source.stem}-{about.st_size}-{about.st_mtime_ns}.Q4_0.gguf"
    if target.is_file():
        return target
    # Imported here: after the first answer on a machine, the file exists.
    from models.llama.quantization import quantize_file

    # Two processes that begin at the same time make a file each, and the later one replaces an equal one.
    mine = target.with_suffix(f".{os.getpid()}.gguf")
    try:
        quantize_file(source, mine, "Q4_0", processors())
        mine.replace(target)
    except (ModelError, OSError):
        with suppress(OSError):
            mine.unlink()
        return source
    return target
