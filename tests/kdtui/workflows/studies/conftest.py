"""Fixtures for tests of studies that run from the command line."""

from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.studies.spec import PRESETS
from kdtui.workflows.studies.spec_files import to_toml
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.tiny_studies import small


@pytest.fixture
def imported(db: Database, data: Path) -> None:
    """The few sessions, as the dataset `outdoor`."""
    list(import_dataset(db, data, "outdoor"))


@pytest.fixture
def presets(study_base: Path, tmp_path: Path) -> Path:
    """A folder with the presets as files, with a tiny student that trains quickly."""
    for name in PRESETS:
        (tmp_path / f"{name}.toml").write_text(to_toml(small(name, study_base)))
    return tmp_path


@pytest.fixture
def study(kdtui: Kdtui, presets: Path, here: None) -> Kdtui:  # noqa: ARG001
    """Run a preset by its name, or a file: `study("rq3", "--seeds", 2)`."""

    def run(source: object, *options: object) -> Any:
        named = presets / f"{source}.toml" if source in PRESETS else source
        return kdtui("study", "run", named, *options, "--json")

    return run
