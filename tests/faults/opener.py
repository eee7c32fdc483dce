"""Opens models and adapters as a student does, in a process of its own: if a file ends it, the check before has failed.

    python -m tests.faults.opener

It reads a path a line: of a model, or of an adapter for the tiny model whose path is its argument. It writes a line for
each: empty, or why the file is refused.
"""

import json
import os
import select
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from models.errors import ModelError
from tests.support.repository import ROOT
from tests.support.tiny import make_model

_SECONDS = 100
"""For one file."""


class Opener:
    """The process, which starts when it is first needed, and again when it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._folder: TemporaryDirectory[str] | None = None

    def open(self, path: Path, kind: str) -> None:
        """Open a file.

        Args:
            kind: model, vectors, vocabulary or adapter.

        Raises:
            ModelError: it is refused.
            AssertionError: it ends the process, or keeps it busy.
        """
        if self._process is None:
            self._process = self._started()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(path), kind]) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], _SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            if not ready:
                process.kill()
            code = process.wait()
            self._process = None
            raise AssertionError(f"{kind}: the process ends with {code}" if ready else f"{kind}: it takes too long")
        refusal = json.loads(line)
        if refusal is not None:
            raise ModelError(refusal)

    def _started(self) -> "subprocess.Popen[str]":
        # Each process has its own: a file that another one has mapped must not change.
        self._folder = TemporaryDirectory()
        base = make_model(Path(self._folder.name) / "base.gguf", remember=False)
        environment = {**os.environ, "XDG_CACHE_HOME": self._folder.name, "GGML_NO_BACKTRACE": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.opener", str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )


def _open(path: Path, kind: str, base: Path) -> None:
    from models.llama.context import LlamaContext, TokenRun
    from models.llama.embedding import LocalEmbedder
    from models.llama.model import LlamaModel
    from models.llama.quantization import model_info
    from models.llama.student import Student
    from models.student_protocol import Adapter

    if kind == "vocabulary":
        model_info(path)
    elif kind == "vectors":
        with LocalEmbedder(path) as embedder:
            embedder.embed(["Tent", "a mat for the tent"])
    elif kind == "model":
        with Student(path, threads=1) as student, suppress(ModelError):
            context = student._context
            context.decode([TokenRun(0, 0, (student.model.tokenize("Tent and mat, 3 phones") or [0])[:40], wanted=1)])
    else:
        with (
            closing(LlamaModel(base)) as model,
            closing(LlamaContext(model, cells=256, batch=64, threads=1, flash=False)) as context,
        ):
            context.use_adapters([Adapter(path, 1.0)])
            with suppress(ModelError):
                context.decode([TokenRun(0, 0, model.tokenize("Tent and mat"), wanted=1)])


def main() -> None:
    """Open the files that are named on stdin."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        path, kind = json.loads(line)
        try:
            _open(Path(path), kind, Path(sys.argv[1]))
            refusal = None
        except ModelError as error:
            refusal = str(error)
        answers.write(json.dumps(refusal) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
