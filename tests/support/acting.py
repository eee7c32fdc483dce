"""Run actions of the app by their keys, and wait until they are done."""

import asyncio
from contextlib import suppress
from typing import Any

from textual.pilot import Pilot

from kdtui.tui.actions import keys_of


async def act(pilot: Pilot[Any], action: str) -> None:
    """Press the key of an action, such as `knowledge.mark`. A test checks that each action has such a call."""
    await pilot.press(keys_of({})[action][0])
    await rest(pilot)


async def rest(pilot: Pilot[Any]) -> None:
    """Wait until the app has handled its messages and painted; threads can still run.

    `Pilot.pause` mistakes a busy machine for an idle app.
    """
    for _ in range(2):
        await pilot.pause()
        await paint(pilot)


async def paint(pilot: Pilot[Any]) -> None:
    """Wait until the screen has painted what it has handled."""
    # Screens get a new size from a timer, a moment later.
    while pilot.app.is_running and pilot.app._resize_timer is not None:
        await asyncio.sleep(0.001)
    painted = asyncio.Event()
    screen = pilot.app.screen
    screen.call_after_refresh(painted.set)
    # A closed screen is not painted any more, nor is a screen of an app that ends.
    while pilot.app.is_running and screen.is_current and not painted.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(painted.wait(), 0.05)
