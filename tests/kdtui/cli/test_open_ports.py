"""kdtui listens on no port: neither a command with all its children, nor the app."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import sshd, stand_in
from tests.support.commands import Kdtui
from tests.support.needs import needs_sshd
from tests.support.open_ports import Watched, watching
from tests.support.waiting import until


def ports_of(*arguments: object) -> Watched:
    """Run a command in its own process, and return what was seen of it."""
    command = [sys.executable, "-m", "kdtui", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with watching(process.pid) as watched:
        _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    return watched


@pytest.mark.slow
@needs_sshd
@pytest.mark.usefixtures("imported")
def test_a_training_on_a_host_opens_no_port(kdtui: Kdtui, base: Path, server: sshd.Sshd, tmp_path: Path) -> None:
    assert server.process is not None
    workdir, adapter = tmp_path / "far", stand_in.random_adapter(tmp_path / "made")
    stand_in.set_up(workdir, f'sleep 1\ncp -r "{adapter}" "$3/adapter"\necho 0 >"$3/exit_code"\n')
    assert kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", workdir, "--python", sys.executable).code == 0
    with watching(server.process.pid) as on_host:
        launched = ports_of("sft", "launch", "--name", "one", "--base", base, "--host", "far", "--dataset", "outdoor")
        followed = ports_of("sft", "logs", "one", "--follow")
    for seen in (launched, followed):
        assert seen.listening == set()
        assert "ssh" in seen.programs
    # Neither does what it runs there.
    assert on_host.listening == {server.port}
    assert len(on_host.programs) > 1


def test_a_port_that_is_open_for_a_moment_is_seen() -> None:
    with watching(os.getpid()) as watched, socket.create_server(("127.0.0.1", 0)) as opened:
        looks = watched.looks
        until(lambda: watched.looks > looks + 1)
    assert opened.fileno() == -1
    assert watched.listening
