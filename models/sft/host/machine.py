"""The machine of a host: its Python, GPUs and disk, and the virtual environment for trainings."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from models.files.whole_files import write_whole
from models.sft import processes
from models.sft.host.workdir import BLOBS, SETUP, VENV, prepared_python
from models.sft.job_files import EXIT_CODE, LOG
from models.sft.protocol import (
    CheckAnswer,
    CheckRequest,
    PackagesAnswer,
    SetupAnswer,
    SetupRequest,
    SetupStatusAnswer,
    SetupStatusRequest,
)
from models.sft.state import job_status

_REQUIREMENTS = "requirements.txt"


def check_machine(workdir: Path, request: CheckRequest) -> CheckAnswer:
    """Return what this machine has for trainings."""
    existing = next(each for each in (workdir, *workdir.parents) if each.exists())
    blob = workdir / BLOBS / request.key
    return CheckAnswer(
        python=".".join(map(str, sys.version_info[:3])),
        writable=existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(existing).free,
        gpus=_gpus(),
        packages=package_versions(prepared_python(workdir) or request.python, request.packages, cuda=True),
        base=all((blob / name).is_file() for name in request.files),
        clock=time.time(),
        slurm=shutil.which("sbatch") is not None,
        processors=os.cpu_count(),
    )


def start_setup(workdir: Path, request: SetupRequest) -> SetupAnswer:
    """Start to make the virtual environment, in a process of its own; one that is already running continues."""
    folder = workdir / SETUP
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Delete this first: the result of other requirements does not count for these.
    (folder / EXIT_CODE).unlink(missing_ok=True)
    write_whole(folder / _REQUIREMENTS, request.requirements)
    install = [str(workdir / VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    if request.wheels:
        install += ["--no-index", "--find-links", str(workdir / BLOBS / request.wheels)]
    commands = [
        [sys.executable, "-m", "venv", str(workdir / VENV)],
        [*install, "-r", str(folder / _REQUIREMENTS)],
    ]
    log = folder / LOG
    size = log.stat().st_size if log.is_file() else 0
    processes.start_commands(folder, commands)
    return SetupAnswer(str(log), size)


def setup_status(workdir: Path, request: SetupStatusRequest) -> SetupStatusAnswer:
    """Return the state of the virtual environment."""
    installed = workdir / SETUP / _REQUIREMENTS
    is_same = installed.is_file() and installed.read_text(encoding="utf-8") == request.requirements
    status = job_status(workdir / SETUP)
    return SetupStatusAnswer(status.state, status.reason, is_same and prepared_python(workdir) is not None)


def _gpus() -> tuple[str, ...]:
    """Return name, memory and driver of each GPU, as nvidia-smi prints them."""
    try:
        output = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in output.splitlines() if line.strip())


_PRINT_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[2:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = None
cuda = None
if sys.argv[1] == "cuda" and found.get("torch"):
    import torch
    cuda = torch.version.cuda if torch.cuda.is_available() else None
print(json.dumps({"found": found, "cuda": cuda}))
"""


def package_versions(python: str, names: Sequence[str], *, cuda: bool = False) -> PackagesAnswer:
    """Return the versions of packages in the Python that trains, or why that Python does not run.

    Args:
        cuda: also find the CUDA version that torch can use; this takes seconds.
    """
    command = [python, "-P", "-c", _PRINT_VERSIONS, "cuda" if cuda else "", *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return PackagesAnswer(**json.loads(done.stdout.splitlines()[-1]))
    except OSError as error:
        return PackagesAnswer({}, problem=f"{python}: {error.strerror}")
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
        return PackagesAnswer({}, problem=f"{python}: {lines[-1] if lines else 'it does not run'}")
