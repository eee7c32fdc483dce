"""What tests of trainings and hosts share."""

import sys
from pathlib import Path

import pytest

from store.hosts import Host
from store.records import HostSettings
from tests import sshd
from tests.models.tiny import make_model


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny model to train."""
    return make_model(tmp_path / "tiny.gguf")


@pytest.fixture
def host(server: sshd.Sshd, tmp_path: Path) -> Host:
    """A host behind it, with a folder whose name asks for quotes."""
    assert server.config.exists()
    return Host("far", "gpu", str(tmp_path / 'it\'s a "work" dir'), HostSettings(python=sys.executable))
