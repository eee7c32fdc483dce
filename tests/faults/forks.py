"""Commands in forked processes, which a test can disturb. Importing the program takes longer than most commands.

`python -m tests.faults.forks PROGRAM [VECTORS]` imports a program once, and forks for each request on stdin. It opens
no store and no model itself, so that a fork loses no thread and no connection.
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import TracebackType
from typing import Any

import psutil
import typer

from models.llama import embedding
from tests.faults.failing_calls import FailingCall, arm, preload, shift_clock
from tests.support.remembered_vectors import load_known, remembering_embedder
from tests.support.repository import ROOT

Program = str
"""What a fork runs: "kdtui", or "trainer" for `python -m models.sft`."""


@dataclass(frozen=True)
class Ended:
    """How a process has ended: its exit code, or minus the signal that killed it, and its output."""

    code: int
    out: str
    err: str


class Forked:
    """A running command."""

    def __init__(self, server: "subprocess.Popen[str]", out: Path, err: Path) -> None:
        self._server, self._out, self._err = server, out, err
        self.process = int(self._answer()["process"])

    def send(self, number: signal.Signals) -> None:
        """Send a signal, which changes nothing if the command has ended."""
        os.kill(self.process, number)

    @property
    def state(self) -> str:
        """Its state, as `psutil` names them. A command that has ended is a zombie until `wait`."""
        return str(psutil.Process(self.process).status())

    def wait(self) -> Ended:
        """Wait for the end of the command. After that, it gets no signals."""
        self._write("\n")
        return Ended(int(self._answer()["code"]), self._out.read_text(), self._err.read_text(errors="replace"))

    def _write(self, text: str) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(text)
        self._server.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer


class Forks:
    """A process that imported a program and forks for each of its commands, one at a time.

    Args:
        shim: lets calls to the file system fail; see `failing_calls`.
        vectors: a file of known vectors, see `tests.support.remembered_vectors`. With it, commands are quick: they need
            not compute these vectors, and find all modules imported. Without it, they can be disturbed in that, too.
    """

    def __init__(self, program: Program, shim: Path | None = None, vectors: Path | None = None) -> None:
        self.can_fail = shim is not None
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forks", program, *([] if vectors is None else [str(vectors)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | ({} if shim is None else preload(shim)),
        )

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        fails: FailingCall | None = None,
        clock: int = 0,
    ) -> Forked:
        """Start a command.

        Args:
            folder: for the files with its output.
            fails: the call that fails; the process then has to have been started with the shim.
            clock: seconds by which its clock is moved; that needs the shim, too.
        """
        out, err = folder / "stdout", folder / "stderr"
        for path in (out, err):
            path.write_bytes(b"")
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "out": str(out),
            "err": str(err),
            "fails": None if fails is None else fails.to_dict(),
            "clock": clock,
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Forked(self._server, out, err)

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        fails: FailingCall | None = None,
        clock: int = 0,
    ) -> Ended:
        """Run a command to its end; see `start`."""
        return self.start(arguments, folder, environment, fails, clock).wait()

    def __enter__(self) -> "Forks":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


def _serve(program: Program, vectors: Path | None) -> None:
    """Fork for each request. In the child, run the command and leave by its `SystemExit`."""
    run = _imported(program, vectors)
    answers = os.fdopen(os.dup(1), "w")
    while line := sys.stdin.readline():
        request = json.loads(line)
        # An interrupt waits until the fork is the program. Before that, a shell would not have started it yet.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        child = os.fork()
        if child == 0:
            _become(request)
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
                run(request["arguments"])
            except KeyboardInterrupt:
                sys.exit(130)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        answers.write(json.dumps({"process": child}) + "\n")
        answers.flush()
        # Until the client is done with signals, the number of the process must not belong to another one.
        sys.stdin.readline()
        _, status = os.waitpid(child, 0)
        answers.write(json.dumps({"code": os.waitstatus_to_exitcode(status)}) + "\n")
        answers.flush()


_IMPORTS = {
    "kdtui": ("kdtui.__main__", "kdtui.cli", "models.llama.bindings", "openai", "rich.progress", "rich.table"),
    "trainer": ("models.sft.__main__", "models.sft.training", "peft", "torch", "transformers"),
}
"""The modules of each program, with those that it imports only where it uses them."""

_PACKAGES = ("kdtui.bundling", "kdtui.distill", "kdtui.exchange", "kdtui.workflows", "models", "store")
"""Packages from which commands import modules only where they use them."""

_LEFT_TO_OTHERS = ("models.adapters", "models.sft")
"""Packages that need torch, which a command leaves to other processes."""


def _imported(program: Program, vectors: Path | None) -> Callable[[list[str]], None]:
    """Import a program, and return its main function.

    Args:
        vectors: as in `Forks`.
    """
    main, *_ = [import_module(name) for name in _IMPORTS[program]]
    if vectors is not None:
        _prepare(vectors)

    def run(arguments: list[str]) -> None:
        if program == "trainer":
            sys.exit(main.main(arguments))
        # What was imported is not collected again at each exit.
        gc.freeze()
        sys.argv = ["kdtui", *arguments]
        main.main()
        sys.exit(0)

    return run


def _prepare(vectors: Path) -> None:
    """Do what each command would do anew: import modules, build the tree of commands, compute vectors of texts."""
    for package in map(import_module, _PACKAGES):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(_LEFT_TO_OTHERS):
                import_module(module.name)
    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(import_module("kdtui.cli").app)
    load_known(vectors)
    embedding.shipped_embedder = remembering_embedder  # type: ignore[assignment]


def _become(request: dict[str, Any]) -> None:
    """Turn the fork into a process that a shell would have started."""
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if request["fails"] is not None:
        arm(FailingCall(**request["fails"]))
    if request["clock"]:
        shift_clock(request["clock"])


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
