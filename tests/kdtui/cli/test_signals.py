"""A command that gets a signal ends at once, keeps finished work, and has the exit code of the signal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdtui.cli.signals import signals_as_interrupts
from kdtui.workflows.data.import_dataset import import_dataset
from models.embedded import embedded_student
from store.sqlite import Database
from tests.support.commands import Kdtui, Result
from tests.support.fake_chat_server import Serve
from tests.support.fake_teacher import good
from tests.support.tiny import make_model
from tests.support.waiting import until

ENDINGS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]

pytestmark = pytest.mark.usefixtures("dataset")

ends = pytest.mark.parametrize(("number", "code"), ENDINGS[:2], ids=["SIGINT", "SIGTERM"])


@pytest.fixture
def dataset(db: Database, outdoor: Path, tmp_path: Path) -> None:
    """A dataset with enough validation sessions to calibrate on."""
    sessions = [json.loads(line) for line in outdoor.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps(session | {"split": "valid" if at < 22 else "train"}) for at, session in enumerate(sessions)]
    (tmp_path / "demo.jsonl").write_text("\n".join(lines), encoding="utf-8")
    list(import_dataset(db, tmp_path / "demo.jsonl", "demo"))


@contextmanager
def started(*arguments: object, stdin: int = subprocess.PIPE) -> Iterator["subprocess.Popen[str]"]:
    """Run a command in its own process, and kill it at the end."""
    command = [sys.executable, "-m", "kdtui", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def has_open(process: "subprocess.Popen[str]", path: Path) -> bool:
    """Tell whether a process has a model file open or mapped."""
    assert process.poll() is None, process.communicate()
    return str(path.resolve()) in Path(f"/proc/{process.pid}/maps").read_text()


def ended(process: "subprocess.Popen[str]", number: int) -> tuple[int, str, str]:
    """Send a signal to a process; return its exit code, stdout and stderr."""
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    return process.returncode, out, err


def count(db: Database, table: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.mark.parametrize(("number", "code"), ENDINGS, ids=["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_evaluation_keeps_its_answers(db: Database, tmp_path: Path, number: int, code: int) -> None:
    student = make_model(tmp_path / "tiny.gguf")
    with started("evaluate", "--split", "valid", "--student", student, "--strategy", "drafts") as process:
        until(lambda: count(db, "predictions") >= 2)
        returned, out, err = ended(process, number)
    assert (returned, out) == (code, "")
    assert "finished answers are kept, resume with: kdtui evaluate --resume 1" in err
    assert 2 <= count(db, "predictions") < 22


@pytest.mark.slow
@ends
def test_finished_answers_have_been_printed(outdoor: Path, number: int, code: int) -> None:
    line = outdoor.read_text(encoding="utf-8").splitlines()[4]
    with started("generate", "-", "--json", "--student", "smollm2") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{line}\n" * 2)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["session"]
        # The second is in progress or done; there are no others.
        returned, _, err = ended(process, number)
    assert returned == code
    assert "could not answer" not in err


@ends
@pytest.mark.parametrize(
    "command",
    [
        ("calibrate", "--student", "smollm2"),
        ("data", "embed", "--with", "smollm2"),
        ("knowledge", "distill", "--teacher", "smollm2"),
    ],
    ids=["calibrate", "embed", "distill"],
)
def test_a_command_ends_while_a_model_computes(kdtui: Kdtui, command: Sequence[str], number: int, code: int) -> None:
    with started(*command) as process:
        until(lambda: has_open(process, embedded_student()))
        assert ended(process, number)[0] == code
    # Nothing is half done.
    assert kdtui("data", "ls").code == 0


@ends
def test_calls_in_progress_are_finished(db: Database, serve: Serve, number: int, code: int) -> None:
    url, fake = serve(good)
    with started("knowledge", "distill", "--teacher", f"{url}#m", "--concurrency", 2) as process:
        until(lambda: count(db, "calls") >= 3)
        returned, _, err = ended(process, number)
    assert returned == code
    assert "finished answers are kept" in err
    assert count(db, "calls") == len(fake.asked)


def test_a_command_that_ignores_hang_ups_survives_one(db: Database, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        student = make_model(tmp_path / "tiny.gguf")
        with started("evaluate", "--split", "valid", "--limit", 2, "--student", student) as process:
            until(lambda: count(db, "runs") >= 1)
            returned, out, _ = ended(process, signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert returned == 0
    assert "truth" in out


@pytest.mark.parametrize(("number", "code"), ENDINGS[1:], ids=["SIGTERM", "SIGHUP"])
def test_an_unanswered_question_changes_nothing(db: Database, number: int, code: int) -> None:
    # The question needs a terminal.
    ours, theirs = os.openpty()
    with started("data", "rm", "demo", stdin=theirs) as process:
        assert process.stderr is not None
        while process.stderr.read(6) != "Delete":
            process.stderr.readline()
        assert ended(process, number)[0] == code
    os.close(theirs)
    os.close(ours)
    assert count(db, "datasets") == 1


_READING = """
import sys
import kdtui.cli
from kdtui.__main__ import main
from kdtui.exchange.read_ahead import ReadAhead

def command(open_app):
    values = ReadAhead(iter(lambda: sys.stdin.buffer.read(1), b""))
    print(next(value for value in values if value is not None).decode())
    sys.exit(3)

kdtui.cli.run_command_line = command
main()
"""


def test_a_command_ends_while_a_thread_still_reads_stdin() -> None:
    """Python itself aborts then, if the thread is in the middle of a read."""
    for _ in range(3):
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [sys.executable, "-c", _READING], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            assert process.stdin is not None
            process.stdin.write("x")
            process.stdin.flush()
            assert process.wait(60) == 3
            out, err = process.communicate()
            assert (out, err) == ("x\n", "")


def test_an_interrupt_while_the_program_starts_is_no_traceback(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kdtui.cli.run_command_line", interrupt)
    assert kdtui("data", "ls") == Result(130, "", "")


def test_an_interrupt_that_was_handled_does_not_change_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "import sys\n"
        "import kdtui.cli\n"
        "from kdtui.__main__ import main\n"
        "def run(_):\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(143)\n"
        "kdtui.cli.run_command_line = run\n"
        "main()\n"
    )
    assert subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path).returncode == 143


@pytest.mark.parametrize(("number", "code"), ENDINGS, ids=["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_within_a_callback_of_python_is_not_lost(number: int, code: int) -> None:
    program = (
        "import signal, sys, time, weakref\n"
        "from kdtui.cli.signals import signals_as_interrupts\n"
        "class Thing: pass\n"
        "def gone(_):\n"
        f"    signal.raise_signal({int(number)})\n"
        "try:\n"
        "    with signals_as_interrupts():\n"
        "        thing = Thing()\n"
        "        reference = weakref.ref(thing, gone)\n"
        "        del thing\n"
        "        time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (code, "")


@ends
def test_an_interrupt_while_a_class_is_made_ends_a_command(number: int, code: int) -> None:
    class Interrupted:
        def __set_name__(self, owner: type, name: str) -> None:
            signal.raise_signal(number)

    with pytest.raises((SystemExit, KeyboardInterrupt)) as stopped, signals_as_interrupts():
        type("Made", (), {"field": Interrupted()})
    assert getattr(stopped.value, "code", 130) == code
