"""Commands and requests to a host, and the host of the tests."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.ssh import SshTransport
from kdtui.hosts.transport import run_command
from store.hosts import Host
from tests.support.commands import Kdtui, Result


def asked(host: Host, do: Callable[[HostClient], Any]) -> Any:
    """Make a request to a host over a connection of its own."""

    async def within() -> Any:
        async with reach(host) as client:
            return await do(client)

    return asyncio.run(within())


async def ran(host: Host, *arguments: str, **more: Any) -> Any:
    """Run a command on a host over a connection of its own."""
    transport = SshTransport(host.name, host.ssh or "")
    await transport.open()
    try:
        return await run_command(transport, arguments, **more)
    finally:
        await transport.close()


def add_far(kdtui: Kdtui, tmp_path: Path, *more: object) -> Result:
    """Add the host `far` with a folder below `tmp_path`, and this Python."""
    return kdtui(
        "host", "add", "far", "--ssh", "gpu", "--workdir", tmp_path / "there", "--python", sys.executable, *more
    )
