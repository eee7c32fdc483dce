"""Adapters that only write intents, except the shipped one, are asked as they were trained, and not otherwise."""

import shutil
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from models.embedded import shipped_adapter
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture
def writer(db: Database, outdoor: Path, tmp_path: Path) -> Path:
    """An adapter that only writes intents, and a dataset without any knowledge."""
    list(import_dataset(db, outdoor, "outdoor"))
    return Path(shutil.copy(shipped_adapter(), tmp_path / "writer.gguf"))


@pytest.mark.slow
def test_it_answers_without_knowledge_that_it_is_not_shown(writer: Path, kdtui: Kdtui) -> None:
    found = kdtui("generate", "o05", "--adapter", writer, "--json")
    assert found.code == 0, found.err
    bundles = found.rows[0]["bundles"]
    assert bundles
    assert all(bundle["intent"] for bundle in bundles)
    # The bundles are those of the shipped student, which are found in the same way.
    shipped = kdtui("generate", "o05", "--json").rows[0]["bundles"]
    assert [each["positions"] for each in bundles] == [each["positions"] for each in shipped]


@pytest.mark.slow
def test_its_run_claims_neither_knowledge_nor_tokens_of_a_prompt(writer: Path, kdtui: Kdtui) -> None:
    evaluated = kdtui("evaluate", "--adapter", writer, "--split", "valid", "--limit", 2, "--json")
    assert evaluated.code == 0, evaluated.err
    [run] = kdtui("run", "show", 1, "--json").rows
    assert run["knowledge"] == []
    assert run["prompt_tokens"] is None
    assert "pattern" not in run["name"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--knowledge", "rule"], "is shown no knowledge; leave out --knowledge"),
        (["--knowledge", "pattern", "--sample", "x"], "is shown no knowledge; leave out --knowledge and --sample"),
        (["--strategy", "drafts"], "the pair model finds; leave out --strategy"),
        (["--strategy", "aicl"], "the pair model finds; leave out --strategy"),
    ],
)
def test_options_that_it_cannot_use_are_refused(writer: Path, kdtui: Kdtui, options: list[str], message: str) -> None:
    for command in (("generate", "o05"), ("evaluate", "--split", "valid")):
        result = kdtui(*command, "--dataset", "outdoor", "--adapter", writer, *options)
        assert result.code == 1
        assert message in result.err
        assert "writer writes only the intents" in result.err
    assert kdtui("run", "ls", "--json").rows == []


def test_it_cannot_be_calibrated(writer: Path, kdtui: Kdtui) -> None:
    result = kdtui("calibrate", "--dataset", "outdoor", "--adapter", writer)
    assert result.code == 1
    assert "writer writes only the intents" in result.err
    assert "there is no strategy to choose" in result.err
