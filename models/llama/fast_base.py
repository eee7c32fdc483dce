"""The embedded student in the number of bits that llama.cpp computes fastest here, made once and kept."""

import os
from contextlib import suppress
from pathlib import Path

from models.embedded import embedded_student
from models.errors import ModelError
from models.llama.model import can_use_gpu
from models.llama.student import Student
from models.llama.threads import processors


def open_embedded_student(*, context: int, cache: Path) -> Student:
    """Load the embedded student as it is fastest.

    Args:
        context: as for `Student`.
        cache: the folder for all that is kept between processes.

    Raises:
        ModelError: it is not installed, or there is no memory for the context.
    """
    path = fast_embedded_student(cache / "models")
    try:
        return Student(path, context=context, cache=cache / "prefixes")
    except ModelError:
        if path == embedded_student():
            raise
        # What is kept may be damaged.
        path.unlink(missing_ok=True)
        return Student(fast_embedded_student(cache / "models"), context=context, cache=cache / "prefixes")


def fast_embedded_student(cache: Path) -> Path:
    """The embedded student as Q4_0, which has a fast kernel on processors; as it comes where a GPU computes.

    It comes as Q4_1, which takes twice as long. The first call makes the file in a few seconds.

    Args:
        cache: a folder for the file. Where it cannot be written, the student is used as it comes.

    Raises:
        ModelError: the embedded student is not installed.
    """
    source = embedded_student()
    if can_use_gpu():
        return source
    about = source.stat()
    # Another release of the package has a file of its own.
    target = cache / f"{source.stem}-{about.st_size}-{about.st_mtime_ns}.Q4_0.gguf"
    if target.is_file():
        return target
    # Imported here: all but the first answer on a machine find the file.
    from models.llama.quantization import quantize

    # Of two processes that begin at once each makes a file of its own, and the later one replaces an equal one.
    mine = target.with_suffix(f".{os.getpid()}.gguf")
    try:
        quantize(source, mine, "Q4_0", processors())
        mine.replace(target)
    except (ModelError, OSError):
        with suppress(OSError):
            mine.unlink()
        return source
    return target
