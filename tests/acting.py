"""Doing what the app can do, by its keys."""

from typing import Any

from textual.pilot import Pilot

from kdtui.tui.actions import keys_of


async def act(pilot: Pilot[Any], action: str) -> None:
    """Press the key of an action: `knowledge.mark`. A test looks for these calls: each action needs one."""
    await pilot.press(keys_of({})[action][0])
    await pilot.pause()
