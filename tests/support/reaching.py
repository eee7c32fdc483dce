"""A single request to a host."""

import asyncio
from collections.abc import Callable
from typing import Any

from kdtui.hosts.client import HostClient, reach
from store.hosts import Host


def asked(host: Host, do: Callable[[HostClient], Any]) -> Any:
    async def within() -> Any:
        async with reach(host) as client:
            return await do(client)

    return asyncio.run(within())
