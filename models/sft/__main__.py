"""`python -m models.sft JOB_DIR`: trains as the job says, and writes to the directory how it ended."""

import gc
import os
import sys
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from time import monotonic

from models.errors import ModelError
from models.sft.base import missing_package
from models.sft.job_files import SPEAKER, STOPPED, locked_job, write_exit_code


def main(arguments: list[str]) -> int:
    """Train in one job directory, and return the exit code."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m models.sft JOB_DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    # Progress bars are for terminals, and this output goes to a log.
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        # Of several processes only the first one writes.
        is_first = os.environ.get("RANK", "0") == "0"
        with locked_job(folder) if is_first else nullcontext():
            code, began = 1, monotonic()
            if is_first:
                _say("importing torch and transformers")
            try:
                code = _train(folder, began)
            except ModelError as error:
                _failed(str(error))
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    # The traceback goes to the log.
                    raise
                _failed("out of memory; lower batch_tokens (--batch-tokens), or turn recompute on (--recompute)")
            finally:
                if is_first:
                    _end(folder, code)
    except ModelError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename or folder}: {error.strerror}")
    return code


def _end(folder: Path, code: int) -> None:
    try:
        write_exit_code(folder, code)
    except OSError:
        # The last line of the log must stay the reason of the failure.
        if code in (0, STOPPED):
            raise


def _train(folder: Path, began: float) -> int:
    try:
        # Imported here: it takes seconds, and a fifth more with garbage collection, which would find nothing.
        gc.disable()
        try:
            from models.sft.training import Stopped, Trainer
        finally:
            gc.freeze()
            gc.enable()
    except ImportError as error:
        raise missing_package(error) from error
    try:
        Trainer(folder, began).run()
    except Stopped as stopped:
        _say(str(stopped))
        return STOPPED
    return 0


def _is_out_of_memory(error: BaseException) -> bool:
    # For a full main memory torch has no exception of its own, only a message.
    message = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in message or "can't allocate memory" in message


def _failed(reason: str) -> int:
    _say(f"{SPEAKER}{reason}")
    return 1


def _say(text: str) -> None:
    # The log can be on a full disk.
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # Warnings of libraries for their callers do not belong in a log.
    warnings.simplefilter("ignore", FutureWarning)
    sys.exit(main(sys.argv[1:]))
