"""Random keys, clicks and sizes cause no fault."""

import asyncio
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from textual.errors import NoWidget

from kdtui.errors import KdtuiError
from kdtui.tui.actions import keys_of
from kdtui.tui.app import KdtuiApp
from kdtui.tui.memory import Memory
from tests.support.screens import Settle

STEPS = 5000
PARTS = 4
"""The number of monkeys that share the steps, each with a different seed."""

_BETWEEN = 0.005
"""Seconds between two keys."""

# These quit the app.
_LEAVES = {"q", "ctrl+q", "ctrl+c"}
_KEYS = sorted({key for keys in keys_of({}).values() for key in keys} - _LEAVES)
_TEXT = [*"ab:>.5 \"'[]{}\\", "日", "e", "tab", "shift+tab", "backspace", "left", "right", "delete", "space"]
# From 120 columns on, parts are side by side; from 36 lines on, forms show more.
_SIZES = [(80, 24), (200, 60), (80, 36), (130, 24), (120, 36), (40, 12), (20, 5), (3, 2), (1, 1)]


@pytest.mark.parametrize("seed", range(PARTS))
@pytest.mark.slow
async def test_random_keys_clicks_and_sizes_cause_no_fault(
    seed: int, demo_store: Path, settle: Settle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise KdtuiError("no training for monkeys")

    # An export writes to the current folder.
    monkeypatch.chdir(tmp_path)
    # These would outlive the test.
    monkeypatch.setattr("models.sft.processes.start_trainer", refuse)
    monkeypatch.setattr("kdtui.workflows.training.on_this_machine.start_trainer", refuse)
    # By key, by a click on the footer, or by the palette.
    monkeypatch.setattr(KdtuiApp, "exit", lambda *_, **__: None)
    random = Random(seed)
    app = KdtuiApp(demo_store, memory=Memory(demo_store.with_name("memory.json"), demo_store))
    done: list[object] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for _ in range(STEPS // PARTS):
            what = random.random()
            if what < 0.93:
                done.append(key := random.choice(_KEYS if what < 0.75 else _TEXT))
                # The monkey does not wait for the app to rest, which can take long.
                app.simulate_key(key)
                await asyncio.sleep(_BETWEEN)
            elif what < 0.98:
                spot = random.randrange(app.size.width), random.randrange(app.size.height)
                done.append(spot)
                # A new screen is empty, and the pilot has to know what it clicks on.
                with suppress(NoWidget):
                    await pilot.click(offset=spot, times=random.choice((1, 1, 2)))
            else:
                done.append(size := random.choice(_SIZES))
                await pilot.resize_terminal(*size)
            assert app.is_running, done[-10:]
        await pilot.resize_terminal(80, 24)
        for activity in app.activities:
            activity.cancel()
        while len(app.screen_stack) > 1:
            app.pop_screen()
            await pilot.pause()
        await settle(pilot)
