"""The app listens on no port."""

import os
from pathlib import Path

import psutil

from kdtui.tui.app import KdtuiApp
from tests.support.acting import act
from tests.support.open_ports import Watched, watching
from tests.support.screens import Settle, Until
from tests.support.session_place import PATTERNS, heading, opened


async def test_the_app_opens_no_port(demo_store: Path, settle: Settle, until: Until) -> None:
    # Servers of other tests can run in this process.
    before = Watched()
    before.look(psutil.Process())
    with watching(os.getpid()) as watched:
        app = KdtuiApp(demo_store, PATTERNS)
        async with opened(app, settle) as pilot:
            await act(pilot, "session.generate")
            await until(pilot, lambda: "done in" in heading(app))
            await pilot.press("escape")
            for place in range(1, 9):
                await pilot.press(str(place))
                await settle(pilot)
            looks = watched.looks
            await until(pilot, lambda: watched.looks > looks + 1)
    assert watched.listening <= before.listening
