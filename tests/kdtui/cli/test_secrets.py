"""Keys and tokens are nowhere in what a run leaves behind: not in files, not in outputs, not on a host."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kdtui.hosts.shell import ShellCommand
from kdtui.hosts.ssh import SSH_COMMAND
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from models.sft.job_files import EXIT_CODE
from store.sqlite import Database
from tests.support import sshd, stand_in
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Serve
from tests.support.fake_hub import add_from_hub, serving_hub
from tests.support.needs import needs_sshd
from tests.support.secrets import KEY, TOKEN, files_with_secrets, refusing_first
from tests.support.tiny import make_model
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("imported")


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set a key and a token that can be found everywhere, and keep all folders of the program in the test's own."""
    monkeypatch.setenv("MARKED_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def logged(script: Path, command: str) -> Path:
    """Make a script that runs a command as it was called; return a file with the arguments and variables of each call.

    The process list shows an argument only for as long as its process runs.
    """
    log = script.with_suffix(".log")
    script.write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$*"; env; }} >>{shlex.quote(str(log))}\nexec {command} "$@"\n')
    script.chmod(0o755)
    return log


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
    assert TOKEN not in str(fake.asked)
    db.close()
    assert files_with_secrets(tmp_path) == []


def test_a_token_reaches_the_hub_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with serving_hub(make_model(tmp_path / "tiny.gguf", width=128)) as hub:
        added = add_from_hub(hub.url, "owner/one")
        missing = add_from_hub(hub.url, "owner/none")
    assert (added.returncode, missing.returncode) == (0, 1), added.stderr
    # The hub's library asks some things without a token.
    assert {headers["authorization"] for headers in hub.asked if "authorization" in headers} == {f"Bearer {TOKEN}"}
    assert KEY not in str(hub.asked)
    told = added.stdout + added.stderr + missing.stdout + missing.stderr
    assert "has no such repository" in told
    assert not any(secret in told for secret in (KEY, TOKEN))
    assert files_with_secrets(tmp_path) == []


@needs_sshd
def test_neither_a_host_nor_its_trainings_learn_a_secret(
    kdtui: Kdtui, base: Path, server: sshd.Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir = tmp_path / "far"
    ran: list[str] = []

    class Noted(ShellCommand):
        """Notes all programs that run on the host."""

        def __init__(self, arguments: Sequence[str]) -> None:
            ran.append(shlex.join(arguments))
            super().__init__(arguments)

    monkeypatch.setattr("kdtui.hosts.transport.ShellCommand", Noted)
    ssh_calls = logged(tmp_path / "ssh", server.command)
    monkeypatch.setenv(SSH_COMMAND, str(tmp_path / "ssh"))
    python_calls = logged(tmp_path / "python", shlex.quote(sys.executable))
    adapter = stand_in.random_adapter(tmp_path / "made")
    stand_in.set_up(
        workdir,
        f'printf "%s\\n" "$@" >"$3/arguments"\nenv >"$3/environment"\n'
        f'cp -r "{adapter}" "$3/adapter"\necho 0 >"$3/exit_code"\n',
    )
    added = kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", workdir, "--python", tmp_path / "python")
    assert added.code == 0
    launched = kdtui("sft", "launch", "--name", "one", "--base", base, "--host", "far", "--dataset", "outdoor")
    assert launched.code == 0, launched.err
    until(lambda: (workdir / "jobs" / "one" / EXIT_CODE).exists())
    assert kdtui("sft", "fetch", "one").code == 0
    assert {"arguments", "environment"} <= {path.name for path in (workdir / "jobs" / "one").iterdir()}
    assert any("models.sft.host" in line for line in ran)
    assert not [line for line in ran if KEY in line or TOKEN in line]
    calls = python_calls.read_text()
    assert "-P -m models.sft.host" in calls
    assert not any(secret in calls for secret in (KEY, TOKEN))
    # ssh has the environment of this process, like any program that a user starts, but passes it on to no host.
    arguments = [line for line in ssh_calls.read_text().splitlines() if "ControlPath=" in line]
    assert arguments
    assert not [line for line in arguments if KEY in line or TOKEN in line]
    assert files_with_secrets(workdir) == []
    assert files_with_secrets(tmp_path / "store") == []
