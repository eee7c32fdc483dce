"""Make the screenshots of the README and of the tour from the demo data: python -m docs.screenshots."""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import Any

from textual.pilot import Pilot

from kdtui.tui.app import KdtuiApp
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.demo import DATASETS, import_demo
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from store.database import open_database
from store.records import RunSettings

FOLDER = Path(__file__).parent
README_SIZE, TOUR_SIZE = (112, 34), (80, 24)

_PATIENCE = 120
"""Seconds that a step may take on a busy machine."""

_TRAINING = 1800
"""Seconds that a training may take there."""


class Camera:
    """Presses keys in the app, waits for what they bring about, and keeps what is on the screen."""

    def __init__(self, pilot: Pilot[Any], folder: Path) -> None:
        self._pilot, self._folder = pilot, folder

    async def press(self, *keys: str, until: str, patience: float = _PATIENCE) -> None:
        """Press keys one after the other, then wait until the screen shows a text and has come to rest."""
        for key in keys:
            await self._pilot.press(key)
        deadline = monotonic() + patience
        while until not in (shown := words_of(self._pilot.app.export_screenshot())):
            assert monotonic() < deadline, f"“{until}” never came: {shown}"
            await self._pilot.pause(0.1)
        await self._pilot.pause(0.5)

    def complete_demo(self) -> None:
        """Have both datasets of the demo be there: the other pictures are of one."""
        app = self._pilot.app
        assert isinstance(app, KdtuiApp)
        db = open_database(app.database)
        list(import_demo(db))
        db.close()

    def take(self, name: str) -> None:
        """Save the screen. Textual gives each picture a number of its own, which would only make it look changed."""
        svg = re.sub(r"terminal-\d+", "terminal", self._pilot.app.export_screenshot())
        (self._folder / f"{name}.svg").write_text(svg, encoding="utf-8")


def words_of(svg: str) -> str:
    """What stands in a screenshot."""
    return " ".join(unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", svg))).split())


@asynccontextmanager
async def opened(database: Path, folder: Path, size: tuple[int, int], student: str) -> AsyncIterator[Camera]:
    """The app with a student to ask, in front of a camera."""
    app = KdtuiApp(database, RunSettings(student))
    async with app.run_test(size=size) as pilot:
        await app.workers.wait_for_complete()
        yield Camera(pilot, folder)


async def photograph_session(database: Path, folder: Path) -> None:
    """A session that a student has answered: `session.svg`."""
    async with opened(database, folder, README_SIZE, "patterns") as camera:
        await camera.press("2", until="o01")
        await camera.press("slash", *"o27", until="$ kdtui data show o27")
        await camera.press("enter", until="o27")
        await camera.press("enter", until="True bundles")
        await camera.press("g", until="done in")
        camera.take("session")


async def photograph_knowledge(camera: Camera) -> None:
    """The tour from a search to a rule and where it comes from: `tour-rule.svg`, `tour-piece.svg`."""
    await camera.press("slash", *"tents mats format:rule", until="1 piece ·")
    await camera.press("enter", until="Put Camping > Shelter > Tents together")
    camera.take("tour-rule")
    await camera.press("enter", until="Comes from")
    camera.take("tour-piece")


async def photograph_form(camera: Camera) -> None:
    """The form that starts a training: `tour-form.svg`."""
    camera.complete_demo()
    await camera.press("5", until="There is no training yet")
    await camera.press("n", until="Start a training")
    both = ["space" if each == " " else each for each in ", ".join(DATASETS)]
    await camera.press(*"camping", "tab", *both, "tab", "enter", "down", "enter", until="--from shipped")
    await camera.press(until="weights alone")
    camera.take("tour-form")


async def photograph_training(camera: Camera) -> None:
    """The training of the form while it learns, what it was worth, and its adapter at work: `tour-job.svg`,
    `tour-helped.svg`, `tour-adapter.svg`."""
    await camera.press("ctrl+s", until="kdtui sft show camping")
    await camera.press("enter", until="log ·")
    await camera.press(until="evaluation at step", patience=_TRAINING)
    camera.take("tour-job")
    await camera.press(until="camping ✓ done", patience=_TRAINING)
    await camera.press(until="the training helped", patience=_TRAINING)
    camera.take("tour-helped")
    await camera.press("a", until="True bundles")
    await camera.press("g", until="done in")
    camera.take("tour-adapter")


async def photograph_tour(database: Path, folder: Path) -> None:
    """The tour, with a rule that is tried: `tour-….svg`."""
    async with opened(database, folder, TOUR_SIZE, "shipped") as camera:
        await photograph_knowledge(camera)
        await camera.press("t", until="alike")
        camera.take("tour-tried")
        await photograph_form(camera)
        await photograph_training(camera)


def make_store(path: Path) -> None:
    """The outdoor demo with knowledge of all three formats."""
    db = open_database(path)
    list(import_dataset(db, Path(str(files("kdtui") / "demo_data" / "outdoor.jsonl")), "demo-outdoor"))
    mine_patterns(db, "demo-outdoor")
    list(distill_annotations(db, "demo-outdoor", ["rule", "thought"]))
    db.close()


def main() -> None:
    os.environ.pop("NO_COLOR", None)
    with tempfile.TemporaryDirectory() as name:
        database = Path(name) / "kdtui.db"
        # The commands that the screen shows then need no --db, and what the user has set is left out.
        os.environ["KDTUI_DB"] = str(database)
        for kind in ("CONFIG", "STATE"):
            os.environ[f"XDG_{kind}_HOME"] = str(Path(name) / kind)
        make_store(database)
        asyncio.run(photograph_session(database, FOLDER))
        asyncio.run(photograph_tour(database, FOLDER))


if __name__ == "__main__":
    main()
