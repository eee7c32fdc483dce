"""A machine that the system's own OpenSSH reaches, with the whole configuration of the user.

There is one connection per machine, the master, and all commands use it. It lives as long as this process: its own
command reads from a pipe, which closes when this process ends for any reason.
"""

import asyncio
import os
import re
import shlex
import subprocess
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Literal

from kdtui.errors import KdtuiError
from kdtui.hosts.shell import (
    STARTS,
    EndlessOutput,
    MarkedOutput,
    ShellCommand,
    TextEnds,
    ended_early,
    never_ran,
    never_stops,
    start_up_words,
)
from kdtui.hosts.transport import CHUNK, MAX_COMMANDS, TransportError, Unfinished, environment_words

SSH_COMMAND = "KDTUI_SSH_COMMAND"
"""The environment variable with a command to use instead of `ssh`, such as `ssh -F FILE`."""

_CONNECT = 10
"""Seconds to connect."""

_OPENS = STARTS
"""Seconds to start a master, including jump hosts, banners and start-up files."""

_ASKS = 5.0
"""Seconds for a master to answer a check; without a network it does not answer."""

_SSH_FAILED = 255
"""The exit code of ssh for its own failures; other codes are those of the command."""

_OURS = {"ClearAllForwardings": "yes", "RemoteCommand": "none", "RequestTTY": "no", "PermitLocalCommand": "no"}
"""Options that override settings of the user for interactive logins."""

_FAST = "aes128-gcm@openssh.com"
"""The fastest cipher: processors have AES in hardware."""

_ALIAS = re.compile(r"(?!.*@-)[A-Za-z0-9_\[\]:.%@][A-Za-z0-9_\[\]:.%@+-]*")


def check_alias(alias: str) -> str:
    """Return an alias if it is safe as an argument of ssh.

    Raises:
        KdtuiError: ssh could read it as an option, or a shell as a command.
    """
    if not _ALIAS.fullmatch(alias):
        raise KdtuiError(
            f"{alias!r} is not a host for ssh; give it a name in ~/.ssh/config, such as gpu or me@gpu.example"
        )
    return alias


class SshTransport:
    """A machine that ssh knows by an alias.

    Args:
        name: its name for the user.
        keepalive: seconds between two keep-alive messages; after three without an answer the connection is lost.
    """

    def __init__(self, name: str, alias: str, *, keepalive: int = 15) -> None:
        self.name = name
        self.places = asyncio.Semaphore(MAX_COMMANDS)
        self._alias = check_alias(alias)
        self._keepalive = keepalive
        self._ssh = _ssh()
        self._master: asyncio.subprocess.Process | None = None
        self._err = TextEnds()
        self.greeting = ""
        self._reading: asyncio.Task[None] | None = None
        self._socket = ""

    async def open(self) -> None:
        """Connect, or use the connection of `kdtui host connect`.

        Raises:
            TransportError: the machine cannot be reached; the message says why, and what to do.
        """
        if await self._is_shared():
            self._socket = shared_socket(self._alias)
            return
        self._socket = str(_sockets() / token_hex(8))
        # Its input is open as long as this process lives.
        command = ShellCommand(["sh", "-c", "exec cat >/dev/null"])
        try:
            self._master = await asyncio.create_subprocess_exec(
                *self._ssh,
                *_options(
                    BatchMode="yes",
                    ConnectTimeout=str(_CONNECT),
                    ServerAliveInterval=str(self._keepalive),
                    ServerAliveCountMax="3",
                    ControlMaster="yes",
                    ControlPersist="no",
                    ControlPath=self._socket,
                    **await asyncio.to_thread(_ciphers, self._alias),
                    **_OURS,
                ),
                "--",
                self._alias,
                command.line,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Without a terminal ssh cannot print questions to the screen.
                start_new_session=True,
            )
        except OSError as error:
            raise TransportError(f"{self._ssh[0]}: {error.strerror}; install the OpenSSH client") from error
        err = MarkedOutput(command.mark)
        self._reading = asyncio.create_task(self._read_errors(self._master, err))
        try:
            await self._begin(self._master, command, err)
        except TransportError:
            await self.close()
            raise

    async def _begin(self, master: asyncio.subprocess.Process, command: ShellCommand, err: MarkedOutput) -> None:
        """Wait until the shell on the machine runs the command.

        Raises:
            TransportError: it does not.
        """
        assert master.stdin is not None
        assert master.stdout is not None
        assert self._reading is not None
        out = MarkedOutput(command.mark)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                master.stdin.write(command.input)
            async with asyncio.timeout(_OPENS):
                while not out.has_begun and (chunk := await master.stdout.read(CHUNK)):
                    out.take(chunk)
                out.rest()
                if out.has_begun:
                    return
                await self._reading
                code = await master.wait()
        except EndlessOutput:
            raise TransportError(never_stops(self.name, start_up_words(out.before, err.before))) from None
        except TimeoutError:
            # ssh makes its socket after the login.
            if Path(self._socket).exists():
                raise TransportError(never_ran(self.name, start_up_words(out.before, err.before))) from None
            raise TransportError(
                f"host {self.name} does not answer (for {_OPENS:g} seconds); is it up? Try: ssh {self._alias}"
            ) from None
        if code == _SSH_FAILED and not out.before.size:
            raise self.explain(err.before.end)
        raise TransportError(ended_early(self.name, code, start_up_words(out.before, err.before)))

    async def close(self) -> None:
        """End the connection; that of `kdtui host connect` stays."""
        master, self._master = self._master, None
        if master is None:
            return
        if master.stdin is not None:
            master.stdin.close()
        with suppress(ProcessLookupError):
            master.terminate()
        try:
            async with asyncio.timeout(5):
                await master.wait()
        except TimeoutError:
            master.kill()
            await master.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        Path(self._socket).unlink(missing_ok=True)

    def command(self, line: str) -> list[str]:
        """Return the ssh command that uses the master; `ProxyCommand=false` prevents any other connection."""
        return [
            *self._ssh,
            *_options(
                ControlMaster="no",
                ControlPath=self._socket,
                ProxyCommand="false",
                BatchMode="yes",
                LogLevel="ERROR",
                **_OURS,
            ),
            *("-T", "--", self._alias, line),
        ]

    async def lost(self, command: Unfinished) -> TransportError:
        """Return why a command was cut off, by the errors of the master or of the command."""
        is_lost = False
        if self._master is not None:
            with suppress(TimeoutError):
                # The master notices a moment later.
                async with asyncio.timeout(1):
                    await self._master.wait()
                is_lost = True
        if not command.out.has_begun and (command.code != _SSH_FAILED or (command.out.before.size and not is_lost)):
            return TransportError(
                ended_early(self.name, command.code, start_up_words(command.out.before, command.err.before))
            )
        # After the command has begun, the earlier output is from start-up files.
        own = command.errors if command.err.has_begun else command.err.before.end
        return self.explain(f"{self._err.end}\n{own}")

    def explain(self, errors: str) -> TransportError:
        """Return one sentence about the errors of ssh, with what to do."""
        for pattern, sentence in _EXPLANATIONS:
            if (match := re.search(pattern, errors)) is not None:
                named = {name: shlex.quote(value.strip()) for name, value in match.groupdict().items()}
                words = " ".join(match[match.re.groups].split())
                return TransportError(f"host {self.name}: {sentence.format(alias=self._alias, found=words, **named)}")
        lines = [line.strip() for line in errors.splitlines() if line.strip() and "banner" not in line.lower()]
        return TransportError(
            f"host {self.name}: the connection was lost ({lines[-1][:200] if lines else 'no error message'}); try again"
        )

    async def _read_errors(self, master: asyncio.subprocess.Process, output: MarkedOutput) -> None:
        """Keep the errors of a master, without the output of start-up files.

        Raises:
            EndlessOutput: start-up files print without end; the master was killed.
        """
        assert master.stderr is not None
        try:
            while chunk := await master.stderr.read(CHUNK):
                self._err.add(output.take(chunk))
            self._err.add(output.rest())
        except EndlessOutput:
            master.kill()
            raise

    async def _is_shared(self) -> bool:
        if not Path(shared_socket(self._alias)).exists():
            return False
        check = await asyncio.create_subprocess_exec(
            *shared_command(self._alias, "check"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_ASKS):
                return await check.wait() == 0
        except TimeoutError:
            return False
        finally:
            if check.returncode is None:
                check.kill()
                await check.wait()


def connect_command(alias: str, hours: int) -> list[str]:
    """Return the command that asks for passwords and codes in the terminal, and leaves a connection open."""
    options = _options(
        ControlMaster="yes",
        ControlPath=shared_socket(alias),
        ControlPersist=f"{hours}h",
        ServerAliveInterval="15",
        **_ciphers(alias),
        **_OURS,
    )
    return [*_ssh(), *options, "-N", "-f", "--", check_alias(alias)]


def key_checking(alias: str) -> Literal["on", "accept-new", "off"]:
    """Return how ssh treats keys of machines: "off" if it connects whatever the key is, "accept-new" if it believes a
    machine that it meets for the first time, or else "on". The user's configuration decides."""
    match (_configured(alias) or {}).get("stricthostkeychecking", "off"):
        case "false" | "no" | "off":
            return "off"
        case "accept-new":
            return "accept-new"
    return "on"


def _ciphers(alias: str) -> dict[str, str]:
    """Return an option that prefers a fast cipher, unless the user's configuration sets the order."""
    configured, default = _configured(alias), _configured(alias, "-F", "none")
    if configured is None or default is None or configured.get("ciphers") != default.get("ciphers"):
        return {}
    offered = default.get("ciphers", "").split(",")
    if _FAST not in offered:
        return {}
    return {"Ciphers": ",".join([_FAST, *(each for each in offered if each != _FAST)])}


def _configured(alias: str, *options: str) -> dict[str, str] | None:
    """Return ssh's configuration for a machine, by lower-case keywords; None if ssh does not print it."""
    command = [*_ssh(), *options, "-G", "--", check_alias(alias)]
    try:
        output = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ASKS
        ).stdout
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return dict(line.split(" ", 1) for line in output.splitlines() if " " in line)


def ask_shared(alias: str, do: str) -> bool:
    """Check or end a shared connection, see `shared_command`; return whether that worked."""
    try:
        return (
            subprocess.run(shared_command(alias, do), check=False, capture_output=True, timeout=_ASKS).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False


def shared_command(alias: str, do: str) -> list[str]:
    """Return the command that checks for a shared connection by its exit code (`check`), or ends it (`exit`)."""
    return [*_ssh(), *_options(ControlPath=shared_socket(alias)), "-O", do, "--", check_alias(alias)]


def shared_socket(alias: str) -> str:
    """Return the socket of the connection of `kdtui host connect`."""
    return str(_sockets() / f"shared-{sha256(repr((_ssh(), alias)).encode()).hexdigest()[:16]}")


def _ssh() -> list[str]:
    return environment_words(SSH_COMMAND) or ["ssh"]


def _sockets() -> Path:
    """Return a private folder with a short name: the path of a socket can have at most 108 bytes.

    Raises:
        KdtuiError: the folder belongs to another user.
    """
    named = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    base = named if named.is_dir() and os.access(named, os.W_OK) and len(os.fsencode(named)) < 50 else Path("/tmp")
    folder = base / f"kdtui-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise KdtuiError(f"{folder}: it belongs to another user; set XDG_RUNTIME_DIR to a folder of yours")
    folder.chmod(0o700)
    return folder


def _options(**options: str) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


_EXPLANATIONS = (
    (
        # The file and the name of the known key; the name can differ from the alias.
        r"(?s)Offending \S+ key in (?P<file>[^\n]+):\d+.*Host key for (?P<known>\S+) has changed",
        "its key is not the one that is known, so it may be another machine; compare with what its owner says: "
        "ssh-keygen -l -F {known} -f {file}",
    ),
    (
        r"HOST IDENTIFICATION HAS CHANGED",
        "its key is not the one that is known, so it may be another machine; compare with what its owner says",
    ),
    (
        r"No \S+ host key is known|Host key verification failed|authenticity of host",
        "its key is not known yet; connect once by hand, and compare it with what its owner says: ssh {alias}",
    ),
    (
        # ssh calls a command a session.
        r"(session request failed[^\n]*)",
        "it allows no more commands through one connection ({found}); its owner can raise MaxSessions",
    ),
    (
        # The first line has the cause.
        r"(?s)\A\s*([^\r\n]+).*(?:stdio forwarding failed|open failed: |UNKNOWN port 65535)",
        "the jump host is down, or does not let the connection through ({found}); try: ssh {alias}",
    ),
    (
        r"Permission denied \([^)]*\)",
        "it refuses your key ({found}); for a key with a passphrase: ssh-add; where it asks for a code: "
        "kdtui host connect",
    ),
    (
        r"Could not resolve hostname [^\n]*(?:Temporary failure|try again)[^\n]*",
        "its name cannot be looked up at the moment ({found}); is this machine online?",
    ),
    (r"Could not resolve hostname \S+", "there is no machine of that name ({found}); check ~/.ssh/config"),
    (r"Connection refused", "nothing listens on that port ({found}); is sshd running, and the port right?"),
    (r"timed out during banner exchange", "something listens there but does not answer ({found}); is it sshd?"),
    (r"No route to host|Network is unreachable", "there is no way to it ({found}); is this machine online?"),
    (r"Connection timed out", "it cannot be reached ({found}); is it up?"),
    (r"Timeout, server \S+ not responding", "it does not answer any more ({found}); the network may be down"),
    (r"Too many authentication failures", "ssh offered it too many keys ({found}); name one with IdentityFile"),
    (r"Bad owner or permissions on \S+", "ssh does not trust its configuration ({found})"),
    (
        r"Bad configuration option: \S+|terminating, \d+ bad configuration options",
        "ssh's configuration is wrong ({found})",
    ),
)
"""Patterns in the errors of OpenSSH, the most specific first, and what they mean."""
