"""The watch on the event loop itself."""

import asyncio
import time

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static

from tests.support.event_loop import SHARED_LIMIT, watched


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Slow(App[None]):
    """Computes for a given time when a key is pressed."""

    BINDINGS = [("x", "compute", "Compute"), ("n", "nothing", "Nothing")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.has_acted = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield Static("slow")

    def action_compute(self) -> None:
        compute(2 * SHARED_LIMIT)
        self.has_acted.set()

    def action_nothing(self) -> None:
        self.query_one(Static).update("nothing")
        self.has_acted.set()


@pytest.mark.parametrize(("key", "is_slow"), [("x", True), ("n", False)])
async def test_a_step_that_computes_for_too_long_is_found(key: str, is_slow: bool) -> None:
    app = Slow()
    async with app.run_test() as pilot:
        await pilot.pause()
        with watched() as found:
            await pilot.press(key)
            await asyncio.wait_for(app.has_acted.wait(), 30)
    assert bool(found) == is_slow, found
    assert all(" ms of computing" in each for each in found)


async def test_work_of_the_test_itself_is_not_watched() -> None:
    with watched() as found:
        for _ in range(2):
            await asyncio.sleep(0)
            compute(2 * SHARED_LIMIT)
        await asyncio.sleep(0)
    assert found == []
