"""The place Samples: samples of the outdoor demo, and the contents of the screen."""

from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.workflows.knowledge.sample import create_sample
from store.database import open_database
from store.samples import list_samples
from tests.support.screens import Settle, text_of

DATASET = "demo-outdoor"


def draw_sample(store: Path, name: str, ratio: float) -> int:
    """Draw a sample of rules and thoughts; return its number of pieces."""
    db = open_database(store)
    pieces = create_sample(
        db, name, [DATASET], ["rule", "thought"], strategy="random", ratio=ratio, seed=0, student="smollm2"
    )
    db.close()
    return pieces


def sample_names(store: Path) -> list[str]:
    """Return the names of the samples in a store."""
    db = open_database(store)
    found = [sample.name for sample in list_samples(db)]
    db.close()
    return found


def shape(app: KdtuiApp) -> str:
    """Return what the screen says about the sample under the cursor."""
    return text_of(app.screen.query_one("#shape", Static), 100)


async def open_samples(pilot: Pilot[None], settle: Settle) -> None:
    """Go to the place Samples."""
    await settle(pilot)
    await pilot.press("4")
    await settle(pilot)
