"""`kdtui host setup`: the tested packages are installed once, and a failed or left setup resumes."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kdtui.hosts import package
from models.sft.state import starter_pid
from tests.support.commands import Kdtui
from tests.support.reaching import add_far
from tests.support.repository import ROOT


def test_a_host_installs_the_tested_versions() -> None:
    pinned = dict(
        line.split("==") for line in ROOT.joinpath("constraints.txt").read_text().splitlines() if "==" in line
    )
    wanted = dict(line.split("==") for line in package.requirements().splitlines() if "==" in line)
    assert set(wanted) >= {"torch", "transformers", "peft", "accelerate", "safetensors"}
    assert wanted == {name: pinned[name] for name in wanted}


def tiny_wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "tinywheel-1.0-py3-none-any.whl", "w") as wheel:
        about = "tinywheel-1.0.dist-info"
        wheel.writestr("tinywheel.py", "")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")


@pytest.mark.usefixtures("server")
@pytest.mark.slow
def test_a_host_is_set_up_from_wheels_and_resumes_after_a_failure(
    kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "requirements", lambda: "tinywheel==1.0\n")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    add_far(kdtui, tmp_path)
    result = kdtui("host", "setup", "far", "--wheels", wheels)
    assert result.code == 1
    assert "No matching distribution found for tinywheel==1.0" in result.err
    tiny_wheel(wheels)
    result = kdtui("host", "setup", "far", "--wheels", wheels)
    assert (result.code, "host far is ready" in result.err) == (0, True)
    python = tmp_path / "there" / "venv" / "bin" / "python"
    assert subprocess.run([python, "-c", "import tinywheel"], check=False).returncode == 0
    # It is made once, and again for other packages.
    size = (tmp_path / "there" / "setup" / "log").stat().st_size
    assert "host far is ready already" in kdtui("host", "setup", "far", "--wheels", tmp_path).err
    assert (tmp_path / "there" / "setup" / "log").stat().st_size == size
    monkeypatch.setattr(package, "requirements", lambda: "tinywheel==2.0\n")
    assert "No matching distribution found for tinywheel==2.0" in kdtui("host", "setup", "far", "--wheels", wheels).err


@pytest.mark.usefixtures("server")
@pytest.mark.slow
def test_a_setup_continues_without_its_client_and_the_next_client_waits(
    kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "requirements", lambda: "tinywheel==1.0\n")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    tiny_wheel(wheels)
    add_far(kdtui, tmp_path)
    code = (
        "from kdtui.hosts import package\npackage.requirements = lambda: 'tinywheel==1.0\\n'\n"
        "from kdtui.__main__ import main\nmain()"
    )
    command = [sys.executable, "-c", code, "host", "setup", "far", "--wheels", str(wheels)]
    client = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert client.stderr is not None
    assert " -m venv " in client.stderr.readline()
    client.kill()
    client.communicate()
    folder = tmp_path / "there" / "setup"
    pid = starter_pid(folder)
    result = kdtui("host", "setup", "far", "--wheels", wheels)
    assert (result.code, "host far is ready" in result.err) == (0, True), result.err
    assert pid is None or (folder / "log").read_text().count(" -m venv ") == 1
