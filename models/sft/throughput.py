"""The speed of a training, its remaining time, and the memory that it uses."""

import resource
import sys
from time import monotonic

import torch

from models.sft.checkpoints import TrainingProgress

_LOG_SECONDS = 2.0
"""Minimum seconds between two lines of metrics."""


class Throughput:
    """Measures the speed of a training, and predicts its end.

    Args:
        passes: times that the validation examples are read after the last step, each of which counts as an evaluation.

    Attributes:
        speed: tokens per second since this trainer began.
        step_speed: tokens per second without the time of evaluations.
        seconds_left: remaining time at `speed`; without the passes at the end until an evaluation was timed.
    """

    def __init__(self, progress: TrainingProgress, total: int, passes: int) -> None:
        self._started = self._logged = monotonic()
        self._first = progress.step
        self._tokens = progress.tokens
        self._total = total
        self._passes = passes
        self.speed = 0.0
        self.step_speed = 0.0
        self.seconds_left = 0.0
        self._evaluation_seconds = 0.0
        self._evaluations = 0

    def add_evaluation(self, seconds: float) -> None:
        """Note the time of an evaluation."""
        self._evaluation_seconds += seconds
        self._evaluations += 1

    def is_time(self, progress: TrainingProgress) -> bool:
        """Tell whether to write metrics, and update the attributes: not too often, but at the last step."""
        now = monotonic()
        is_last = progress.step == self._total
        if now - self._logged < _LOG_SECONDS and not is_last:
            return False
        self._logged = now
        seconds = max(now - self._started, 1e-9)
        self.speed = (progress.tokens - self._tokens) / seconds
        self.step_speed = (progress.tokens - self._tokens) / max(seconds - self._evaluation_seconds, 1e-9)
        at_the_end = self._passes * self._evaluation_seconds / max(self._evaluations, 1)
        self.seconds_left = seconds / (progress.step - self._first) * (self._total - progress.step) + at_the_end
        return True


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of the GPU if there is one, otherwise of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # In KB on Linux, and in bytes on a Mac.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the type of another device."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else device.type
