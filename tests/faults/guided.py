"""Inputs that are guided by coverage: libFuzzer keeps those that reach new code, and changes them further.

It needs atheris, which installs on Linux and macOS with some versions of Python.

    python -m tests.faults.guided READER CORPUS --seconds 60
"""

import argparse
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CAN_GUIDE = find_spec("atheris") is not None
"""Whether atheris is installed."""

_PACKAGES = ["kdtui", "models", "store"]
_INPUTS = re.compile(r"stat::number_of_executed_units: +(\d+)")
_MOST_SECONDS = 10
"""For one input; one that takes longer counts as a crash."""


def guide(reader: str, corpus: Path, seconds: int, seed: int) -> dict[str, Any]:
    """Try inputs of a reader in another process for some seconds; return how many, and how it crashed if it did.

    Args:
        corpus: a folder that keeps inputs which reach different code; a later run begins with them, and with those
            of the reader that are kept in the repository.
    """
    arguments = [reader, str(corpus), "--seconds", str(seconds), "--seed", str(seed)]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.guided", *arguments], capture_output=True, text=True, errors="replace"
    )
    tried = _INPUTS.search(ended.stderr)
    losses = [] if tried and ended.returncode == 0 else [{"seed": seed, "losses": [_crash(ended)]}]
    return {"faults": {"tried": int(tried[1]) if tried else 0}, "losses": losses}


def _crash(ended: "subprocess.CompletedProcess[str]") -> str:
    said = ended.stdout + ended.stderr
    # The exception comes before what libFuzzer says about it.
    found = [at for sign in ("Uncaught Python exception", "ERROR: libFuzzer") if (at := said.find(sign)) >= 0]
    return f"exit code {ended.returncode}: {said[min(found, default=0) :][:1_500]}"


def _fuzz(options: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=_PACKAGES):
        from tests.faults.reader import REFUSALS
        from tests.faults.readers import readers
    [reader] = [each for each in readers() if each.name == options.reader]
    corpus: Path = options.corpus
    corpus.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(reader.examples):
        (corpus / f"example-{number}").write_bytes(example)
    for kept in reader.corpus:
        shutil.copy(kept, corpus / f"kept-{kept.name}")
    words = corpus.with_name(f"{corpus.name}.dict")
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in reader.words if word))

    def try_input(data: bytes) -> None:
        refusal = "one sentence"
        try:
            reader.read(data)
        except REFUSALS as error:
            refusal = str(error)
        assert refusal, "a refusal without a sentence"
        assert "\n" not in refusal, f"more than a sentence: {refusal!r}"

    flags = [
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed + 1}",
        f"-timeout={_MOST_SECONDS}",
        *([f"-dict={words}"] if reader.words else []),
        f"-artifact_prefix={corpus.parent}/crash-of-{corpus.name}-",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], try_input)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    """Run the command line. It ends with another exit code than 0 if the reader crashes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    _fuzz(parser.parse_args())


if __name__ == "__main__":
    main()
