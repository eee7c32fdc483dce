"""Doing what the app can do, by its keys, and waiting until it is done."""

import asyncio
from contextlib import suppress
from typing import Any

from textual.pilot import Pilot

from kdtui.tui.actions import keys_of


async def act(pilot: Pilot[Any], action: str) -> None:
    """Press the key of an action: `knowledge.mark`. A test looks for these calls: each action needs one."""
    await pilot.press(keys_of({})[action][0])
    await rest(pilot)


async def rest(pilot: Pilot[Any]) -> None:
    """Wait until the app has handled all that was asked of it, and shows it; threads may still be at work.

    `Pilot.pause` takes a machine that is busy with other things for an app that has nothing to do.
    """
    for _ in range(2):
        await pilot.pause()
        # Screens are told of a new size by a timer, a moment later.
        while pilot.app.is_running and pilot.app._resize_timer is not None:
            await asyncio.sleep(0.001)
        painted = asyncio.Event()
        screen = pilot.app.screen
        screen.call_after_refresh(painted.set)
        # A screen that is left meanwhile is not painted any more; nor is one of an app that ends.
        while pilot.app.is_running and screen.is_current and not painted.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(painted.wait(), 0.05)
