"""A machine behind the system's own OpenSSH: what the user's configuration says, all of it counts.

One connection per machine, the master, and all commands through it. It lives as long as this process does: its own
command reads our end of a pipe, which closes with us, however we end.
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

from kdtui.errors import KdtuiError
from kdtui.jobs.shell import STARTS, Between, Command, Kept, TooMuch, ended_early, never_ran, never_stops, said
from kdtui.jobs.transport import AT_ONCE, CHUNK, TransportError, Unfinished, environment_words

SSH_COMMAND = "KDTUI_SSH_COMMAND"
"""Names what to use instead of `ssh`, such as `ssh -F FILE`."""

_CONNECT = 10
"""Seconds that a connection may take."""

_OPENS = STARTS
"""Seconds that a master may take: jump hosts, banners and start-up files come on top."""

_ASKS = 5.0
"""Seconds that a master may take to say whether it is there; one whose network is frozen says nothing."""

_OF_SSH = 255
"""The exit code of ssh for what it could not do itself; others are those of what ran there."""

_OURS = {"ClearAllForwardings": "yes", "RemoteCommand": "none", "RequestTTY": "no", "PermitLocalCommand": "no"}
"""What the user's configuration says for logins by hand would get in our way."""

_FAST = "aes128-gcm@openssh.com"
"""The cipher that takes least computing: processors have AES in hardware."""

_ALIAS = re.compile(r"[A-Za-z0-9_\[\]:.%@][A-Za-z0-9_\[\]:.%@+-]*")


def check_alias(alias: str) -> str:
    """A name that ssh may be given as a host.

    Raises:
        KdtuiError: ssh could take it for an option, or a shell for a command.
    """
    if not _ALIAS.fullmatch(alias):
        raise KdtuiError(
            f"{alias!r} is no host for ssh; give it a name in ~/.ssh/config, such as gpu or me@gpu.example"
        )
    return alias


class SshTransport:
    """A machine that ssh knows by an alias.

    Args:
        name: what its user calls it.
        keepalive: seconds between two questions whether it is there; after three without an answer it is not.
    """

    def __init__(self, name: str, alias: str, *, keepalive: int = 15) -> None:
        self.name = name
        self.places = asyncio.Semaphore(AT_ONCE)
        self._alias = check_alias(alias)
        self._keepalive = keepalive
        self._ssh = _ssh()
        self._master: asyncio.subprocess.Process | None = None
        self._err = Kept()
        self.greeting = ""
        self._reading: asyncio.Task[None] | None = None
        self._socket = ""

    async def open(self) -> None:
        """Connect, or use the connection that `kdtui host connect` has left.

        Raises:
            TransportError: it says why, and what to do.
        """
        if await self._is_shared():
            self._socket = shared_socket(self._alias)
            return
        self._socket = str(_sockets() / token_hex(8))
        # Its input is open as long as we are there.
        command = Command(["sh", "-c", "exec cat >/dev/null"])
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
                # Without a terminal ssh cannot ask into the screen.
                start_new_session=True,
            )
        except OSError as error:
            raise TransportError(f"{self._ssh[0]}: {error.strerror}; install the OpenSSH client") from error
        err = Between(command.mark)
        self._reading = asyncio.create_task(self._read_errors(self._master, err))
        try:
            await self._begin(self._master, command, err)
        except TransportError:
            await self.close()
            raise

    async def _begin(self, master: asyncio.subprocess.Process, command: Command, err: Between) -> None:
        """Wait until the shell there runs our command.

        Raises:
            TransportError: it does not come to that.
        """
        assert master.stdin is not None
        assert master.stdout is not None
        assert self._reading is not None
        out = Between(command.mark)
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
        except TooMuch:
            raise TransportError(never_stops(self.name, said(out.before, err.before))) from None
        except TimeoutError:
            # ssh makes its socket when it has been let in.
            if Path(self._socket).exists():
                raise TransportError(never_ran(self.name, said(out.before, err.before))) from None
            raise TransportError(
                f"host {self.name} does not answer (for {_OPENS:g} seconds); is it up? Try: ssh {self._alias}"
            ) from None
        if code == _OF_SSH and not out.before.size:
            raise self.explain(err.before.end)
        raise TransportError(ended_early(self.name, code, said(out.before, err.before)))

    async def close(self) -> None:
        """End the connection; one that `kdtui host connect` has left stays."""
        master, self._master = self._master, None
        if master is None:
            return
        if master.stdin is not None:
            master.stdin.close()
        with suppress(ProcessLookupError):
            master.terminate()
        try:
            await asyncio.wait_for(master.wait(), 5)
        except TimeoutError:
            master.kill()
            await master.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        Path(self._socket).unlink(missing_ok=True)

    def command(self, line: str) -> list[str]:
        """Through the master, or not at all: without `ProxyCommand` ssh would connect anew where the master is gone."""
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
        """Why a command did not come to its end: what the master has said, or the command."""
        is_lost = False
        if self._master is not None:
            with suppress(TimeoutError):
                # It notices a moment later.
                await asyncio.wait_for(self._master.wait(), 1)
                is_lost = True
        if not command.out.has_begun and (command.code != _OF_SSH or (command.out.before.size and not is_lost)):
            return TransportError(ended_early(self.name, command.code, said(command.out.before, command.err.before)))
        # Once it has begun, what came before is from start-up files.
        own = command.told if command.err.has_begun else command.err.before.end
        return self.explain(f"{self._err.end}\n{own}")

    def explain(self, told: str) -> TransportError:
        """One sentence for what ssh has said, and what to do."""
        for pattern, sentence in _EXPLANATIONS:
            if (found := re.search(pattern, told)) is not None:
                named = {name: shlex.quote(value.strip()) for name, value in found.groupdict().items()}
                words = " ".join(found[found.re.groups].split())
                return TransportError(f"host {self.name}: {sentence.format(alias=self._alias, found=words, **named)}")
        lines = [line.strip() for line in told.splitlines() if line.strip() and "banner" not in line.lower()]
        return TransportError(
            f"host {self.name}: the connection was lost ({lines[-1][:200] if lines else 'ssh says no more'}); try again"
        )

    async def _read_errors(self, master: asyncio.subprocess.Process, output: Between) -> None:
        """Keep what a master says, apart from what start-up files do.

        Raises:
            TooMuch: those do not stop; the master has been ended.
        """
        assert master.stderr is not None
        try:
            while chunk := await master.stderr.read(CHUNK):
                self._err.add(output.take(chunk))
            self._err.add(output.rest())
        except TooMuch:
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
            return await asyncio.wait_for(check.wait(), _ASKS) == 0
        except TimeoutError:
            return False
        finally:
            if check.returncode is None:
                check.kill()
                await check.wait()


def connect_command(alias: str, hours: int) -> list[str]:
    """What asks for passwords and codes in the terminal, once, and leaves a connection for all that follows."""
    options = _options(
        ControlMaster="yes",
        ControlPath=shared_socket(alias),
        ControlPersist=f"{hours}h",
        ServerAliveInterval="15",
        **_ciphers(alias),
        **_OURS,
    )
    return [*_ssh(), *options, "-N", "-f", "--", check_alias(alias)]


def checks_keys(alias: str) -> bool:
    """Whether ssh refuses a machine whose key is not known: the user's configuration may have it take any."""
    configured = _configured(alias)
    return configured is not None and configured.get("stricthostkeychecking") not in ("false", "no", "off")


def _ciphers(alias: str) -> dict[str, str]:
    """An option that asks for a fast cipher first, where the user's configuration leaves the order to OpenSSH."""
    configured, default = _configured(alias), _configured(alias, "-F", "none")
    if configured is None or default is None or configured.get("ciphers") != default.get("ciphers"):
        return {}
    offered = default.get("ciphers", "").split(",")
    if _FAST not in offered:
        return {}
    return {"Ciphers": ",".join([_FAST, *(each for each in offered if each != _FAST)])}


def _configured(alias: str, *options: str) -> dict[str, str] | None:
    """What ssh's configuration says of a machine, by lower-case keywords; None where it does not come to tell."""
    command = [*_ssh(), *options, "-G", "--", check_alias(alias)]
    try:
        told = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ASKS
        ).stdout
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return dict(line.split(" ", 1) for line in told.splitlines() if " " in line)


def ask_shared(alias: str, do: str) -> bool:
    """Ask such a connection something, see `shared_command`; False where it does not answer."""
    try:
        return (
            subprocess.run(shared_command(alias, do), check=False, capture_output=True, timeout=_ASKS).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False


def shared_command(alias: str, do: str) -> list[str]:
    """What says, by its exit code, whether there is such a connection (`check`), or ends it (`exit`)."""
    return [*_ssh(), *_options(ControlPath=shared_socket(alias)), "-O", do, "--", check_alias(alias)]


def shared_socket(alias: str) -> str:
    """Where the connection is that `kdtui host connect` leaves."""
    return str(_sockets() / f"shared-{sha256(repr((_ssh(), alias)).encode()).hexdigest()[:16]}")


def _ssh() -> list[str]:
    return environment_words(SSH_COMMAND) or ["ssh"]


def _sockets() -> Path:
    """A folder of ours alone, with a short name: a socket's may have 108 bytes.

    Raises:
        KdtuiError: somebody else has made it.
    """
    named = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    base = named if named.is_dir() and os.access(named, os.W_OK) and len(os.fsencode(named)) < 50 else Path("/tmp")
    folder = base / f"kdtui-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise KdtuiError(f"{folder}: it belongs to somebody else; set XDG_RUNTIME_DIR to a folder of yours")
    folder.chmod(0o700)
    return folder


def _options(**options: str) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


_EXPLANATIONS = (
    (
        # Where it is known, and by what name: neither is the alias.
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
        # A session is a command.
        r"(session request failed[^\n]*)",
        "it lets no more commands through one connection ({found}); its owner can raise MaxSessions there",
    ),
    (
        # The cause is what was said first.
        r"(?s)\A\s*([^\r\n]+).*(?:stdio forwarding failed|open failed: |UNKNOWN port 65535)",
        "the jump host is down, or does not let through ({found}); try: ssh {alias}",
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
    (r"Could not resolve hostname \S+", "there is no machine of that name ({found}); look into ~/.ssh/config"),
    (r"Connection refused", "nobody listens there ({found}); is sshd running, and the port right?"),
    (r"timed out during banner exchange", "somebody listens, and says nothing ({found}); is it ssh?"),
    (r"No route to host|Network is unreachable", "there is no way to it ({found}); is this machine online?"),
    (r"Connection timed out", "it cannot be reached ({found}); is it up?"),
    (r"Timeout, server \S+ not responding", "it does not answer any more ({found}); the network may be down"),
    (r"Too many authentication failures", "it has been offered too many keys ({found}); name one with IdentityFile"),
    (r"Bad owner or permissions on \S+", "ssh does not trust its configuration ({found})"),
    (
        r"Bad configuration option: \S+|terminating, \d+ bad configuration options",
        "ssh's configuration is wrong ({found})",
    ),
)
"""What OpenSSH says, the surest first, and what that means."""
