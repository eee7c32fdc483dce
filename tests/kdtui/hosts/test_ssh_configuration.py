"""The user's configuration of ssh is used as it is, but no alias is taken for an option."""

import asyncio
import shlex
import shutil
from pathlib import Path

import pytest

from kdtui.errors import KdtuiError
from kdtui.hosts.ssh import SSH_COMMAND, check_alias
from kdtui.hosts.transport import TransportError
from models.sft.protocol import StatusRequest
from store.hosts import Host
from tests.support.commands import Kdtui
from tests.support.reaching import asked, ran
from tests.support.sshd import Sshd, change_key


def test_a_configuration_with_spaces_quotes_and_commands_is_used_as_it_is(
    server: Sshd, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    change_key(server)
    shutil.copy(server.folder / "known_hosts", folder / "known_hosts")
    with pytest.raises(TransportError) as problem:
        asked(host, lambda client: client.ask(StatusRequest(())))
    # The advised command can be pasted into a shell.
    command = shlex.split(str(problem.value).rpartition("what its owner says: ")[2])
    assert command[-2:] == ["-f", str(folder / "known_hosts")]


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
    ("configured", "used"),
    [({}, "aes128-gcm@openssh.com"), ({"Ciphers": "aes256-ctr,aes128-gcm@openssh.com"}, "aes256-ctr")],
    ids=["none", "one"],
)
def test_the_cipher_is_a_fast_one_unless_the_configuration_names_one(
    server: Sshd, host: Host, monkeypatch: pytest.MonkeyPatch, configured: dict[str, object], used: str
) -> None:
    server.write_config(LogLevel="DEBUG", **configured)
    log = server.folder / "client.log"
    monkeypatch.setenv(SSH_COMMAND, f"{server.command} -E '{log}'")
    asyncio.run(ran(host, "true"))
    assert f"kex: client->server cipher: {used} " in log.read_text()
