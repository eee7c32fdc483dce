"""The first paint does not wait for what only workers need."""

import subprocess
import sys


def test_importing_the_app_loads_nothing_heavy() -> None:
    code = "import sys, kdtui.tui.app; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "llama_cpp", "sklearn", "scipy", "numpy", "sqlite_utils", "typer", "openai", "jinja2"}
    assert not heavy & set(modules)
    assert not [name for name in modules if name.startswith("kdtui.cli")]
