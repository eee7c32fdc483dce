"""Hosts behind a real sshd that cannot be reached or do not answer: each problem gives one clear sentence."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import pytest

from kdtui.hosts.ssh import SshTransport
from kdtui.hosts.transport import TransportError, run_command
from models.sft.protocol import StatusRequest
from store.hosts import Host
from tests.support.reaching import asked, ran
from tests.support.sshd import Sshd, change_key, family, free_port
from tests.support.waiting import PATIENCE


def unknown_key(server: Sshd) -> None:
    (server.folder / "known_hosts").write_text("")


def wrong_key(server: Sshd) -> None:
    (server.folder / "authorized_keys").write_text("")


def encrypted_key(server: Sshd) -> None:
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "a secret", "-f", str(server.folder / "client")]
    subprocess.run(command, check=True)


def nobody_there(server: Sshd) -> None:
    server.stop()


def no_such_name(server: Sshd) -> None:
    server.write_config(HostName="there-is-no-such-host.invalid")


def jump_host_down(server: Sshd) -> None:
    server.write_config(ProxyJump=f"127.0.0.1:{free_port()}")


def jump_host_refuses(server: Sshd) -> None:
    server.write_config()
    jump = server.config.read_text().replace("Host gpu other", "Host jump")
    server.write_config(ProxyJump="jump", Port=free_port())
    server.config.write_text(server.config.read_text() + jump)


def bad_configuration(server: Sshd) -> None:
    server.write_config(NoSuchOption="yes")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            unknown_key,
            "its key is not known yet; connect once by hand, and compare it with what its owner says: ssh gpu",
        ),
        (change_key, "its key is not the one that is known, so it may be another machine"),
        (wrong_key, "it refuses your key (Permission denied (publickey)); for a key with a passphrase: ssh-add"),
        (encrypted_key, "for a key with a passphrase: ssh-add"),
        (nobody_there, "nothing listens on that port"),
        (no_such_name, "there is no machine of that name"),
        (jump_host_down, "the jump host is down, or does not let the connection through (ssh: connect to"),
        (jump_host_refuses, "the connection through (channel 0: open failed: connect failed: Connection refused"),
        (bad_configuration, "ssh's configuration is wrong"),
    ],
)
def test_a_host_that_cannot_be_reached_says_why(
    server: Sshd, host: Host, spoil: Callable[[Sshd], None], message: str
) -> None:
    spoil(server)
    with pytest.raises(TransportError) as problem:
        asked(host, lambda client: client.ask(StatusRequest(())))
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ssh: Could not resolve hostname gpu: Temporary failure in name resolution", "at the moment"),
        ("ssh: connect to host gpu port 22: Network is unreachable", "is this machine online?"),
        ("ssh: connect to host gpu port 22: Connection timed out", "is it up?"),
    ],
)
def test_a_missing_local_network_is_not_blamed_on_the_host(words: str, message: str) -> None:
    assert message in str(SshTransport("far", "gpu").explain(words))


def test_the_advised_command_shows_a_changed_key(server: Sshd, host: Host) -> None:
    change_key(server)
    with pytest.raises(TransportError) as problem:
        asked(host, lambda client: client.ask(StatusRequest(())))
    command = str(problem.value).rpartition("what its owner says: ")[2]
    shown = subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    another = server.folder / "another.pub"
    fingerprint = subprocess.run(["ssh-keygen", "-lf", str(another)], check=True, capture_output=True, text=True).stdout
    assert fingerprint.split()[1] in shown


@pytest.mark.parametrize("banner", [b"", b"SSH-2.0-OpenSSH_9.9\r\n"], ids=["before the banner", "behind it"])
def test_a_silent_server_is_given_up(server: Sshd, banner: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtui.hosts.ssh._OPENS", 3.0)
    monkeypatch.setattr("kdtui.hosts.ssh._CONNECT", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server.write_config(Port=silent.getsockname()[1])

        async def meet() -> None:
            silent.setblocking(False)
            loop = asyncio.get_running_loop()
            accepting = asyncio.create_task(loop.sock_accept(silent))
            opening = asyncio.create_task(SshTransport("far", "gpu").open())
            connection, _ = await accepting
            await loop.sock_sendall(connection, banner)
            try:
                await opening
            finally:
                connection.close()

        with pytest.raises(TransportError, match=r"says nothing|does not answer|cannot be reached"):
            asyncio.run(meet())


def test_a_frozen_network_is_noticed(server: Sshd) -> None:
    async def freeze() -> None:
        transport = SshTransport("far", "gpu", keepalive=1)
        await transport.open()
        frozen: list[int] = []
        try:
            assert server.process is not None
            frozen = family(server.process.pid)
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            await run_command(transport, ["true"], timeout=2 * PATIENCE)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
            await transport.close()

    started = time.monotonic()
    with pytest.raises(TransportError, match=r"does not answer|was lost"):
        asyncio.run(freeze())
    assert time.monotonic() - started < PATIENCE, "it was noticed before the command was given up"


def test_a_command_that_hangs_is_given_up(host: Host) -> None:
    with pytest.raises(TransportError, match="does not answer"):
        asyncio.run(ran(host, "sleep", "60", timeout=0.5))


def test_a_slow_command_with_output_is_not_given_up(host: Host) -> None:
    done = asyncio.run(ran(host, "sh", "-c", "for i in 1 2 3 4; do sleep 0.8; echo $i; done", timeout=3.0))
    assert done.out == b"1\n2\n3\n4\n"
