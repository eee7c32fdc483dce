"""The readers of what a host sends: its answers, and the files of its trainings."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from kdtui.errors import KdtuiError
from kdtui.hosts.shell import MarkedOutput
from kdtui.hosts.ssh import check_alias
from models.sft.job import read_job
from models.sft.job_files import EXIT_CODE, LAUNCH, LOG, METRICS, PID, forget_metrics
from models.sft.state import job_status, launch_of
from tests.faults.reader import JSON, Reader, as_text, in_file
from tests.support.lying_host import CONVERSATIONS, all_heard, honest_answers

_MARK = "\x1ekey"

_FILES = (METRICS, LAUNCH, PID, EXIT_CODE, LOG)


def _answer(data: bytes) -> object:
    """Let a host say this to everything that it is asked; the last refusal counts if no answer is accepted."""
    outcomes = all_heard(CONVERSATIONS, data)
    refusals = [each for each in outcomes if isinstance(each, KdtuiError)]
    assert not [each for each in refusals if "\n" in str(each)]
    if len(refusals) == len(outcomes):
        raise refusals[-1]
    return outcomes


def _output(data: bytes) -> object:
    """Read the output of a shell in small parts: nothing but the beginning of a mark is held back."""
    output, read = MarkedOutput(_MARK), 0
    for start in range(0, len(data), 64):
        read += len(output.take(data[start : start + 64]))
        if output.has_begun and output.code is None:
            assert len(data[: start + 64]) - read - output.before.size < 200
    output.rest()
    return output.code


def _directory(data: bytes) -> object:
    """Read the directory of a training in which each file holds this."""
    with TemporaryDirectory() as folder:
        job = Path(folder)
        (job / "job.json").write_text('{"base": "x"}')
        for name in _FILES:
            (job / name).write_bytes(data)
        status = job_status(job)
        assert status.reason is None or status.reason.isprintable()
        launch_of(job)
        forget_metrics(job, 2)
        return status


def _alias(data: bytes) -> object:
    alias = check_alias(as_text(data))
    assert alias.isprintable()
    assert not alias.startswith("-")
    assert not set(alias) & set(" '\"\\$`;&|<>()*?!#~\n")
    return alias


def host_readers() -> Sequence[Reader]:
    """Return the readers of what hosts send."""
    metrics = {"step": 3, "steps": 9, "epoch": 0, "loss": 0.5, "lr": 1e-4, "tokens": 9, "step_tokens_per_second": 9.5}
    valid = {"step": 3, "valid_loss": 0.4, "valid_seconds": 1.5, "valid_tokens": 7, "pair_f1": 0.25}
    identity = {"pid": 999_999, "started": 12, "boot": "x"}
    launch = {"launcher": "slurm", "number": 7, "host": "n1", "at": 12.5}
    return (
        Reader(
            "a job of a training",
            in_file("job.json", read_job),
            [
                b'{"base": "x", "epochs": 2, "lora": {"rank": 4}}',
                b'{"base": "x", "optimizer": {"learning_rate": 0.1}, "manifest": {"datasets": ["a"]}, "patience": 2}',
            ],
            JSON,
        ),
        Reader(
            "the directory of a training",
            _directory,
            [
                "".join(json.dumps(line) + "\n" for line in (metrics, valid)).encode(),
                json.dumps(identity).encode(),
                json.dumps(launch).encode(),
                b"143\n",
            ],
            (*JSON, b"\n", b'"step": ', b'"pid": '),
        ),
        Reader(
            "an answer of a host",
            _answer,
            honest_answers(),
            (*JSON, b"../", b"/etc/passwd", b"\n", b"9" * 5000, b'"protocol": 1', b'"error": ', b'"stopping": ', b"-"),
        ),
        Reader(
            "the output of a shell on a host",
            _output,
            [f"welcome\n{_MARK}\nthe output\n{_MARK}:0\n".encode()],
            (_MARK.encode(), f"{_MARK}:".encode(), f"{_MARK}:143\n".encode(), b"\x1e", b"9" * 5000, b"x" * 5000),
        ),
        Reader(
            "an alias for ssh",
            _alias,
            [b"gpu", b"me@gpu.example"],
            (b"-oProxyCommand=", b" ", b"'", b"$(", b"`", b"\n"),
        ),
    )
