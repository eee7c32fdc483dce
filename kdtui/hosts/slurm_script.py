"""The batch script of a training for Slurm, which `kdtui sft launch` shows before it submits it."""

import shlex
from pathlib import PurePosixPath

from models.sft.job_files import EXIT_CODE, LOG, STOPPED
from models.sft.processes import GRACE, TORCHRUN_ENVIRONMENT
from models.sft.slurm import CANCELLED
from store.records import HostSettings

_LEAD = int(GRACE)
"""Seconds before the time limit at which the trainer gets the signal to write a checkpoint."""

_PORT = 29500
"""The first port on which the processes of several nodes meet; the job number is added to it, modulo 1000."""


def slurm_script(settings: HostSettings, folder: str, python: str, code: str) -> str:
    """Return a script for sbatch that trains in a directory, and requeues itself at the time limit.

    Args:
        folder: the job directory on the host.
        code: the zip of the package `models` on the host.
    """
    log = str(PurePosixPath(folder) / LOG)
    options = {
        "--output": _escaped(log),
        "--open-mode": "append",
        "--signal": f"TERM@{_LEAD}",
        "--requeue": None,
        "--nodes": str(settings.nodes),
        "--ntasks-per-node": "1",
        "--partition": settings.partition,
        "--time": settings.time,
        "--gpus-per-node": None if settings.gpus is None else str(settings.gpus),
    }
    lines = ["#!/bin/bash"]
    for name, value in options.items():
        if name == "--requeue":
            lines.append(f"#SBATCH {name}")
        elif value is not None:
            lines.append(f"#SBATCH {name}={shlex.quote(value)}")
    lines += [f"#SBATCH {option}" for option in settings.options]
    lines += ["", *settings.commands]
    lines += [
        f"export PYTHONPATH={shlex.quote(code)}${{PYTHONPATH:+:$PYTHONPATH}}",
        "# Only what is installed, and what is named above, is imported.",
        "export PYTHONSAFEPATH=1",
        *(f"export {name}={value}" for name, value in TORCHRUN_ENVIRONMENT.items()),
        f"export KDTUI_JOB={shlex.quote(folder)}",
        f"cd {shlex.quote(folder)} || exit 1",
        f"rm -f {EXIT_CODE}",
        "# Since its release 22.05 a step has one processor, unless it is told how many the job has.",
        f'export SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-{"$SLURM_CPUS_ON_NODE" if settings.nodes == 1 else 1}}}"',
        f"srun {_trainer(settings, folder, python)}",
        "code=$?",
        "# The time was up, and there is a checkpoint: the rest is trained in a new job.",
        f'if [ "$(cat {EXIT_CODE} 2>/dev/null)" = {STOPPED} ] && [ ! -e {CANCELLED} ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        'exit "$code"',
        "",
    ]
    return "\n".join(lines)


def _trainer(settings: HostSettings, folder: str, python: str) -> str:
    if settings.nodes == 1 and settings.processes == 1:
        return shlex.join([python, "-m", "models.sft", folder])
    launcher = [python, "-m", "torch.distributed.run", "--nproc-per-node", str(settings.processes)]
    if settings.nodes == 1:
        return shlex.join([*launcher, "--standalone", "-m", "models.sft", folder])
    # Evaluated by the shell of the job, because only there the first node is known.
    first = '"$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"'
    meeting = f"--rdzv-id $SLURM_JOB_ID --rdzv-backend c10d --rdzv-endpoint {first}:$(({_PORT} + SLURM_JOB_ID % 1000))"
    together = shlex.join([*launcher, "--nnodes", str(settings.nodes)])
    return f"{together} {meeting} {shlex.join(['-m', 'models.sft', folder])}"


def _escaped(path: str) -> str:
    """Escape a path for Slurm, which replaces % and \\ in it."""
    return path.replace("\\", "\\\\").replace("%", "%%")
