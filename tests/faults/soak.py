"""`make soak`: thousands of disturbed commands and of changed inputs. It resumes where it was stopped.

The results are in a folder, and the page docs/reliability.md is written from them. One trial is repeated by its seed:

    python -m tests.faults.soak --trial kills --command evaluate --seed 73995100
"""

import argparse
import faulthandler
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from tests.faults.commands import COMMANDS, DisturbedCommand
from tests.faults.failing_calls import CAN_FAIL, build_shim
from tests.faults.forks import Forks
from tests.faults.guided import CAN_GUIDE, guide
from tests.faults.mutations import mutated
from tests.faults.reader import REFUSALS
from tests.faults.readers import readers
from tests.faults.trials import Bench, Trial, copy_trial, kill_trial, server_trial, write_trial
from tests.support.fake_chat_server import serving
from tests.support.repository import ROOT

PROMISED = {"kills": 1_000, "writes": 1_000, "answers": 200, "copies": 200, "inputs": 100_000}
"""How often each kind of fault and of input is tried at least."""

_MORE = {"copies": 1.25}
"""How many more trials are planned than promised: in some of them, the command ends before the fault."""

LOAD_SECONDS, SESSIONS = 600.0, 10_000
"""How long the load lasts, and the sessions that one command answers."""

PLAN, RESULTS, LOAD, CORPUS = "plan.json", "results.jsonl", "load.json", "corpus"
"""In the folder: the parts of the work; a line for each that is done; what a load has shown; and guided inputs."""

_TRIED = ("kdtui", "models", "store", "tests/faults", "tests/support", "benchmarks/large_store.py", "requirements.lock")
"""What the results depend on."""

_PAGES = (":!tests/faults/page.py", ":!tests/faults/shortfalls.py")

_TRIALS: dict[str, Callable[[Bench, int], Trial]] = {
    "kills": kill_trial,
    "writes": write_trial,
    "answers": server_trial,
    "copies": copy_trial,
}

_CHUNK = 20
"""Trials of a command that one process makes before it reports: after an interrupt, at most these are made again."""

_INPUTS = 2_000
"""Inputs of a reader that one process tries before it reports."""

_SLOW, _HANGS = 5.0, 300.0
"""Seconds after which a reader counts as slow, and after which it counts as stuck."""

_MEMORY = 2 << 30
"""Bytes that the readers can take besides what their process has."""

_LEAST_WRITES = 60
"""Failing writes of each command at least: more than it has kinds of calls."""


@dataclass(frozen=True)
class Part:
    """A part of the work: trials of a command, or inputs of a reader.

    Attributes:
        kind: kills, writes, answers, copies, inputs or guided.
        name: of the command or the reader.
        first: seed of its first trial.
        count: trials, or seconds of guided inputs.
    """

    kind: str
    name: str
    first: int
    count: int


def plan(first_seed: int, trials: Mapping[str, int], inputs: int, guided: int) -> Iterator[Part]:
    """Share the trials of each kind among the commands that they can disturb, and the inputs among the readers.

    Args:
        guided: seconds of guided inputs for each reader.
    """
    disturbed: Mapping[str, Callable[[DisturbedCommand], bool]] = {
        "kills": lambda _: True,
        "writes": lambda _: CAN_FAIL,
        "answers": lambda command: command.needs_teacher,
        "copies": lambda command: CAN_FAIL and command.writes_store,
    }
    for kind, total in trials.items():
        commands = [each for each in COMMANDS if disturbed[kind](each)]
        for command, share in zip(commands, _shares(total, [each.weight for each in commands]), strict=True):
            count = max(share, min(_LEAST_WRITES, total)) if kind == "writes" else share
            for done in range(0, count, _CHUNK):
                yield Part(kind, command.name, first_seed + done, min(_CHUNK, count - done))
    every = readers()
    for reader, count in zip(every, _shares(inputs, [each.weight for each in every]), strict=True):
        for done in range(0, count, _INPUTS):
            yield Part("inputs", reader.name, first_seed + done, min(_INPUTS, count - done))
    if CAN_GUIDE and guided:
        for reader in every:
            if reader.elsewhere:
                continue
            yield Part("guided", reader.name, first_seed, guided)


def _shares(total: int, weights: Sequence[float]) -> list[int]:
    """Share a number by weights; rounded up, so that no trial is missing in the sum."""
    return [ceil(total * weight / sum(weights)) for weight in weights]


def run_part(part: Part, folder: Path) -> dict[str, Any]:
    """Do a part of the work, and return its result: the numbers of trials, and what was lost.

    Args:
        folder: keeps the inputs that were guided to new code.
    """
    began = time.monotonic()
    if part.kind == "guided":
        result = guide(part.name, folder / CORPUS / part.name.replace(" ", "-"), part.count, part.first)
    else:
        result = _try_inputs(part) if part.kind == "inputs" else _disturb(part)
    return {**asdict(part), **result, "seconds": round(time.monotonic() - began, 1)}


def _disturb(part: Part) -> dict[str, Any]:
    command = _command(part.name)
    with TemporaryDirectory() as folder, serving() as serve:
        place = Path(folder)
        shim = build_shim(place) if CAN_FAIL else None
        with Forks(command.program, shim) as forks:
            bench = Bench(command, place / "bench", forks, serve)
            trials = [_TRIALS[part.kind](bench, part.first + number) for number in range(part.count)]
    return {
        "faults": Counter(trial.fault for trial in trials),
        "calls": len(bench.undisturbed.calls),
        "kinds": sorted({*bench.undisturbed.calls}),
        "failed": sorted({trial.call for trial in trials if trial.call}),
        "losses": [asdict(trial) for trial in trials if trial.losses],
    }


def _try_inputs(part: Part) -> dict[str, Any]:
    [reader] = [each for each in readers() if each.name == part.name]
    counts: Counter[str] = Counter()
    losses, slowest = [], 0.0
    with limited_memory():
        for number in range(part.count):
            seed = part.first + number
            data = mutated(random.Random(seed), reader.examples, reader.words)
            began = time.monotonic()
            # An input that hangs ends this process, and with it the run.
            faulthandler.dump_traceback_later(_HANGS, exit=True)
            try:
                reader.read(data)
                counts["read"] += 1
            except REFUSALS as error:
                counts["refused"] += 1
                if not str(error) or "\n" in str(error):
                    losses.append({"seed": seed, "losses": [f"no sentence: {error!r}"]})
            except Exception as error:
                losses.append({"seed": seed, "losses": [f"{type(error).__name__}: {error}"[:300]]})
            faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, time.monotonic() - began)
    if slowest > _SLOW:
        losses.append({"seed": part.first, "losses": [f"an input took {slowest:.1f} s"]})
    return {"faults": counts, "losses": losses, "slowest": round(slowest, 3)}


@contextmanager
def limited_memory() -> Iterator[None]:
    """Let this process take only some more memory: an input that fills it is an error."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _command(name: str) -> DisturbedCommand:
    return next(each for each in COMMANDS if each.name == name)


def rows_of(results: Path) -> list[dict[str, Any]]:
    """Return the results of this version of the program; those of others say nothing about it."""
    if not results.exists():
        return []
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["version"] == version()]


@cache
def version() -> str:
    """Return a hash of the code that is tried, and of these trials: other changes leave results valid."""
    listed = _git("ls-files", "--stage", *_TRIED, *_PAGES)
    changes = _git("diff", "HEAD", "--", *_TRIED, *_PAGES)
    return sha256(f"{listed}\n{changes}".encode()).hexdigest()[:12]


def commit() -> str:
    """Return the commit of this repository."""
    return _git("rev-parse", "--short", "HEAD")


def has_changes() -> bool:
    """Return whether the code that is tried differs from the commit."""
    return bool(_git("diff", "HEAD", "--", *_TRIED, *_PAGES))


def _git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def planned_parts(folder: Path) -> list[Part]:
    """Return the parts of the work in a folder; none if it has not begun."""
    path = folder / PLAN
    return [Part(**part) for part in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def planned_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the result of each part of the plan that is done."""
    rows = {_part_of(row): row for row in rows_of(folder / RESULTS)}
    return [rows[part] for part in planned_parts(folder) if part in rows]


def _part_of(row: Mapping[str, Any]) -> Part:
    return Part(row["kind"], row["name"], row["first"], row["count"])


def _parts_to_do(results: Path, every: Sequence[Part]) -> list[Part]:
    """Return the parts without a result, in a mixed order, so that an interrupted run has tried a bit of everything."""
    done = {_part_of(row) for row in rows_of(results)}
    left = [part for part in every if part not in done]
    random.Random(0).shuffle(left)
    return left


def _soak(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / RESULTS
    every = list(plan(options.seed, {kind: getattr(options, kind) for kind in _TRIALS}, options.inputs, options.guided))
    (folder / PLAN).write_text(json.dumps([asdict(part) for part in every]), encoding="utf-8")
    left, began = _parts_to_do(results, every), time.monotonic()
    print(f"seed {options.seed}: {len(every)} parts, {len(every) - len(left)} done before", file=sys.stderr)
    with ProcessPoolExecutor(options.processes) as pool, results.open("a", encoding="utf-8") as file:
        for number, future in enumerate(as_completed(pool.submit(run_part, part, folder) for part in left), start=1):
            row = {**future.result(), "version": version(), "processes": options.processes}
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(
                f"{number} of {len(left)}, {time.monotonic() - began:,.0f} s: {row['kind']} of {row['name']}, "
                f"{row['count']} trials, {len(row['losses'])} losses",
                file=sys.stderr,
            )
            for each in row["losses"]:
                print(f"  seed {each['seed']}: {each['losses']}", file=sys.stderr)


def _one(options: argparse.Namespace) -> int:
    count = options.guided if options.trial == "guided" else 1
    result = run_part(Part(options.trial, options.command, options.seed, count), options.folder)
    print(json.dumps(result, indent=1))
    return 1 if result["losses"] else 0


def main() -> int:
    """Run the command line. Return the exit code: 1 if a repeated trial lost anything; the page counts those of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("soak"), help="for the results")
    for kind in _TRIALS:
        parser.add_argument(f"--{kind}", type=int, default=round(_MORE.get(kind, 1) * PROMISED[kind]))
    parser.add_argument("--inputs", type=int, default=PROMISED["inputs"])
    parser.add_argument("--guided", type=int, default=60, help="seconds of inputs guided by coverage, for each reader")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial of each command")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--trial", choices=[*_TRIALS, "inputs", "guided"], help="repeat only one trial")
    parser.add_argument("--command", help="the command or the reader of that trial")
    options = parser.parse_args()
    if options.trial:
        return _one(options)
    _soak(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
