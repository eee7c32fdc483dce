"""Start-up: `kdtui --help` against importing typer and rich, and the app's first paint against an empty app's.

python -m benchmarks.start [--runs 15]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import alternate, report

_EMPTY_APP = """
from textual.app import App
class Empty(App):
    def on_ready(self):
        self.call_after_refresh(self.exit)
Empty().run(headless=True)
"""

_OUR_APP = """
import sys
from pathlib import Path
from kdtui.tui.app import KdtuiApp
class Ours(KdtuiApp):
    def on_ready(self):
        self.call_after_refresh(self.exit)
Ours(Path(sys.argv[1])).run(headless=True)
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
