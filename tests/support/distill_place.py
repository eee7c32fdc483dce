"""The place Distill: its panel, its calls, and the app with a plan for a teacher."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.tui.places.distill.panel import DistillationPanel
from kdtui.tui.places.distill.screen import DistillScreen
from store.calls import record_call
from store.database import open_database
from store.knowledge import find_knowledge
from tests.support.acting import act, rest
from tests.support.call_rows import calls
from tests.support.fake_chat_server import Fake, Reply
from tests.support.fake_teacher import good
from tests.support.screens import Settle, Until, text_of
from tests.support.waiting import PATIENCE


def screen(app: App[None]) -> DistillScreen:
    found = next(each for each in app.screen_stack if isinstance(each, DistillScreen))
    assert isinstance(found, DistillScreen)
    return found


def panel(app: App[None]) -> str:
    return text_of(screen(app).query_one(DistillationPanel))


def dialog(app: App[None]) -> str:
    return "\n".join(text_of(each) for each in app.screen.query(Static))


def app_with(database: Path, **form: str) -> KdtuiApp:
    """Return an app that remembers these values of the form."""
    memory = Memory(None, database)
    memory.place = "distill"
    memory.of("distill")["form"] = form
    return KdtuiApp(database, memory=memory)


def endpoint(url: str, **more: str) -> dict[str, str]:
    return {"formats": "thought", "teacher": "endpoint", "url": url, "model": "m", **more}


def hanging_after(count: int) -> Reply:
    """Return a server that answers this number of calls at once, and the others when its gate opens."""

    def reply(fake: Fake, number: int) -> None:
        if number >= count:
            fake.gate.wait(PATIENCE)
        good(fake, number)

    return reply


async def accept_forms(pilot: Pilot[None], settle: Settle) -> None:
    """Accept both forms with their remembered values."""
    await settle(pilot)
    await act(pilot, "distill.new")
    await rest(pilot)
    await act(pilot, "form.done")
    await rest(pilot)
    if isinstance(pilot.app.screen, FormDialog):
        await act(pilot, "form.done")


async def begin_paid(pilot: Pilot[None], settle: Settle, until: Until) -> None:
    """Accept both forms, and agree to pay."""
    await accept_forms(pilot, settle)
    await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
    await act(pilot, "confirm.yes")


def ended(app: App[None]) -> bool:
    current = screen(app).current
    return current is not None and not current.is_active


def calls_in(database: Path) -> list[dict[str, Any]]:
    with closing(open_database(database)) as db:
        return calls(db)


def thoughts(database: Path) -> int:
    db = open_database(database)
    found = sum(len(find_knowledge(db, format="thought", status=status)) for status in ("kept", "rejected"))
    db.close()
    return found


def write_calls(database: Path, count: int = 3, topic: str = "camping") -> None:
    db = open_database(database)
    for number in range(1, count + 1):
        failed = number % 3 == 0
        record_call(
            db,
            key=f"{number}",
            teacher=f"teacher {topic}",
            step="thought",
            request=json.dumps(
                {"model": "m", "messages": [["user", f"about {topic}\nnumber {number}."]], "schema": {}}
            ),
            response=None if failed else json.dumps({"left_out": f"{topic} {number}"}),
            error=f"{topic} is too much" if failed else None,
            prompt_tokens=None if failed else 300,
            completion_tokens=None if failed else 40,
            cost=None if failed else 0.5,
            seconds=1.25,
            attempts=1,
        )
    db.close()


DATASET = "demo-outdoor"


HOSTILE = "[red]x[/] \x1b[31mred\x1b[0m \u202eright\u202c 界界 e\u0301 "
