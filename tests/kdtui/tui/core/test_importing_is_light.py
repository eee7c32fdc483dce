"""The first paint does not wait for modules that only workers need."""

import subprocess
import sys
from pathlib import Path


def modules_behind(code: str, *arguments: object) -> list[str]:
    """Return the modules that some code imports."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_app_loads_nothing_heavy() -> None:
    modules = modules_behind("import kdtui.tui.app")
    heavy = {"torch", "llama_cpp", "sklearn", "scipy", "numpy", "sqlite_utils", "typer", "openai", "jinja2"}
    assert not heavy & set(modules)
    assert not [name for name in modules if name.startswith("kdtui.cli")]


def test_the_options_of_a_student_load_nothing_heavy_without_trainings(mined_store: Path) -> None:
    # The options are loaded in a thread, and imports would delay the screen.
    code = (
        "from pathlib import Path; from store.database import open_database; "
        "from kdtui.workflows.student.options import student_options; "
        "student_options(open_database(Path(sys.argv[1])), 'demo-outdoor')"
    )
    assert not {"torch", "numpy", "tarfile", "kdtui.workflows.training.on_this_machine"} & set(
        modules_behind(code, mined_store)
    )
