"""What tests of trainings and hosts share."""

import sys
from pathlib import Path

import pytest

from kdtui.workflows.import_dataset import import_dataset
from store.hosts import Host
from store.records import HostSettings
from store.sqlite import Database
from tests import sshd
from tests.models.tiny import make_model


@pytest.fixture
def imported(db: Database, few: Path) -> None:
    """A few of the demo sessions, as the dataset `outdoor`."""
    list(import_dataset(db, few, "outdoor"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny model to train."""
    return make_model(tmp_path / "tiny.gguf")


@pytest.fixture
def host(server: sshd.Sshd, tmp_path: Path) -> Host:
    """A host behind it, with a folder whose name asks for quotes."""
    assert server.config.exists()
    return Host("far", "gpu", str(tmp_path / 'it\'s a "work" dir'), HostSettings(python=sys.executable))
