"""Make the screenshots of the README from the demo data: python -m docs.screenshots."""

import asyncio
import os
import tempfile
from importlib.resources import files
from pathlib import Path

from kdtui.tui.app import KdtuiApp
from kdtui.workflows.import_dataset import import_dataset
from kdtui.workflows.mine_patterns import mine_patterns
from store.database import open_database
from store.records import RunSettings

SIZE = (112, 34)
SESSION = "o27"


async def photograph(database: Path, folder: Path) -> None:
    """Open a session, have the pattern student answer it, and save the screen as `session.svg`."""
    app = KdtuiApp(database, RunSettings("patterns"))
    async with app.run_test(size=SIZE) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("slash", *SESSION, "enter")
        await app.workers.wait_for_complete()
        await pilot.pause(0.5)
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        await pilot.press("g")
        for _ in range(100):
            await pilot.pause(0.1)
            if "done" in app.export_screenshot():
                break
        await pilot.pause(0.2)
        app.save_screenshot("session.svg", str(folder))


def main() -> None:
    os.environ.pop("NO_COLOR", None)
    with tempfile.TemporaryDirectory() as name:
        database = Path(name) / "kdtui.db"
        # The commands that the screen shows then need no --db.
        os.environ["KDTUI_DB"] = str(database)
        db = open_database(database)
        data = Path(str(files("kdtui") / "demo_data" / "outdoor.jsonl"))
        list(import_dataset(db, data, "demo-outdoor"))
        mine_patterns(db, "demo-outdoor")
        db.close()
        asyncio.run(photograph(database, Path(__file__).parent))


if __name__ == "__main__":
    main()
