"""Connections to a real sshd: all commands share one, and nothing stays behind when it ends."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.ssh import SshTransport, ask_shared, shared_socket
from kdtui.hosts.transport import run_command
from models.sft.protocol import StatusAnswer, StatusRequest
from store.hosts import Host
from tests.support.commands import Kdtui
from tests.support.reaching import add_far, asked
from tests.support.sshd import Sshd, children
from tests.support.waiting import until


def test_one_connection_serves_all_commands_and_is_closed_afterwards(server: Sshd, host: Host) -> None:
    async def many(client: HostClient) -> list[Any]:
        return await asyncio.gather(*(client.ask(StatusRequest(())) for _ in range(6)))

    asked(host, lambda client: client.send_code())
    before = (server.folder / "sshd.log").read_text().count("Accepted publickey")
    assert asked(host, many) == [StatusAnswer({})] * 6
    assert (server.folder / "sshd.log").read_text().count("Accepted publickey") == before + 1
    assert server.process is not None
    until(lambda: not children(server.process.pid))  # type: ignore[union-attr]


@pytest.mark.usefixtures("server")
def test_commands_beyond_the_limit_of_a_connection_wait() -> None:
    async def many() -> list[Any]:
        transport = SshTransport("far", "gpu")
        await transport.open()
        try:
            return await asyncio.gather(*(run_command(transport, ["sleep", "0.3"]) for _ in range(24)))
        finally:
            await transport.close()

    assert [done.code for done in asyncio.run(many())] == [0] * 24


async def asked_within(host: Host) -> None:
    async with reach(host):
        raise AssertionError("it has been reached")


def test_a_cancelled_connection_leaves_nothing_behind(server: Sshd, host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server.write_config(Port=silent.getsockname()[1])

        async def cancel() -> None:
            opening = asyncio.create_task(asked_within(host))
            silent.setblocking(False)
            connection, _ = await asyncio.get_running_loop().sock_accept(silent)
            opening.cancel()
            await asyncio.wait([opening])
            connection.close()
            # The event loop would end them when it ends.
            assert not [each for each in psutil.Process().children() if each.name() == "ssh"]

        asyncio.run(cancel())


def test_a_frozen_shared_connection_is_not_used(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtui.hosts.ssh._ASKS", 0.3)
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(shared_socket("gpu"))
        frozen.listen()
        assert not ask_shared("gpu", "check")
        assert asked(host, lambda client: client.ask(StatusRequest(()))).trainings == {}


def test_a_shared_connection_serves_all_commands_until_the_host_is_removed(
    kdtui: Kdtui, server: Sshd, tmp_path: Path, quick: Path
) -> None:
    add_far(kdtui, tmp_path, "--python", quick)
    assert "connected to far" in kdtui("host", "connect", "far").err
    log = server.folder / "sshd.log"
    assert log.read_text().count("Accepted publickey") == 1
    # No key is needed any more, and an existing connection is not replaced.
    (server.folder / "authorized_keys").write_text("")
    assert kdtui("host", "check", "far").code == 0
    assert "there is already a connection to far" in kdtui("host", "connect", "far").err
    assert log.read_text().count("Accepted publickey") == 1
    assert kdtui("host", "rm", "far", "--yes").code == 0
    assert server.process is not None
    pid = server.process.pid
    until(lambda: not children(pid))
    add_far(kdtui, tmp_path)
    result = kdtui("host", "connect", "far")
    assert (result.code, "could not log in to host" in result.err) == (1, True)


def test_a_dead_connection_is_replaced(kdtui: Kdtui, server: Sshd, tmp_path: Path, quick: Path) -> None:
    add_far(kdtui, tmp_path, "--python", quick)
    kdtui("host", "connect", "far")
    server.stop()
    subprocess.run(["pkill", "-9", "-f", str(server.config)], check=False)
    server.start()
    assert kdtui("host", "check", "far").code == 0
    assert "connected to far" in kdtui("host", "connect", "far").err
    assert kdtui("host", "rm", "far", "--yes").code == 0


def test_a_killed_client_leaves_nothing_behind(server: Sshd, tmp_path: Path) -> None:
    job = tmp_path / "jobs" / "one"
    job.mkdir(parents=True)
    (job / "log").write_text("one\n")
    code = (
        "import asyncio, sys\n"
        "from kdtui.hosts.client import reach\n"
        "from models.sft.log_pieces import LogPosition\n"
        "from store.hosts import Host\nfrom store.records import HostSettings\n"
        "async def main():\n"
        "    async with reach(Host('far', 'gpu', sys.argv[1], HostSettings(python=sys.executable))) as client:\n"
        "        await client.send_code()\n"
        "        async for piece in client.follow('one', 'key', LogPosition()):\n"
        "            print(piece.text.decode(), end='', flush=True)\n"
        "asyncio.run(main())\n"
    )
    client = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.readline() == b"one\n"
    client.kill()
    client.wait()
    assert server.process is not None
    pid = server.process.pid
    until(lambda: not children(pid))
    here = subprocess.run(["pgrep", "-f", str(server.config)], capture_output=True, text=True, check=False).stdout
    assert here == ""
