"""Checkpoints: complete folders from which a training resumes as if it had not stopped.

They hold tensors as safetensors and the rest as JSON; nothing is pickled.
"""

import errno
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.errors import ModelError
from models.files.whole_files import put_in_place, write_whole

FOLDER = "checkpoints"

_KEPT = 2
"""Number of newest checkpoints that are kept, in addition to the best one."""

_MOST_BATCHES = 1_000_000
"""Batches of a step; no training has more, but a damaged file can claim it."""

_ADAPTER = "adapter_model.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_STATE = "state.json"
_RANDOM = "random"

_UNREADABLE = (OSError, ValueError, LookupError, TypeError, RecursionError, SafetensorError)
"""What reading a damaged file of a checkpoint raises."""


@dataclass(slots=True)
class TrainingProgress:
    """The progress of a training.

    Attributes:
        step: number of steps done.
        tokens: read so far, without padding.
        best: the value, the loss and the step of the best evaluation.
        since_best: number of evaluations after the first with that value.
        is_unjudged: whether the evaluation of this step is still to be done.
        batches_per_step: of all processes together; None before the first step.
    """

    step: int = 0
    tokens: int = 0
    best: tuple[float, float, int] | None = None
    since_best: int = 0
    is_unjudged: bool = False
    batches_per_step: int | None = None

    def keep_batches(self, present: int) -> int:
        """Return the batches of a step, which stay those that the training began with: they say what a step has read.

        Args:
            present: batches of a step on the present processes, if the training begins.
        """
        if self.batches_per_step is None:
            # Older checkpoints do not have it.
            self.batches_per_step = present
        return self.batches_per_step

    def add_evaluation(self, value: float, loss: float) -> bool:
        """Note the evaluation of this step; return whether it is the best so far. Of equal values, the lower loss is.

        Only a higher value renews the patience: the loss can fall for ever by less than matters.
        """
        best_value, best_loss, _ = self.best or (-math.inf, math.inf, 0)
        self.since_best = 0 if value > best_value else self.since_best + 1
        is_best = (value, -loss) > (best_value, -best_loss)
        if is_best:
            self.best = (value, loss, self.step)
        return is_best


def save_checkpoint(
    folder: Path, progress: TrainingProgress, optimizer: torch.optim.Optimizer, save_adapter: Callable[[Path], None]
) -> Path:
    """Write the checkpoint of a step, and delete those that are neither new nor the best.

    If the checkpoint exists already, only its state is updated: its evaluation can be new.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    target = folder / f"step-{progress.step:08}"
    state = json.dumps(asdict(progress))
    if target.exists():
        if (target / _STATE).read_text(encoding="utf-8") != state:
            write_whole(target / _STATE, state)
        return target
    part = folder / f"{target.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        save_adapter(part)
        save_file(_optimizer_tensors(optimizer), part / _OPTIMIZER)
        (part / _STATE).write_text(state, encoding="utf-8")
        put_in_place(part, target)
    except SafetensorError as error:
        # safetensors has its own exception for a full disk.
        raise OSError(errno.EIO, " ".join(str(error).split())) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    best = checkpoint_of(folder, progress.best[-1]) if progress.best else None
    for old in whole_checkpoints(folder)[:-_KEPT]:
        if old != best:
            shutil.rmtree(old, ignore_errors=True)
    return target


def whole_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints, the oldest first."""
    return [path for path in _checkpoints(folder) if _damage(path) is None]


def damaged_checkpoints(folder: Path) -> dict[Path, str]:
    """Return the damaged checkpoints, such as after a power failure, and what is wrong with each."""
    problems = {path: _damage(path) for path in _checkpoints(folder)}
    return {path: problem for path, problem in problems.items() if problem is not None}


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit())


def _damage(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint, as far as its headers and sizes show."""
    try:
        _progress_of(checkpoint)
    except _UNREADABLE as error:
        return f"{_STATE}: {error or type(error).__name__}"
    for name in (_ADAPTER, _OPTIMIZER):
        try:
            with safe_open(checkpoint / name, framework="pt"):
                pass
        except _UNREADABLE as error:
            return f"{name}: {error}"
    return None


def _progress_of(checkpoint: Path) -> TrainingProgress:
    content: dict[str, Any] = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    batches = content.get("batches_per_step")
    if batches is not None and not 0 < int(batches) <= _MOST_BATCHES:
        raise ValueError(f"a step cannot have {batches} batches")
    return TrainingProgress(
        int(content["step"]),
        int(content["tokens"]),
        None if content["best"] is None else _best_of(content["best"]),
        int(content["since_best"]),
        bool(content.get("is_unjudged")),
        None if batches is None else int(batches),
    )


def _best_of(values: Sequence[float]) -> tuple[float, float, int]:
    # Older checkpoints have no loss there.
    value, *losses, step = values
    return float(value), float(losses[0]) if losses else math.inf, int(step)


def checkpoint_of(folder: Path, step: int) -> Path | None:
    """Return the checkpoint of a step; None if there is none."""
    path = folder / f"step-{step:08}"
    return path if path in whole_checkpoints(folder) else None


def drop_resumption(checkpoint: Path) -> None:
    """Delete everything from a checkpoint except the adapter."""
    for name in (_OPTIMIZER, _STATE):
        (checkpoint / name).unlink(missing_ok=True)


def step_of(checkpoint: Path) -> int:
    """Return the optimizer step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("step-"))


def load_checkpoint(path: Path, optimizer: torch.optim.Optimizer, model: nn.Module) -> TrainingProgress:
    """Restore adapter, optimizer and random state.

    Raises:
        ModelError: the checkpoint is damaged, or of another adapter.
    """
    from peft import set_peft_model_state_dict

    try:
        progress = _progress_of(path)
        set_peft_model_state_dict(model, load_file(path / _ADAPTER))
        _restore(optimizer, load_file(path / _OPTIMIZER))
    except (*_UNREADABLE, RuntimeError) as error:
        raise ModelError(f"{path}: it cannot be used ({error}); delete it to resume from another") from error
    return progress


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {_RANDOM: torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors[f"{_RANDOM}.cuda"] = torch.cuda.get_rng_state()
    for number, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"{number}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    return tensors


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors.pop(_RANDOM))
    cuda = tensors.pop(f"{_RANDOM}.cuda", None)
    if cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
