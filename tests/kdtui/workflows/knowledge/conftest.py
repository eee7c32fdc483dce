"""Fixtures for tests of knowledge."""

from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from store.records import Session
from store.sessions import iter_sessions
from store.sqlite import Database


@pytest.fixture
def train(db: Database, outdoor: Path) -> list[Session]:
    """The training sessions of the dataset `outdoor`, which is imported, with its patterns."""
    list(import_dataset(db, outdoor, "outdoor"))
    mine_patterns(db, "outdoor")
    return list(iter_sessions(db, "outdoor", split="train"))
