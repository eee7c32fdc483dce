"""Screens as they look in a small and in a large terminal."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from kdtui.tui.app import KdtuiApp

Settle = Callable[[Pilot[None]], Awaitable[None]]

sizes = pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=["small", "large"])


def steps(settle: Settle, *keys: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    """Press keys, and let the app come to rest after each."""

    async def run(pilot: Pilot[None]) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    return run


@sizes
def test_the_sessions(size: tuple[int, int], demo_store: Path, settle: Settle, snap_compare: Any) -> None:
    assert snap_compare(KdtuiApp(demo_store), terminal_size=size, run_before=steps(settle))


@sizes
def test_an_open_session(size: tuple[int, int], demo_store: Path, settle: Settle, snap_compare: Any) -> None:
    assert snap_compare(KdtuiApp(demo_store), terminal_size=size, run_before=steps(settle, "enter"))


@sizes
def test_the_knowledge(size: tuple[int, int], demo_store: Path, settle: Settle, snap_compare: Any) -> None:
    assert snap_compare(KdtuiApp(demo_store), terminal_size=size, run_before=steps(settle, "2", "j"))


@sizes
def test_an_empty_store(size: tuple[int, int], empty_store: Path, settle: Settle, snap_compare: Any) -> None:
    assert snap_compare(KdtuiApp(empty_store), terminal_size=size, run_before=steps(settle))


@sizes
def test_the_help(size: tuple[int, int], demo_store: Path, settle: Settle, snap_compare: Any) -> None:
    assert snap_compare(KdtuiApp(demo_store), terminal_size=size, run_before=steps(settle, "question_mark"))
