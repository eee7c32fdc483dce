"""Keys and tokens are nowhere in what a run leaves behind: not in files, not in outputs, not on a host."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from models.sft.job_files import EXIT_CODE
from store.sqlite import Database
from tests.support import sshd, stand_in
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import GOOD, Fake, Serve
from tests.support.fake_teacher import good
from tests.support.needs import needs_sshd
from tests.support.waiting import until

KEY, TOKEN = "sk-marked-9b7d1c", "hf_marked_4e20aa"

pytestmark = pytest.mark.usefixtures("imported")


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set a key and a token that can be found everywhere, and keep all folders of the program in the test's own."""
    monkeypatch.setenv("MARKED_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def files_with_secrets(folder: Path) -> list[str]:
    secrets = (KEY.encode(), TOKEN.encode())
    files = (path for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in files if any(secret in path.read_bytes() for secret in secrets)]


def command_lines() -> Iterator[str]:
    """Yield the arguments of all processes."""
    for process in psutil.process_iter():
        try:
            yield " ".join(process.cmdline())
        except psutil.Error:
            continue


def refusing_first(fake: Fake, number: int) -> None:
    """Refuse the first request and repeat its key, as some servers do; then be a good teacher, student and judge."""
    if number == 0:
        fake.send({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401)
    elif "state the rules" in str(fake.body) or "why" in str(fake.body):
        good(fake, number)
    else:
        fake.complete(GOOD)


def test_a_key_is_in_no_file_and_no_output(db: Database, kdtui: Kdtui, serve: Serve, tmp_path: Path) -> None:
    mine_patterns(db, "outdoor")
    url, fake = serve(refusing_first)
    told = []
    for arguments in (
        ("knowledge", "distill", "--teacher", f"{url}#m", "--key", "MARKED_KEY"),
        ("knowledge", "distill", "--teacher", f"{url}#m", "--key", "MARKED_KEY"),
        ("evaluate", "--student", f"{url}#m", "--split", "train", "--limit", 3),
        ("evaluate", "--student", "patterns", "--judge", f"{url}#m", "--judge-key", "MARKED_KEY", "--limit", 2),
        ("knowledge", "calls", "--json"),
        ("run", "ls", "--json"),
        ("doctor",),
    ):
        result = kdtui(*arguments)
        told.append(result.out + result.err)
    assert {asked["authorization"] for asked in fake.asked} == {f"Bearer {KEY}"}
    assert "refuses the key in the variable MARKED_KEY" in told[0]
    assert not any(secret in "".join(told) for secret in (KEY, TOKEN))
    db.close()
    assert files_with_secrets(tmp_path) == []


@needs_sshd
def test_neither_a_host_nor_its_trainings_learn_a_secret(
    kdtui: Kdtui, base: Path, server: sshd.Sshd, tmp_path: Path
) -> None:
    assert server.process is not None
    workdir = tmp_path / "far"
    adapter = stand_in.random_adapter(tmp_path / "made")
    stand_in.set_up(
        workdir, f'env >"$3/environment"\nsleep 1\ncp -r "{adapter}" "$3/adapter"\necho 0 >"$3/exit_code"\n'
    )
    added = kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", workdir, "--python", sys.executable)
    assert added.code == 0
    launched = kdtui("sft", "launch", "--name", "one", "--base", base, "--host", "far", "--dataset", "outdoor")
    assert launched.code == 0, launched.err
    until(lambda: (workdir / "jobs" / "one" / "environment").exists())
    assert not [line for line in command_lines() if KEY in line or TOKEN in line]
    until(lambda: (workdir / "jobs" / "one" / EXIT_CODE).exists())
    assert kdtui("sft", "fetch", "one").code == 0
    assert files_with_secrets(workdir) == []
    assert files_with_secrets(tmp_path / "store") == []
