"""The commands that are disturbed, each on a small site: a folder with a store, its data and a tiny student."""

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from models.sft.job_files import EXIT_CODE
from store.database import open_database
from store.jobs import list_jobs
from store.runs import list_runs
from tests.faults.contents import Contents, contents
from tests.faults.forks import Ended, Program
from tests.faults.moody_server import PATIENCE
from tests.support import stand_in
from tests.support.repository import ROOT
from tests.support.sessions import few_products
from tests.support.tiny import make_model
from tests.support.tiny_job import WORDS, line, write_job
from tests.support.waiting import until


@dataclass(frozen=True)
class Site:
    """A folder in which a command runs.

    Attributes:
        teacher: the address of the teacher; "" without one.
    """

    folder: Path
    teacher: str = ""

    @property
    def store(self) -> Path:
        return self.folder / "store" / "kdtui.db"

    @property
    def data(self) -> Path:
        return self.folder / "data.jsonl"

    @property
    def student(self) -> Path:
        return self.folder / "tiny.gguf"

    @property
    def workdir(self) -> Path:
        """The working directory of a host."""
        return self.folder / "far"

    @property
    def began(self) -> Path:
        """A file with a line for each beginning of a training on the host."""
        return self.folder / "began"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of its commands, which touch nothing outside of the folder."""
        folders = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CACHE", "CONFIG", "STATE", "DATA")}
        return {**os.environ, **folders, "KDTUI_DB": str(self.store), "TMPDIR": str(self.folder), "NO_COLOR": "1"}


@dataclass(frozen=True)
class DisturbedCommand:
    """A command, and how to compare its results.

    Attributes:
        prepare: makes the site, once for all runs.
        arguments: of the command.
        again: of the command that resumes it.
        retry: arguments of the command that asks a model again what failed.
        keeps_answers: whether it never asks a model again what it answered.
        refusal: words of the error with which a command refuses to do again what is done; "" if it does not.
        result: what an undisturbed run and a disturbed one have in common.
        weight: its share of the trials, which is smaller for slow commands.
    """

    name: str
    prepare: Callable[[Site], None]
    arguments: Callable[[Site], Sequence[str]]
    again: Callable[[Site], Sequence[str]]
    result: Callable[[Site, Ended], object]
    retry: Callable[[Site], Sequence[str]]
    program: Program = "kdtui"
    refusal: str = ""
    keeps_answers: bool = False
    needs_teacher: bool = False
    weight: float = 1.0

    @property
    def writes_store(self) -> bool:
        """Whether its result is in the store."""
        return self.result in (stored, upgraded)


def stored(site: Site, _: Ended) -> Contents:
    """Compare the contents of the store."""
    return contents(site.store)


def printed(_: Site, ended: Ended) -> object:
    """Compare what was printed, without times."""
    rows = [json.loads(each) for each in ended.out.splitlines()]
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def written(site: Site, _: Ended) -> object:
    """Compare the files that were written."""
    if site.output.is_file():
        return site.output.read_bytes()
    # SIGKILL leaves the file that was being written, under a hidden name that no program takes for a result.
    found = (path for path in sorted(site.output.rglob("*")) if path.is_file() and path.suffix != ".part")
    return {str(path.relative_to(site.output)): path.read_bytes() for path in found}


def upgraded(site: Site, _: Ended) -> object:
    """Compare the contents of the store, and of the copy of it that is kept before an upgrade."""
    return [contents(site.store), *map(contents, sorted(site.store.parent.glob(f"{site.store.name}.m*")))]


def quantized(site: Site, _: Ended) -> object:
    """Compare the store, and the bytes of the models next to it."""
    models = sorted(site.store.parent.rglob("*.gguf"))
    return [contents(site.store), *(sha256(path.read_bytes()).hexdigest() for path in models)]


def fetched(site: Site, _: Ended) -> object:
    """Compare an adapter that was fetched, and its name."""
    folder = site.store.parent / "jobs" / "one" / "adapter"
    return [contents(site.store)["models"], *(path.read_bytes() for path in sorted(folder.glob("*.safetensors")))]


def launched(site: Site, _: Ended) -> object:
    """Compare how often a training has begun on a host, and what it was started with."""
    job = site.workdir / "jobs" / "one"
    if site.began.exists():
        until((job / EXIT_CODE).exists)
    began = site.began.read_text().count("\n") if site.began.exists() else 0
    examples = {path.name: path.read_bytes() for path in sorted(job.glob("*.jsonl"))}
    leftovers = [path.name for path in job.parent.glob("*.part")] if job.parent.exists() else []
    return [began, examples, leftovers, len(contents(site.store)["jobs"])]


def trained(site: Site, _: Ended) -> object:
    """Compare the weights of an adapter."""
    return (site.folder / "job" / "adapter" / "adapter_model.safetensors").read_bytes()


def _demo() -> str:
    return (files("kdtui") / "demo_data" / "outdoor.jsonl").read_text(encoding="utf-8")


def _with_data(site: Site) -> None:
    site.data.write_text(_demo())


def _imported(site: Site) -> None:
    _with_data(site)
    db = open_database(site.store)
    list(import_dataset(db, site.data, "outdoor"))
    db.close()


def _mined(site: Site) -> None:
    _imported(site)
    db = open_database(site.store)
    mine_patterns(db, "outdoor")
    db.close()


def _distilled(site: Site) -> None:
    _mined(site)
    db = open_database(site.store)
    list(distill_annotations(db, "outdoor", ["rule", "thought"]))
    db.close()


def _with_student(site: Site) -> None:
    _imported(site)
    make_model(site.student)


def _with_validation(site: Site) -> None:
    """Make enough validation sessions to calibrate on, with few products each."""
    sessions = [few_products(json.loads(line)) for line in _demo().splitlines()]
    site.data.write_text("".join(json.dumps({**each, "split": "valid"}) + "\n" for each in sessions))
    db = open_database(site.store)
    list(import_dataset(db, site.data, "outdoor"))
    db.close()
    make_model(site.student)


def _with_study(site: Site) -> None:
    _distilled(site)
    make_model(site.student)
    (site.folder / "study.toml").write_text(
        'name = "formats"\ndataset = ["outdoor"]\nsessions = 3\n\n'
        '[[question]]\ntitle = "Which format?"\ncompare = "formats"\nbaseline = "none"\n'
        f"formats = ['none', 'rule', 'thought']\nutilization = ['icl']\nstudent = ['{site.student}']\n"
    )


def _of_older_version(site: Site) -> None:
    site.store.parent.mkdir()
    released = ROOT / "tests" / "store" / "released" / "0.1.0.db.gz"
    site.store.write_bytes(gzip.decompress(released.read_bytes()))


def _with_host(site: Site) -> None:
    """Make a host whose trainer notes that it begins, and is done at once."""
    _with_student(site)
    adapter = stand_in.random_adapter(site.folder / "made")
    begins = f'echo began >>"{site.began}"\n'
    stand_in.set_up(site.workdir, f'{begins}cp -r "{adapter}" "$3/adapter"\necho 0 >"$3/exit_code"\n')
    _run(site, ("host", "add", "far", "--local", "--workdir", str(site.workdir), "--python", sys.executable))


def _trained_on_host(site: Site) -> None:
    """Make a training that is done on a host, whose adapter is still there."""
    _with_host(site)
    _run(site, _launch(site))
    until((site.workdir / "jobs" / "one" / EXIT_CODE).exists)


def _run(site: Site, arguments: Sequence[str]) -> None:
    command = [sys.executable, "-m", "kdtui", *arguments]
    subprocess.run(command, env=site.environment, check=True, capture_output=True)


def _launch(site: Site) -> Sequence[str]:
    return ("sft", "launch", "--name", "one", "--base", str(site.student), "--host", "far", "--dataset", "outdoor")


def _launched_again(site: Site) -> Sequence[str]:
    """Resume a training whose launch was interrupted, or launch it if it is not stored."""
    db = open_database(site.store)
    is_stored = any(job.name == "one" for job in list_jobs(db))
    db.close()
    return ("sft", "resume", "one") if is_stored else _launch(site)


def _with_job(site: Site) -> None:
    folder = site.folder / "job"
    folder.mkdir()
    chance = random.Random(0)
    for name, count in (("train", 24), ("valid", 4)):
        lines = [line(chance.choices(WORDS, k=chance.randint(2, 4))) for _ in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    write_job(folder, base=str(make_model(site.student)), epochs=3, checkpoints=4, lora={"rank": 4})


def _command(
    name: str,
    prepare: Callable[[Site], None],
    arguments: Callable[[Site], Sequence[str]],
    result: Callable[[Site, Ended], object] = stored,
    *,
    again: Callable[[Site], Sequence[str]] | None = None,
    retry: Callable[[Site], Sequence[str]] | None = None,
    **more: Any,
) -> DisturbedCommand:
    again = again or arguments
    return DisturbedCommand(name, prepare, arguments, again, result, retry or again, **more)


def _resumed_run(site: Site) -> Sequence[str]:
    """Resume the run that was interrupted, or start one if there is none."""
    if site.store.exists():
        db = open_database(site.store)
        runs = list_runs(db)
        db.close()
        if runs:
            return ("evaluate", "--resume", str(runs[-1].run.id), "--json")
    return _evaluate(site)


def _evaluate(site: Site) -> Sequence[str]:
    """Evaluate the model at an endpoint, if there is one, or a student that needs no model."""
    student = f"{site.teacher}#m" if site.teacher else "patterns"
    split = "test" if site.teacher else "train"
    return ("evaluate", "--dataset", "outdoor", "--split", split, "--student", student, "--json")


def _distill(site: Site) -> Sequence[str]:
    """Distil with a teacher."""
    patience = ("--timeout", str(PATIENCE))
    return ("knowledge", "distill", "--teacher", f"{site.teacher}#m", "--limit", "6", "--keep", *patience)


COMMANDS: Sequence[DisturbedCommand] = (
    _command(
        "import",
        _with_data,
        lambda site: ("data", "import", str(site.data), "--dataset", "outdoor"),
        refusal="exists already",
    ),
    _command("mine", _imported, lambda _: ("knowledge", "mine", "--dataset", "outdoor", "--replace")),
    _command("distill", _mined, lambda _: ("knowledge", "distill", "--dataset", "outdoor", "--replace")),
    _command(
        "distill with a teacher",
        _mined,
        _distill,
        retry=lambda site: (*_distill(site), "--retry-failed"),
        keeps_answers=True,
        needs_teacher=True,
    ),
    _command("embed", _with_student, lambda site: ("data", "embed", "--with", str(site.student))),
    _command(
        "generate",
        _mined,
        lambda _: ("generate", "o01", "o02", "o34", "--dataset", "outdoor", "--student", "patterns", "--json"),
        printed,
    ),
    _command("evaluate", _mined, _evaluate, again=_resumed_run),
    _command("evaluate an endpoint", _mined, _evaluate, again=_resumed_run, needs_teacher=True),
    _command(
        "calibrate",
        _with_validation,
        lambda site: ("calibrate", "--dataset", "outdoor", "--student", str(site.student), "--strategy", "pairs"),
        weight=0.5,
    ),
    _command(
        "study", _with_study, lambda site: ("study", "run", str(site.folder / "study.toml"), "--json"), weight=0.5
    ),
    _command("upgrade the database", _of_older_version, lambda _: ("data", "ls", "--json"), upgraded),
    _command(
        "launch on a host",
        _with_host,
        _launch,
        launched,
        again=_launched_again,
        refusal="training 'one' is",
        weight=0.5,
    ),
    _command("fetch an adapter", _trained_on_host, lambda _: ("sft", "fetch", "one"), fetched),
    _command(
        "export a dataset",
        _imported,
        lambda site: ("data", "export", "--dataset", "outdoor", "--output", str(site.output)),
        written,
    ),
    _command(
        "export knowledge",
        _distilled,
        lambda site: ("knowledge", "export", "--dataset", "outdoor", "--output", str(site.output), "--replace"),
        written,
    ),
    _command(
        "quantize",
        _with_student,
        lambda site: ("model", "quantize", str(site.student), "--to", "F16", "--name", "smaller"),
        quantized,
        refusal="there is a model 'smaller' already",
    ),
    _command(
        "train",
        _with_job,
        lambda site: (str(site.folder / "job"),),
        trained,
        program="trainer",
        weight=0.2,
    ),
)
