"""Run an action in another place: go there, wait until the place has loaded, then run it."""

import asyncio
from contextlib import suppress
from time import monotonic

from textual import actions

from kdtui.text import one_line
from kdtui.tui.action import Action
from kdtui.tui.actions import ROW_ACTIONS
from kdtui.tui.core.screen import ActionScreen
from kdtui.tui.core.services import Services

_PATIENCE = 5.0
"""Seconds that a place can take to load before the action runs."""


def method_of(action: Action) -> str:
    """Return the name of the method of an action, without `action_`."""
    return actions.parse(action.call or action.name)[1]


def run_in_place(app: Services, place: str, action: Action) -> None:
    """Go to a place and run an action there. An action on a row is only offered: the user has not seen the row."""
    app.run_worker(_run_in_place(app, place, action), group="remote", name="remote", exclusive=True)


async def _run_in_place(app: Services, place: str, action: Action) -> None:
    key = app.key_of(action.id)
    if action.scope in ("session", "piece"):
        app.action_show(place)
        if not hasattr(app.screen, f"action_{method_of(action)}"):
            opens = app.key_of("table.select")
            _offer(app, f"Open a {action.scope} first, with {opens}", f"Then press {key}: {action.purpose}")
            return
    else:
        app.go_to(place)
    screen = app.screen
    if not isinstance(screen, ActionScreen) or not await _is_loaded(app, screen):
        return
    why = screen.why_not(method_of(action))
    if why is None and action.id in ROW_ACTIONS:
        _offer(app, f"Press {key}", action.purpose)
    elif not await app.run_action(action.call or action.name, screen) and why is None:
        _offer(app, "Not now", "this is not possible now")


def _offer(app: Services, title: str, sentence: str) -> None:
    app.notify(one_line(sentence, 300), title=title, timeout=10, markup=False)


async def _is_loaded(app: Services, screen: ActionScreen[object]) -> bool:
    """Wait until a screen shows what it loads from the store; return whether it is still the active screen."""
    deadline = monotonic() + _PATIENCE
    at_rest = 0
    # An answer of the store can lead to another question.
    while at_rest < 2 and monotonic() < deadline and screen.is_active:
        painted = asyncio.Event()
        screen.call_after_refresh(painted.set)
        with suppress(TimeoutError):
            await asyncio.wait_for(painted.wait(), _PATIENCE)
        loading = [
            worker for worker in app.workers if not worker.is_finished and screen in worker.node.ancestors_with_self
        ]
        at_rest = 0 if loading else at_rest + 1
        if loading:
            await asyncio.sleep(0.01)
    return screen.is_active
