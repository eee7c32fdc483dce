"""Hosts whose shell has start-up files that print, read, wait or exit, or is not a POSIX shell."""

import asyncio
import re
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from kdtui.hosts.ssh import SshTransport
from kdtui.hosts.transport import LocalTransport, TransportError, run_command, stream_command
from store.hosts import Host
from tests.support import sshd
from tests.support.commands import Kdtui
from tests.support.needs import needs_shells

HOSTILE = ["a b", "it's", '"', "$(reboot)", "`x`", "new\nline\n", "\\", "\\\\0101", "-n", "*", "ünïcode Á", "!", "~"]


@pytest.fixture
def home(server: sshd.Sshd, tmp_path: Path) -> Path:
    """The home folder of the user on the host: bash reads its `.bashrc` before each command."""
    folder = tmp_path / "home"
    folder.mkdir()
    server.stop()
    server.environment |= {"HOME": str(folder), "SHLVL": "0"}
    server.start()
    return folder


async def ran(*arguments: str, **more: Any) -> Any:
    transport = SshTransport("far", "gpu")
    await transport.open()
    try:
        done = await run_command(transport, arguments, **more)
        return done, transport.greeting
    finally:
        await transport.close()


async def streamed(*arguments: str) -> bytes:
    transport = SshTransport("far", "gpu")
    await transport.open()
    try:
        async with aclosing(stream_command(transport, arguments)) as chunks:
            return b"".join([chunk async for chunk in chunks])
    finally:
        await transport.close()


def refused(*arguments: str) -> str:
    with pytest.raises(TransportError) as problem:
        asyncio.run(ran(*arguments))
    return str(problem.value)


LONG = "head -c 300000 /dev/zero | tr '\\0' x"


@pytest.mark.parametrize(
    ("start_up", "greeting"),
    [
        ("", ""),
        ("stty erase ^H", "it prints “stty: "),
        ("echo Welcome to the cluster", "it prints “Welcome to the cluster”"),
        (LONG, "it prints “xxxxxxx"),
        (f"{LONG} >&2", "xxx…”, 0.3 MB in all"),
        ("read -p 'Which module? ' module; read -r more; echo \"You took [$module]\"", "it prints “You took []”"),
        ("printf '\\033[31mred\\033[0m \\033]0;title\\007'", "it prints “red”"),
        # A background process keeps the output open.
        ("while kill -0 $$; do sleep 0.1; done &", ""),
        ("exec bash", ""),
        pytest.param("exec zsh", "", marks=needs_shells),
        ("trap 'echo Bye' EXIT; set -u -e", ""),
    ],
    ids=lambda value: str(value)[:30] or "nothing",
)
@pytest.mark.usefixtures("server")
def test_start_up_files_do_not_disturb_commands(home: Path, start_up: str, greeting: str) -> None:
    (home / ".bashrc").write_text(f"{start_up}\n")
    done, reply = asyncio.run(
        ran("sh", "-c", 'cat; printf "%s|" "$@"; echo err >&2; exit 7', "sh", *HOSTILE, data=b"in")
    )
    assert done.out.decode() == "in" + "".join(f"{each}|" for each in HOSTILE)
    assert (done.code, done.err) == (7, "err\n")
    assert greeting in reply
    assert bool(greeting) == bool(reply)
    assert "\x1b" not in reply
    assert asyncio.run(streamed("printf", "%s|", *HOSTILE)) == "".join(f"{each}|" for each in HOSTILE).encode()


@needs_shells
@pytest.mark.parametrize("shell", ["fish", "tcsh", "zsh", "dash"])
def test_other_shells_run_the_same_commands(server: sshd.Sshd, home: Path, shell: str) -> None:
    for name in (".config/fish/config.fish", ".cshrc", ".tcshrc", ".zshenv"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("echo hello from the start-up file\n")
    server.stop()
    with (server.folder / "sshd_config").open("a") as file:
        file.write(f'ForceCommand exec {shutil.which(shell)} -c "$SSH_ORIGINAL_COMMAND"\n')
    server.start()
    done, greeting = asyncio.run(ran("printf", "%s|", *HOSTILE))
    assert done.out.decode() == "".join(f"{each}|" for each in HOSTILE)
    assert ("hello" in greeting) == (shell != "dash")


@pytest.mark.parametrize(
    ("start_up", "message"),
    [
        ("exit", "its shell ended with exit code 0 before it ran our command (it prints nothing)"),
        (
            "echo '\033[1mDisk quota\033[0m used up'; exit 3",
            "ended with exit code 3 before it ran our command (it prints",
        ),
        ("echo 'Connection refused' >&2; exit 1", "before it ran our command (it prints “Connection refused”)"),
        ("exec true", "its shell ended with exit code 0 before"),
        ("echo no; exit 255", "its shell ended with exit code 255 before it ran our command (it prints “no”)"),
        ("PATH=/nowhere", "its shell ended with exit code 127 before it ran our command (it prints"),
        ("while read -r line; do :; done", "its shell has not run our command after 0.5 seconds (it prints nothing)"),
        (f"{LONG}; exec cat", "its shell has not run our command after 0.5 seconds (it prints “xxxx"),
        ("yes 'Please press a key'", "does not stop printing (it prints “Please press a key Please"),
        ("yes 'Please press a key' >&2", "does not stop printing (it prints “Please press a key"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.usefixtures("server")
def test_startup_files_that_prevent_a_command_are_named(
    home: Path, start_up: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("shell.STARTS", "transport.STARTS", "ssh._OPENS"):
        monkeypatch.setattr(f"kdtui.hosts.{module}", 0.5 if "0.5" in message else 30.0)
    (home / ".bashrc").write_text(f"{start_up}\n")
    problem = refused("true")
    assert message in problem
    assert "such as ~/.bashrc" in problem
    assert "[ -t 0 ] || return" in problem
    assert "is it up" not in problem
    assert not set(problem) & {"\n", "\x1b"}
    assert len(problem) < 500


@pytest.mark.parametrize(
    ("start_up", "message"),
    [
        ("exit 4", "its shell ended with exit code 4 before it ran our command"),
        ("cat >/dev/null", "that is meant for our command|has not run our command after 1 seconds"),
        ("yes", "does not stop printing"),
        ("yes >&2", "does not stop printing"),
    ],
)
def test_start_up_files_that_changed_since_are_named_too(
    home: Path, kdtui: Kdtui, tmp_path: Path, start_up: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", tmp_path / "there").code == 0
    # A shared connection runs no command of its own.
    assert kdtui("host", "connect", "far").code == 0
    try:
        (home / ".bashrc").write_text(f"{start_up}\n")
        assert re.search(message, refused("true"))
        for module in ("shell", "transport") if start_up.startswith("cat") else ():
            # A stream keeps its input open.
            monkeypatch.setattr(f"kdtui.hosts.{module}.STARTS", 1.0)
        with pytest.raises(TransportError, match=message):
            asyncio.run(streamed("true"))
    finally:
        assert kdtui("host", "rm", "far", "--yes").code == 0


def test_a_host_that_allows_one_command_says_so(server: sshd.Sshd, host: Host) -> None:
    server.stop()
    with (server.folder / "sshd_config").open("a") as file:
        file.write("MaxSessions 1\n")
    server.start()
    assert host.ssh == "gpu"
    assert "it allows no more commands through one connection" in refused("true")


@pytest.mark.usefixtures("home")
def test_a_missing_home_folder_cannot_be_a_workdir(server: sshd.Sshd, kdtui: Kdtui, tmp_path: Path) -> None:
    server.stop()
    server.environment["HOME"] = str(tmp_path / "gone")
    server.start()
    result = kdtui("host", "add", "far", "--ssh", "gpu")
    assert result.code == 1
    assert "its home folder cannot be entered" in result.err
    assert "--workdir" in result.err
    assert kdtui("host", "ls", "--json").rows == []


def test_a_check_reports_the_output_of_start_up_files(home: Path, kdtui: Kdtui, tmp_path: Path) -> None:
    (home / ".bashrc").write_text("echo 'Welcome, [bold]you[/bold]'\n")
    assert kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", tmp_path / "there").code == 0
    found = {row["name"]: row for row in kdtui("host", "check", "far", "--json").rows}
    assert found["shell"]["state"] == "note"
    assert "Welcome, [bold]you[/bold]" in found["shell"]["found"]
    (home / ".bashrc").write_text("")
    assert "shell" not in {row["name"] for row in kdtui("host", "check", "far", "--json").rows}


def test_any_byte_of_an_argument_arrives() -> None:
    every = "".join(map(chr, range(1, 0x500)))
    done = asyncio.run(run_command(LocalTransport("here"), ["printf", "%s", every]))
    assert done.out.decode() == every
