"""Screens as they look: each place in a small dark terminal and in a large light one, empty, full, and failing."""

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from kdtui.tui.actions import PLACES
from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import Config
from kdtui.tui.memory import Memory
from kdtui.workflows.distill import distil_annotations
from kdtui.workflows.sample import create_sample
from models import embedded
from store.calls import record_call
from store.database import open_database
from store.jobs import add_job
from store.records import RunSettings, TrainingSettings
from store.runs import Predicted, Prediction, add_prediction, finish_run, start_run

Settle = Callable[[Pilot[None]], Awaitable[None]]

looks = pytest.mark.parametrize(
    ("size", "theme"), [((80, 24), "textual-dark"), ((200, 50), "textual-light")], ids=["small-dark", "large-light"]
)


METRICS = "".join(
    json.dumps({"step": step, "steps": 40, "loss": round(1 + 4 / step, 3), "tokens_per_second": 350.0}) + "\n"
    for step in range(1, 41)
) + "".join(
    json.dumps({"step": step, "valid_loss": 1.5, "pair_f1": round(0.6 + step / 400, 3)}) + "\n" for step in (10, 20, 40)
)
TRAININGS = {
    "camping": {
        "exit_code": "0",
        "metrics.jsonl": METRICS,
        "log": "".join(f"step {step} of 40\n" for step in range(1, 41)),
    },
    "halted": {"exit_code": "143", "metrics.jsonl": "".join(METRICS.splitlines(keepends=True)[:7])},
    "too-large": {"exit_code": "1", "log": "out of memory: take fewer --batch-tokens\n"},
}
"""Trainings, by what their trainers have left."""


@pytest.fixture(autouse=True)
def same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models that come along are at the same place for everyone, and it is the same time of the day."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name in ("embedded_student", "shipped_adapter"):
        real = getattr(embedded, name)()
        link = Path(real.name)
        link.symlink_to(real)
        monkeypatch.setattr(embedded, name, lambda link=link: link)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def full_store(demo_store: Path) -> Path:
    """A store with something in it for each place, all of it made at the same time."""
    db = open_database(demo_store)
    list(distil_annotations(db, "demo-outdoor", ("rule", "thought")))
    create_sample(
        db, "half", ["demo-outdoor"], ["rule"], strategy="random", ratio=0.5, seed=0, student="smollm2"
    )  # fmt: skip
    for name, together in (("all in one", True), ("apart", False)):
        run = start_run(db, "demo-outdoor", "valid", name, RunSettings("smollm2", limit=2))
        for number in ("o23", "o24"):
            bundles = (Predicted(("a", "b"), (1, 2), "camp", 0.5),) if together else ()
            add_prediction(db, run, Prediction(number, bundles, None, 0.5))
        finish_run(db, run)
    for name, files in TRAININGS.items():
        folder = demo_store.parent / "jobs" / name
        folder.mkdir(parents=True)
        for file, content in {"job.json": '{"base": "x"}', **files}.items():
            (folder / file).write_text(content)
        add_job(db, name, folder, TrainingSettings(("demo-outdoor",), "pairs", ("pattern",)), name)
    for place, problem in enumerate((None, "429 Too Many Requests"), start=1):
        record_call(
            db,
            key=str(place),
            teacher="http://127.0.0.1/v1#large",
            step="reflect",
            request=json.dumps({"messages": [["user", f"What went wrong in session o0{place}?"]]}),
            response=None if problem else "Tents go with mats.",
            error=problem,
            prompt_tokens=812,
            completion_tokens=64,
            cost=0.0042,
            seconds=1.5,
            attempts=place,
        )
    with db.atomic():
        for table in ("datasets", "knowledge", "samples", "runs", "predictions", "jobs", "calls"):
            db.execute(f"UPDATE {table} SET created_at = '2026-01-02T03:04:05Z'")
        db.execute("UPDATE runs SET finished_at = created_at")
    db.close()
    return demo_store


@pytest.fixture
def failing_store(empty_store: Path) -> Path:
    """A file that is no database, named as it is from where the test runs."""
    empty_store.write_bytes(b"this is not a database, whatever its name says" * 100)
    return Path(empty_store.name)


_DRAWN = 0.25
"""Seconds in which everything is drawn that has come; screens wait for .1 at most."""


def look_at(
    store: Path, place: str, theme: str, settle: Settle, *keys: str
) -> tuple[KdtuiApp, Callable[[Pilot[None]], Awaitable[None]]]:
    """An app that opens at a place, and what is done before it is looked at."""
    memory = Memory(None, store)
    memory.place = place

    app = KdtuiApp(store, config=Config(theme=theme), memory=memory)

    async def rest(pilot: Pilot[None]) -> None:
        # What has come from the store may begin something, which brings more.
        for _ in range(3):
            await settle(pilot)
            while any(each.is_running and not each.name.startswith("following") for each in app.activities):
                await pilot.pause(0.01)
        # What comes bit by bit is drawn a moment later, all at once.
        await pilot.pause(_DRAWN)
        await settle(pilot)

    async def run(pilot: Pilot[None]) -> None:
        await rest(pilot)
        for key in keys:
            await pilot.press(key)
            await rest(pilot)
        # A picture is not of the moment in which a cursor is not there.
        for line in app.screen.query(Input):
            line.cursor_blink = False
        await pilot.pause()

    return app, run


@looks
@pytest.mark.parametrize("kind", ["empty", "full", "failing"])
@pytest.mark.parametrize("place", PLACES)
def test_a_place(
    place: str,
    kind: str,
    size: tuple[int, int],
    theme: str,
    settle: Settle,
    snap_compare: Any,
    request: pytest.FixtureRequest,
) -> None:
    store = request.getfixturevalue(f"{kind}_store")
    app, run = look_at(store, place, theme, settle)
    assert snap_compare(app, terminal_size=size, run_before=run)


OPENED = {
    "a session": ("workbench", "enter"),
    "the settings of a session": ("workbench", "enter", "s"),
    "a piece": ("knowledge", "j", "enter"),
    "facets": ("knowledge", "F"),
    "what is to be distilled": ("distill", "n"),
    "a question": ("samples", "d"),
    "the overlap of samples": ("samples", "o"),
    "a row found": ("samples", "slash", "h", "a"),
    "a new training": ("jobs", "n"),
    "a training": ("jobs", "end", "enter"),
    "a line found in a log": ("jobs", "end", "enter", "slash", "p", "space", "7"),
    "a call": ("distill", "down", "enter"),
    "a run": ("runs", "enter"),
    "a plot of the runs": ("runs", "p"),
    "two runs compared": ("runs", "space", "v"),
    "all of a model": ("models", "v"),
    "the help": ("knowledge", "question_mark"),
    "a key found in the help": ("knowledge", "question_mark", "slash", "s", "o", "r", "t"),
    "the palette": ("knowledge", "colon"),
    "parts to jump to": ("knowledge", "f"),
}
"""What is opened from a place, by its keys."""


@looks
@pytest.mark.parametrize("what", OPENED)
def test_what_is_opened_from_a_place(
    what: str, size: tuple[int, int], theme: str, full_store: Path, settle: Settle, snap_compare: Any
) -> None:
    place, *keys = OPENED[what]
    app, run = look_at(full_store, place, theme, settle, *keys)
    assert snap_compare(app, terminal_size=size, run_before=run)
