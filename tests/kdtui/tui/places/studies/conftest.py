"""Stores with a study: finished, not begun, and trained but not answered."""

from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.studies.spec_files import to_toml
from store.runs import delete_run
from store.sqlite import Database
from store.studies import get_study, save_study
from tests.support.studies_place import STUDY
from tests.support.tiny_studies import small


@pytest.fixture
def store(finished: Database) -> Path:
    """Return a store with a finished study, and an unfinished one over the same sessions."""
    assert finished.path is not None
    stored = get_study(finished, STUDY)
    save_study(finished, "wider", stored.spec.replace(f'name = "{STUDY}"', 'name = "wider"', 1), "wider.toml")
    return finished.path


@pytest.fixture
def unrun(db: Database, data: Path, study_base: Path) -> Path:
    """Return a store with sessions, and a study that has not begun."""
    list(import_dataset(db, data, "outdoor"))
    spec = small("rq3", study_base)
    save_study(db, spec.name, to_toml(spec), "rq3")
    assert db.path is not None
    return db.path


@pytest.fixture
def unanswered(finished: Database) -> Path:
    """Return a store in which all trainings of a study are done, and its runs are deleted."""
    for number in range(1, 6):
        delete_run(finished, number)
    assert finished.path is not None
    return finished.path
