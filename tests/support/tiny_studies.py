"""Studies of a tiny student, whose trainings run in the process of the test."""

from pathlib import Path

import pytest

from kdtui.workflows.studies.spec import Spec, TrainingOptions
from kdtui.workflows.studies.spec_files import changed_spec, load_preset
from tests.support.launching import train_in_this_process


def train_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run trainings in this process, with the real trainer, which then need not be imported each time."""
    monkeypatch.setattr("kdtui.workflows.training.on_this_machine.start_trainer", train_in_this_process)
    # A random model writes until its context is full.
    monkeypatch.setattr("models.sft.evaluation._MAX_LIST_TOKENS", 16)


def small(name: str, base: Path) -> Spec:
    """A preset with a tiny student that trains quickly."""
    training = TrainingOptions(epochs=1, learning_rate=0.003, batch_tokens=30000, longest=4000)
    return changed_spec(load_preset(name, ["outdoor"]), student=(str(base),), training=training)
