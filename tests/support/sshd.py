"""A real sshd on 127.0.0.1 with throw-away keys, and a client configuration for it: ~/.ssh is not touched."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import PATIENCE

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Sshd:
    """A server and the configuration of its client.

    Attributes:
        config: configuration file of the client, in which the server is called `gpu`.
        port: port of the server.
        environment: environment variables of the commands that it runs.
    """

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    # A nested shell: the start-up files of the user's shell may take longer than a command.
    environment: dict[str, str] = field(default_factory=lambda: {"SHLVL": "2"})

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def command(self) -> str:
        """The value of the variable that names the ssh command."""
        return f"ssh -F '{self.config}'"

    def write_config(self, **options: object) -> None:
        """Write the client configuration with extra options."""
        usual: dict[str, object] = {
            "HostName": "127.0.0.1",
            "Port": self.port,
            "User": _user(),
            "IdentityFile": f'"{self.folder}/client"',
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": f'"{self.folder}/known_hosts"',
            "GlobalKnownHostsFile": "/dev/null",
        }
        lines = [f"    {name} {value}" for name, value in (usual | options).items()]
        self.config.write_text("\n".join(["Host gpu other", *lines]) + "\n")

    def know_host(self) -> None:
        """Add the key of the server to the client's known hosts."""
        key = (self.folder / "host.pub").read_text().split()[:2]
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(key)}\n")

    @property
    def commands(self) -> int:
        """The number of commands run so far, without those that open connections."""
        log = (self.folder / "sshd.log").read_text()
        return log.count("Starting session: command") - log.count("Accepted publickey")

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        assert SSHD is not None
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        variables = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        # In the foreground, with its log on stderr.
        command = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config"), "-o", f"SetEnv={variables}"]
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "sshd.log").read_text()
            time.sleep(0.02)
        raise AssertionError((self.folder / "sshd.log").read_text())

    def stop(self) -> None:
        """Stop the server and all connections to it."""
        if self.process is None:
            return
        # Sessions are separate processes.
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split() if children.exists() else ():
            subprocess.run(["kill", pid], check=False, capture_output=True)
        self.process.terminate()
        self.process.wait(10)
        self.process = None


@contextmanager
def running(folder: Path) -> Iterator[Sshd]:
    """Run a server with its files in a folder that only the user can write."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    server = Sshd(folder, free_port())
    shutil.copy(folder / "client.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"""
        ListenAddress 127.0.0.1:{server.port}
        HostKey {folder}/host
        AuthorizedKeysFile {folder}/authorized_keys
        PidFile none
        LogLevel VERBOSE
        Subsystem sftp internal-sftp
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        PermitRootLogin yes
        AllowTcpForwarding yes
        KexAlgorithms curve25519-sha256
        """
    )
    server.write_config()
    server.know_host()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def change_key(server: Sshd) -> None:
    """Make the known key another one than that of the server; it stays in `another.pub`."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(server.folder / "another")], check=True)
    key = (server.folder / "another.pub").read_text().split()[:2]
    (server.folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {' '.join(key)}\n")


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def children(pid: int) -> list[int]:
    """Return the running children of a process."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in path.read_text().split()] if path.exists() else []


def family(pid: int) -> list[int]:
    """Return the running children of a process, and their children, recursively."""
    return [each for child in children(pid) for each in (child, *family(child))]
