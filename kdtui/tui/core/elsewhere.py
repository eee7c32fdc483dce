"""Something is done in another place: it is gone to, and as soon as it shows what it has, it does what it is to do."""

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
"""Seconds that a place may take to look at the store before something is done there."""


def method_of(action: Action) -> str:
    """The name by which a screen knows an action: of its method, without `action_`."""
    return actions.parse(action.call or action.name)[1]


def do_elsewhere(app: Services, place: str, action: Action) -> None:
    """Go to a place, and do something there; what is about a row is offered, since nobody has chosen one."""
    app.run_worker(_do_elsewhere(app, place, action), group="elsewhere", name="elsewhere", exclusive=True)


async def _do_elsewhere(app: Services, place: str, action: Action) -> None:
    key = app.key_of(action.id)
    if action.place in ("session", "piece"):
        app.action_show(place)
        if not hasattr(app.screen, f"action_{method_of(action)}"):
            opens = app.key_of("table.select")
            _offer(app, f"Open a {action.place} first, with {opens}", f"Then press {key}: {action.purpose}")
            return
    else:
        app.go_to(place)
    screen = app.screen
    if not isinstance(screen, ActionScreen) or not await _has_looked(app, screen):
        return
    why = screen.why_not(method_of(action))
    if why is None and action.id in ROW_ACTIONS:
        _offer(app, f"Press {key}", action.purpose)
    elif not await app.run_action(action.call or action.name, screen) and why is None:
        _offer(app, "Not now", "that cannot be done now")


def _offer(app: Services, title: str, sentence: str) -> None:
    app.notify(one_line(sentence, 300), title=title, timeout=10, markup=False)


async def _has_looked(app: Services, screen: ActionScreen[object]) -> bool:
    """Wait until a screen shows what it has asked the store for; whether it is looked at still."""
    deadline = monotonic() + _PATIENCE
    at_rest = 0
    # What has come from the store may lead to another question.
    while at_rest < 2 and monotonic() < deadline and screen.is_active:
        painted = asyncio.Event()
        screen.call_after_refresh(painted.set)
        with suppress(TimeoutError):
            await asyncio.wait_for(painted.wait(), _PATIENCE)
        asked = [
            worker for worker in app.workers if not worker.is_finished and screen in worker.node.ancestors_with_self
        ]
        at_rest = 0 if asked else at_rest + 1
        if asked:
            await asyncio.sleep(0.01)
    return screen.is_active
