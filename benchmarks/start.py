"""Start-up: `kdtui --help` against importing typer and rich, and the app's first paint against an empty app's.

python -m benchmarks.start [--runs 15]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import alternate, report

# Both exit right after their first paint: a regular exit would wait for everything that an app has begun to load.
_EMPTY_APP = """
import os
from textual.app import App
App.on_ready = lambda self: self.call_after_refresh(os._exit, 0)
App().run(headless=True)
"""

_OUR_APP = """
import os, sys
from pathlib import Path
from kdtui.tui.app import KdtuiApp
KdtuiApp.on_ready = lambda self: self.call_after_refresh(os._exit, 0)
KdtuiApp(Path(sys.argv[1])).run(headless=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    kdtui = str(Path(sys.executable).with_name("kdtui"))
    ours, other = alternate([[kdtui, "--help"], [sys.executable, "-c", "import typer, rich"]], runs)
    report("kdtui --help, against import typer, rich", ours, other, "s ", "at most 1.6")
    with tempfile.TemporaryDirectory() as folder:
        commands = [
            [sys.executable, "-c", _OUR_APP, str(Path(folder) / "kdtui.db")],
            [sys.executable, "-c", _EMPTY_APP],
        ]
        ours, other = alternate(commands, runs)
    report("first paint, against an empty Textual app", ours, other, "s ", "at most 2")


if __name__ == "__main__":
    main()
