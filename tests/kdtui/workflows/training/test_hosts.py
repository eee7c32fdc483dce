"""Hosts behind a real sshd: each connection problem gives one clear sentence, and nothing stays on the host."""

import asyncio
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtui.errors import KdtuiError
from kdtui.hosts import package
from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.ssh import SSH_COMMAND, SshTransport, ask_shared, check_alias, shared_socket
from kdtui.hosts.transport import LocalTransport, TransportError, run_command, stream_command
from kdtui.workflows.training import hosts
from models.sft.protocol import StatusAnswer, StatusRequest
from models.sft.state import starter_pid
from store.hosts import Host, add_host
from store.records import HostSettings
from store.sqlite import Database
from tests.support import sshd
from tests.support.commands import Kdtui
from tests.support.reaching import asked
from tests.support.repository import ROOT
from tests.support.sshd import children, family
from tests.support.waiting import PATIENCE, until


async def asked_within(host: Host) -> None:
    async with reach(host):
        raise AssertionError("it has been reached")


async def ran(host: Host, *arguments: str, **more: Any) -> Any:
    transport = SshTransport(host.name, host.ssh or "")
    await transport.open()
    try:
        return await run_command(transport, arguments, **more)
    finally:
        await transport.close()


def add(kdtui: Kdtui, tmp_path: Path, *more: object) -> Any:
    return kdtui(
        "host", "add", "far", "--ssh", "gpu", "--workdir", tmp_path / "there", "--python", sys.executable, *more
    )


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """Make a Python with all packages, whose torch reports at once that there is no GPU: the real one takes seconds."""
    torch = tmp_path / "quick" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")
    python = tmp_path / "quick" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{torch.parent}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.usefixtures("server")
def test_a_host_is_checked_and_says_what_it_has(kdtui: Kdtui, tmp_path: Path) -> None:
    assert add(kdtui, tmp_path).code == 0
    result = kdtui("host", "check", "far", "--json")
    found = {row["name"]: row for row in result.rows}
    assert found["reachable"]["state"] == "ok"
    assert found["python"]["found"].startswith("3.")
    assert "torch" in found["packages"]["found"]
    assert "is not on the host yet" in found["base"]["found"]
    assert found["clock"]["state"] == "ok"
    assert result.code == 0
    assert [row["name"] for row in kdtui("host", "ls", "--json").rows] == ["far"]
    assert kdtui("host", "set", "far", "--python", "/nowhere/python3").code == 0
    result = kdtui("host", "check", "far")
    assert (result.code, "there is no Python at /nowhere/python3" in result.out) == (1, True)
    assert kdtui("host", "rm", "far", "--yes").code == 0
    assert kdtui("host", "ls", "--json").rows == []


def test_an_installed_package_of_another_version_is_not_used(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other" / "models" / "sft"
    other.mkdir(parents=True)
    for folder in (other, other.parent):
        (folder / "__init__.py").touch()
    (other / "host.py").write_text('print(\'{"ok": "another version"}\')')
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{tmp_path}/other" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with_other = Host("far", "gpu", host.workdir, HostSettings(python=str(python)))
    assert asked(with_other, lambda client: client.ask(StatusRequest(()))).trainings == {}


@pytest.mark.usefixtures("server")
def test_a_relative_workdir_is_below_the_home_folder(kdtui: Kdtui) -> None:
    assert kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", "~/some where").code == 0
    [row] = kdtui("host", "ls", "--json").rows
    assert row["workdir"] == str(Path("~").expanduser() / "some where")


@pytest.mark.parametrize(
    ("home", "message"),
    [
        (b"/home/me\nrm -rf x\n", "its home folder cannot be entered"),
        (b"/home/\x1b[31m\n", "its home folder cannot be entered"),
        (b"/home/" + b"x" * 10_000, "it sends more than it was asked for"),
    ],
)
def test_a_host_cannot_name_a_strange_home_folder(
    kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: bytes, message: str
) -> None:
    (tmp_path / "pwd").write_bytes(home)

    async def run(transport: Any, _: object, **more: Any) -> Any:
        return await run_command(transport, ["cat", str(tmp_path / "pwd")], **more)

    monkeypatch.setattr(hosts, "run_command", run)
    result = kdtui("host", "add", "far", "--local", "--workdir", "~/far")
    assert (result.code, message in result.err) == (1, True), result.err


@pytest.mark.usefixtures("server")
def test_missing_packages_are_named_with_advice(kdtui: Kdtui, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    add(kdtui, tmp_path, "--python", tmp_path / "bare" / "bin" / "python")
    result = kdtui("host", "check", "far", "--json")
    [packages] = [row for row in result.rows if row["name"] == "packages"]
    assert packages["found"].startswith("no torch, transformers, peft")
    assert packages["advice"] == "kdtui host setup far"
    assert "cannot train yet: packages" in result.err


def unknown_key(server: sshd.Sshd) -> None:
    (server.folder / "known_hosts").write_text("")


def changed_key(server: sshd.Sshd) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(server.folder / "another")], check=True)
    key = (server.folder / "another.pub").read_text().split()[:2]
    (server.folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {' '.join(key)}\n")


def wrong_key(server: sshd.Sshd) -> None:
    (server.folder / "authorized_keys").write_text("")


def encrypted_key(server: sshd.Sshd) -> None:
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "a secret", "-f", str(server.folder / "client")]
    subprocess.run(command, check=True)


def nobody_there(server: sshd.Sshd) -> None:
    server.stop()


def no_such_name(server: sshd.Sshd) -> None:
    server.write_config(HostName="there-is-no-such-host.invalid")


def jump_host_down(server: sshd.Sshd) -> None:
    server.write_config(ProxyJump=f"127.0.0.1:{sshd.free_port()}")


def jump_host_refuses(server: sshd.Sshd) -> None:
    server.write_config()
    jump = server.config.read_text().replace("Host gpu other", "Host jump")
    server.write_config(ProxyJump="jump", Port=sshd.free_port())
    server.config.write_text(server.config.read_text() + jump)


def bad_configuration(server: sshd.Sshd) -> None:
    server.write_config(NoSuchOption="yes")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            unknown_key,
            "its key is not known yet; connect once by hand, and compare it with what its owner says: ssh gpu",
        ),
        (changed_key, "its key is not the one that is known, so it may be another machine"),
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
    server: sshd.Sshd, host: Host, spoil: Callable[[sshd.Sshd], None], message: str
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


def test_the_advised_command_shows_a_changed_key(server: sshd.Sshd, host: Host) -> None:
    changed_key(server)
    with pytest.raises(TransportError) as problem:
        asked(host, lambda client: client.ask(StatusRequest(())))
    command = str(problem.value).rpartition("what its owner says: ")[2]
    shown = subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    another = server.folder / "another.pub"
    fingerprint = subprocess.run(["ssh-keygen", "-lf", str(another)], check=True, capture_output=True, text=True).stdout
    assert fingerprint.split()[1] in shown


def test_a_configuration_with_spaces_quotes_and_commands_is_used_as_it_is(
    server: sshd.Sshd, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it's a -o folder"
    folder.mkdir()
    for name in ("client", "known_hosts"):
        shutil.copy(server.folder / name, folder / name)
    server.write_config(
        IdentityFile=f'"{folder}/client"',
        UserKnownHostsFile=f'"{folder}/known_hosts"',
        SetEnv='LC_X="a b"',
        # What users set for their own logins.
        PermitLocalCommand="yes",
        LocalCommand=f'touch "{tmp_path}/local"',
        RemoteCommand=f'touch "{tmp_path}/remote"',
        RequestTTY="force",
        ControlPath=f'"{folder}/their own %C"',
    )
    config = folder / 'my "config"'
    shutil.copy(server.config, config)
    monkeypatch.setenv(SSH_COMMAND, shlex.join(["ssh", "-F", str(config)]))
    assert asyncio.run(ran(host, "echo", "a  b", "'c'")).out == b"a  b 'c'\n"
    assert {path.name for path in folder.iterdir()} == {"client", "known_hosts", config.name}
    assert not list(tmp_path.glob("local")) + list(tmp_path.glob("remote"))
    changed_key(server)
    shutil.copy(server.folder / "known_hosts", folder / "known_hosts")
    with pytest.raises(TransportError) as problem:
        asked(host, lambda client: client.ask(StatusRequest(())))
    # The advised command can be pasted into a shell.
    command = shlex.split(str(problem.value).rpartition("what its owner says: ")[2])
    assert command[-2:] == ["-f", str(folder / "known_hosts")]


@pytest.mark.parametrize(("checks", "message"), [("yes", "its key is known"), ("no", "its key is not checked")])
def test_a_check_says_whether_keys_are_checked(
    server: sshd.Sshd, host: Host, db: Database, kdtui: Kdtui, quick: Path, checks: str, message: str
) -> None:
    server.write_config(StrictHostKeyChecking=checks)
    add_host(db, replace(host, settings=HostSettings(python=str(quick))))
    first = kdtui("host", "check", host.name, "--json").rows[0]
    assert first["name"] == "reachable"
    assert message in first["found"]


@pytest.mark.parametrize("banner", [b"", b"SSH-2.0-OpenSSH_9.9\r\n"], ids=["before the banner", "behind it"])
def test_a_silent_server_is_given_up(server: sshd.Sshd, banner: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    "alias",
    [
        "-oProxyCommand=touch /tmp/x",
        "-oProxyCommand",
        "-lroot",
        "me@-oProxyCommand=x",
        # A ProxyCommand of the user's passes the name of the host on, to another ssh for instance.
        "me@-v",
        "me@you@-v",
        "a b",
        "gpu\t",
        "'gpu'",
        '"gpu"',
        "gpu\\",
        "",
        "gpu\n",
        "gpu;reboot",
        "$(reboot)",
        "`reboot`",
        "-",
        "--",
    ],
)
def test_an_alias_that_ssh_could_misread_is_refused(kdtui: Kdtui, alias: str) -> None:
    with pytest.raises(KdtuiError, match="is not a host for ssh"):
        check_alias(alias)
    result = kdtui("host", "add", "far", f"--ssh={alias}", "--workdir", "/x")
    assert result.code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "far"], "give --ssh ALIAS, or --local"),
        (["add", "far", "--local", "--ssh", "gpu"], "give --ssh ALIAS, or --local"),
        (["add", "here", "--local", "--workdir", "/x"], "is what lists of trainings call this machine"),
        (["add", "../far", "--local", "--workdir", "/x"], "cannot be a name"),
        (["add", "far", "--local", "--workdir", "/x\ny"], "must be one line"),
        (["add", "far", "--local", "--workdir", "/x", "--gpus", "2"], "are Slurm's; add --launcher slurm"),
        (["add", "far", "--local", "--workdir", "/x", "--nodes", "2"], "add --launcher slurm"),
        (
            ["add", "far", "--local", "--workdir", "/x", "--launcher", "slurm", "--option", "--a=b\nrm x"],
            "each option and each command must be one line",
        ),
        (["check", "far"], "there is no host 'far'"),
        (["rm", "far"], "there is no host 'far'"),
        (["setup", "far", "--wheels", "/nowhere"], "does not exist"),
    ],
)
def test_a_wrong_host_gives_one_sentence(kdtui: Kdtui, arguments: list[str], message: str) -> None:
    result = kdtui("host", *arguments)
    assert result.code in (1, 2)
    assert message in result.err


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), max_size=4))
def test_arguments_arrive_as_they_are(arguments: list[str]) -> None:
    done = asyncio.run(run_command(LocalTransport("here"), ["printf", "%s\\0", *arguments, "end"]))
    assert done.out.decode() == "".join(f"{each}\0" for each in [*arguments, "end"])


def test_arguments_arrive_through_ssh_too(host: Host) -> None:
    hostile = ["a b", "it's", '"', "$(reboot)", "`x`", "new\nline", "\\", "-n", "*", "ünïcode", "!", "~", "#"]
    done = asyncio.run(ran(host, "printf", "%s\\0", *hostile))
    assert done.out.decode() == "".join(f"{each}\0" for each in hostile)


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_of_a_command_is_its_own(host: Host, code: int) -> None:
    assert asyncio.run(ran(host, "sh", "-c", f"echo out; echo err >&2; exit {code}")) == asyncio.run(
        run_command(LocalTransport("here"), ["sh", "-c", f"echo out; echo err >&2; exit {code}"])
    )


def test_the_greeting_of_a_shell_is_not_taken_for_an_answer(server: sshd.Sshd, host: Host) -> None:
    server.stop()
    with (server.folder / "sshd_config").open("a") as file:
        file.write('ForceCommand sh -c \'echo "Welcome to the cluster"; eval "$SSH_ORIGINAL_COMMAND"; echo Bye\'\n')
    server.start()
    assert asyncio.run(ran(host, "echo", "hello")).out == b"hello\n"
    assert asked(host, lambda client: client.ask(StatusRequest(()))).trainings == {}


def test_sent_and_received_bytes_are_equal(host: Host) -> None:
    content = os.urandom(3_000_000)
    assert asyncio.run(ran(host, "cat", data=content)).out == content

    async def streamed() -> bytes:
        transport = SshTransport("far", "gpu")
        await transport.open()
        try:
            return b"".join([chunk async for chunk in stream_command(transport, ["printf", "a\\n\\nb\\n"])])
        finally:
            await transport.close()

    assert asyncio.run(streamed()) == b"a\n\nb\n"


@pytest.mark.parametrize("over_ssh", [False, True])
def test_output_arrives_before_the_program_ends(host: Host, over_ssh: bool) -> None:
    async def last_letters(transport: LocalTransport | SshTransport) -> None:
        async def send(letter: str) -> None:
            program = ["sh", "-c", 'printf %s "$1"; cat', "sh", letter]
            async with aclosing(stream_command(transport, program)) as chunks:
                assert await anext(chunks) == letter.encode()

        # The marks around the output are random.
        await asyncio.wait_for(asyncio.gather(*map(send, "0123456789abcdef")), 30)

    async def both() -> None:
        if not over_ssh:
            return await last_letters(LocalTransport("here"))
        transport = SshTransport(host.name, host.ssh or "")
        await transport.open()
        try:
            await last_letters(transport)
        finally:
            await transport.close()
        return None

    asyncio.run(both())


@pytest.mark.parametrize(
    ("configured", "used"),
    [({}, "aes128-gcm@openssh.com"), ({"Ciphers": "aes256-ctr,aes128-gcm@openssh.com"}, "aes256-ctr")],
    ids=["none", "one"],
)
def test_the_cipher_is_a_fast_one_unless_the_configuration_names_one(
    server: sshd.Sshd, host: Host, monkeypatch: pytest.MonkeyPatch, configured: dict[str, object], used: str
) -> None:
    server.write_config(LogLevel="DEBUG", **configured)
    log = server.folder / "client.log"
    monkeypatch.setenv(SSH_COMMAND, f"{server.command} -E '{log}'")
    asyncio.run(ran(host, "true"))
    assert f"kex: client->server cipher: {used} " in log.read_text()


def test_one_connection_serves_all_commands_and_is_closed_afterwards(server: sshd.Sshd, host: Host) -> None:
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


def test_a_cancelled_connection_leaves_nothing_behind(server: sshd.Sshd, host: Host) -> None:
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
    kdtui: Kdtui, server: sshd.Sshd, tmp_path: Path, quick: Path
) -> None:
    add(kdtui, tmp_path, "--python", quick)
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
    add(kdtui, tmp_path)
    result = kdtui("host", "connect", "far")
    assert (result.code, "could not log in to host" in result.err) == (1, True)


def test_a_dead_connection_is_replaced(kdtui: Kdtui, server: sshd.Sshd, tmp_path: Path, quick: Path) -> None:
    add(kdtui, tmp_path, "--python", quick)
    kdtui("host", "connect", "far")
    server.stop()
    subprocess.run(["pkill", "-9", "-f", str(server.config)], check=False)
    server.start()
    assert kdtui("host", "check", "far").code == 0
    assert "connected to far" in kdtui("host", "connect", "far").err
    assert kdtui("host", "rm", "far", "--yes").code == 0


def test_a_killed_client_leaves_nothing_behind(server: sshd.Sshd, tmp_path: Path) -> None:
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


def test_a_frozen_network_is_noticed(server: sshd.Sshd) -> None:
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


def tiny_wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "tinywheel-1.0-py3-none-any.whl", "w") as wheel:
        about = "tinywheel-1.0.dist-info"
        wheel.writestr("tinywheel.py", "")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")


@pytest.mark.usefixtures("server")
@pytest.mark.slow
def test_a_host_is_set_up_from_wheels_and_resumes_after_a_failure(
    kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "requirements", lambda: "tinywheel==1.0\n")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    add(kdtui, tmp_path)
    result = kdtui("host", "setup", "far", "--wheels", wheels)
    assert result.code == 1
    assert "No matching distribution found for tinywheel==1.0" in result.err
    tiny_wheel(wheels)
    result = kdtui("host", "setup", "far", "--wheels", wheels)
    assert (result.code, "host far is ready" in result.err) == (0, True)
    python = tmp_path / "there" / "venv" / "bin" / "python"
    assert subprocess.run([python, "-c", "import tinywheel"], check=False).returncode == 0
    # It is made once, and again for other packages.
    size = (tmp_path / "there" / "setup" / "log").stat().st_size
    assert "host far is ready already" in kdtui("host", "setup", "far", "--wheels", tmp_path).err
    assert (tmp_path / "there" / "setup" / "log").stat().st_size == size
    monkeypatch.setattr(package, "requirements", lambda: "tinywheel==2.0\n")
    assert "No matching distribution found for tinywheel==2.0" in kdtui("host", "setup", "far", "--wheels", wheels).err


@pytest.mark.usefixtures("server")
@pytest.mark.slow
def test_a_setup_continues_without_its_client_and_the_next_client_waits(
    kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "requirements", lambda: "tinywheel==1.0\n")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    tiny_wheel(wheels)
    add(kdtui, tmp_path)
    code = (
        "from kdtui.hosts import package\npackage.requirements = lambda: 'tinywheel==1.0\\n'\n"
        "from kdtui.__main__ import main\nmain()"
    )
    command = [sys.executable, "-c", code, "host", "setup", "far", "--wheels", str(wheels)]
    client = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert client.stderr is not None
    assert " -m venv " in client.stderr.readline()
    client.kill()
    client.communicate()
    folder = tmp_path / "there" / "setup"
    pid = starter_pid(folder)
    result = kdtui("host", "setup", "far", "--wheels", wheels)
    assert (result.code, "host far is ready" in result.err) == (0, True), result.err
    assert pid is None or (folder / "log").read_text().count(" -m venv ") == 1


@pytest.mark.usefixtures("server")
def test_a_base_is_on_the_host_when_all_its_files_are(kdtui: Kdtui, tmp_path: Path, quick: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(name)
    add(kdtui, tmp_path, "--python", quick)
    there = tmp_path / "there" / "blobs" / package.Tree.of(folder).key
    there.mkdir(parents=True)
    for name, message in (("config.json", "is not on the host yet"), ("model.safetensors", "is on the host")):
        (there / name).write_text(name)
        found = kdtui("host", "check", "far", "--base", folder, "--json").rows
        assert [row["found"] for row in found if row["name"] == "base"] == [f"model {message}"]


@pytest.mark.usefixtures("server")
def test_gpus_are_reported_as_by_their_driver(kdtui: Kdtui, server: sshd.Sshd, tmp_path: Path, quick: Path) -> None:
    add(kdtui, tmp_path, "--python", quick)
    [gpus] = [row for row in kdtui("host", "check", "far", "--json").rows if row["name"] == "gpus"]
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text('#!/bin/sh\necho "Big GPU, 81559 MiB, 570.1"\necho "Big GPU, 81559 MiB, 570.1"\n')
    (tools / "nvidia-smi").chmod(0o755)
    server.stop()
    server.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    server.start()
    [seen] = [row for row in kdtui("host", "check", "far", "--json").rows if row["name"] == "gpus"]
    assert (seen["state"], seen["found"]) == ("ok", "Big GPU, 81559 MiB, 570.1; Big GPU, 81559 MiB, 570.1")
    if shutil.which("nvidia-smi") is None:
        assert (gpus["state"], gpus["advice"]) == ("note", "trainings run, slowly")


def test_a_host_installs_the_tested_versions() -> None:
    pinned = dict(
        line.split("==") for line in ROOT.joinpath("constraints.txt").read_text().splitlines() if "==" in line
    )
    wanted = dict(line.split("==") for line in package.requirements().splitlines() if "==" in line)
    assert set(wanted) >= {"torch", "transformers", "peft", "accelerate", "safetensors"}
    assert wanted == {name: pinned[name] for name in wanted}


def test_the_sent_package_is_small_and_reproducible() -> None:
    first = package.code()
    package.code.cache_clear()
    assert package.code() == first
    assert len(first.content) < 1_000_000
