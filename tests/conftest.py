"""Fixtures for all tests: a store for each test, the demo data, and the real data if it is available."""

import gc
import json
import os
import shutil
import signal
import ssl
import sys
from collections.abc import Iterator
from functools import cache as cache_of
from importlib.resources import files
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import typer

from kdtui.hosts.ssh import SSH_COMMAND
from kdtui.workflows.data import embed
from models.embedded import embedded_student
from models.llama import embedding
from store.database import open_database
from store.sqlite import Database
from tests.support import processors, sshd
from tests.support.commands import Kdtui, Result
from tests.support.fake_chat_server import Serve, serving
from tests.support.needs import NO_SSHD
from tests.support.remembered_vectors import remembering_embedder
from tests.support.repository import ROOT
from tests.support.seeds import seed_of_today

# Tests in the background of a shell ignore interrupts, and their child processes would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Likewise hang-ups, under nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The time of an example depends on how busy the machine is.
hypothesis.settings.register_profile("kdtui", deadline=None)
hypothesis.settings.load_profile("kdtui")

# Before any code counts the processors.
processors.share()

# Collecting the tests imports many modules, all of which stay. Garbage collection of these took a tenth of the time.
gc.disable()


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers that `-n auto` starts."""
    return processors.workers()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say with which seeds the faults of today are drawn."""
    terminalreporter.write_line(f"first seed of the faults: {seed_of_today()}")


def pytest_collection_finish() -> None:
    """Turn on garbage collection without the imported modules, and seldom: there is enough memory."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)
    gc.enable()


REAL_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder that many tests share: the name of each entry contains everything that it depends on."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def database_of_the_test(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database and folders for the test, in the environment, so that no test touches those of the user."""
    path = tmp_path / "store" / "kdtui.db"
    monkeypatch.setenv("KDTUI_DB", str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for name in ("config", "state"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    return path


@pytest.fixture(scope="session", autouse=True)
def texts_embedded_once() -> Iterator[None]:
    """Compute the vectors of each text once for all tests of a process: a tenth of their time went there."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (embedding, embed):
            monkeypatch.setattr(module, "shipped_embedder", remembering_embedder)
        yield


@pytest.fixture(scope="session", autouse=True)
def commands_built_once() -> Iterator[None]:
    """Build the tree of commands once: it takes longer than most commands."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(typer.main, "get_command", cache_of(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Read the certificates of authorities once for all HTTP clients, which takes each of them 30 ms."""
    made: dict[object, ssl.SSLContext] = {}
    make = ssl.create_default_context

    def remembered(*what: Any, **named: Any) -> ssl.SSLContext:
        key = what, tuple(named.items()), os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        if key not in made:
            made[key] = make(*what, **named)
        return made[key]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(ssl, "create_default_context", remembered)
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store to copy: creating one takes longer than many tests."""
    path = tmp_path_factory.mktemp("migrated") / "kdtui.db"
    open_database(path).close()
    return path


@pytest.fixture
def db(database_of_the_test: Path, migrated: Path) -> Iterator[Database]:
    """An empty store, which the commands of the test use too."""
    database_of_the_test.parent.mkdir(parents=True)
    shutil.copy(migrated, database_of_the_test)
    store = open_database(database_of_the_test)
    yield store
    store.close()


@pytest.fixture
def outdoor() -> Path:
    """The demo sessions of outdoor products, as JSON Lines."""
    return Path(str(files("kdtui") / "demo_data" / "outdoor.jsonl"))


@pytest.fixture
def few(outdoor: Path, tmp_path: Path) -> Path:
    """A few demo sessions of each split, as JSON Lines, for short trainings."""
    path = tmp_path / "few" / "outdoor.jsonl"
    path.parent.mkdir()
    wanted = {f"o{number:02}" for number in (1, 2, 3, 4, 5, 6, 23, 24, 27, 34)}
    lines = outdoor.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if json.loads(line)["session"] in wanted), encoding="utf-8")
    return path


@pytest.fixture(params=["electronic", "clothing"])
def real_dataset(request: pytest.FixtureRequest) -> Path:
    """A real dataset; the test is skipped if the folder next to the checkout is missing."""
    path = REAL_DATA / str(request.param)
    if not path.is_dir():
        pytest.skip(f"the real dataset is not here: {path}")
    return path


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that starts chat servers whose answers the test defines."""
    with serving() as start:
        yield start


@pytest.fixture(scope="session")
def llama_server() -> Iterator[str]:
    """The address of a real llama-server with the embedded student, in this process."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(embedded_student())
    params.n_ctx = 4096
    params.n_parallel = 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = -1
    server = xllamacpp.Server(params)
    assert server.listening_address.startswith("http://127.0.0.1:")
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Sshd]:
    """A real sshd that kdtui's ssh knows as `gpu`."""
    if NO_SSHD:
        pytest.skip(NO_SSHD)
    with sshd.running(tmp_path / "sshd") as found:
        monkeypatch.setenv(SSH_COMMAND, found.command)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
        (tmp_path / "run").mkdir()
        yield found


@pytest.fixture
def kdtui(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kdtui:
    """Run a command line in this process: `kdtui("data", "ls")`."""
    from kdtui.__main__ import main

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["kdtui", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code: object = 0
        except SystemExit as error:
            code = error.code
        captured = capfd.readouterr()
        return Result(code if isinstance(code, int) else int(code is not None), captured.out, captured.err)

    return run
