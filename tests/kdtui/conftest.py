"""What tests of trainings share."""

from pathlib import Path

import pytest

from tests.models.tiny import make_model


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny model to train."""
    return make_model(tmp_path / "tiny.gguf")
