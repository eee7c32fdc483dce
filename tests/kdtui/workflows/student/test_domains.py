"""With --domains all, a student sees a sample's knowledge of other datasets."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from kdtui.distill.applicable import Applicable, estimate_tokens
from kdtui.workflows.data.embed import embed_dataset
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.knowledge.sample import create_sample
from kdtui.workflows.student.command_options import evaluate_arguments
from kdtui.workflows.student.nearest import make_retriever
from store.knowledge import get_knowledge, sessions_of_piece
from store.records import RunSettings, Session
from store.runs import get_run
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.tiny import make_model


@pytest.fixture
def two(db: Database, outdoor: Path) -> Database:
    """Two datasets with knowledge, a sample of the one that the tests do not query, and a sample of both."""
    for name, path in (("outdoor", outdoor), ("kitchen", Path(str(files("kdtui") / "demo_data" / "kitchen.jsonl")))):
        list(import_dataset(db, path, name))
        mine_patterns(db, name)
        list(distill_annotations(db, name, ["rule", "thought"]))
    sample(db, "other", "kitchen")
    sample(db, "both", "outdoor", "kitchen")
    return db


def sample(db: Database, name: str, *datasets: str) -> None:
    create_sample(db, name, datasets, None, strategy="random", ratio=1.0, seed=0, student="")


def shown(db: Database, session: Session, *formats: str, **settings: Any) -> Applicable:
    return make_retriever(db, "outdoor", RunSettings("smollm2", formats, **settings), estimate_tokens)(session)


def datasets(db: Database, found: Applicable) -> set[str]:
    return {get_knowledge(db, number).dataset for number in found.numbers}


def test_knowledge_of_another_dataset_is_refused_with_a_hint_to_the_option(two: Database, kdtui: Kdtui) -> None:
    [session, *_] = [each.id for each in iter_sessions(two, "outdoor", split="test")]
    ask = ["knowledge", "for", session, "--dataset", "outdoor", "--sample", "other", "--json"]
    refused = kdtui(*ask)
    assert refused.code == 1
    assert "sample 'other' has no kept patterns of dataset 'outdoor'" in refused.err
    assert "--domains all shows those of other datasets, too" in refused.err
    [row] = kdtui(*ask, "--domains", "all", "--knowledge", "thought").rows
    assert {get_knowledge(two, number).dataset for number in row["knowledge"]} == {"kitchen"}


def test_a_sample_of_both_shows_its_own_dataset_by_default(two: Database) -> None:
    own, every = set(), set()
    for session in iter_sessions(two, "outdoor", split="test"):
        settings: dict[str, Any] = {"sample": "both", "neighbours": 20, "budget": 100_000}
        own |= datasets(two, shown(two, session, "rule", "thought", **settings))
        every |= datasets(two, shown(two, session, "rule", "thought", domains="all", **settings))
    assert own == {"outdoor"}
    assert every == {"outdoor", "kitchen"}


def test_the_nearest_sessions_of_all_datasets_come_first(two: Database) -> None:
    """Sessions with similar products are nearer than others, whatever their dataset."""
    for session in iter_sessions(two, "outdoor", split="test"):
        near = shown(two, session, "thought", sample="both", domains="all")
        assert near.thoughts == shown(two, session, "thought", sample="both").thoughts


def test_sessions_with_the_same_id_in_two_datasets_are_distinguished(two: Database, outdoor: Path) -> None:
    list(import_dataset(two, outdoor, "copy"))
    list(distill_annotations(two, "copy", ["thought"]))
    create_sample(two, "copied", ["copy"], ["thought"], strategy="random", ratio=1.0, seed=0, student="")
    session = next(iter(iter_sessions(two, "outdoor", split="train")))
    [piece] = shown(two, session, "thought", sample="copied", domains="all").thoughts
    assert get_knowledge(two, piece.number).dataset == "copy"
    assert sessions_of_piece(two, piece.number) == [session.id]


def test_patterns_of_other_datasets_are_not_corrected_for_a_session(two: Database, outdoor: Path) -> None:
    list(import_dataset(two, outdoor, "copy"))
    mine_patterns(two, "copy")
    create_sample(two, "copied", ["copy"], ["pattern"], strategy="random", ratio=1.0, seed=0, student="")
    create_sample(two, "own", ["outdoor"], ["pattern"], strategy="random", ratio=1.0, seed=0, student="")
    session = next(each for each in iter_sessions(two, "outdoor", split="train") if each.bundles)
    copied = shown(two, session, "pattern", sample="copied", domains="all")
    own = shown(two, session, "pattern", sample="own", domains="all")
    strongest = {match.positions: match.pattern.bundles for match in copied.hints(session)}
    reduced = {match.positions: match.pattern.bundles for match in own.hints(session)}
    assert strongest
    assert all(reduced.get(positions, 0) <= bundles for positions, bundles in strongest.items())
    assert strongest != reduced


def test_vectors_find_near_sessions_in_all_datasets(two: Database, tmp_path: Path) -> None:
    tiny = str(make_model(tmp_path / "tiny.gguf"))
    for name in ("outdoor", "kitchen"):
        list(embed_dataset(two, name, tiny))
    found = set()
    for session in iter_sessions(two, "outdoor", split="test"):
        settings: dict[str, Any] = {"sample": "both", "neighbours": 20, "budget": 100_000, "near": tiny}
        near = shown(two, session, "thought", domains="all", **settings)
        found |= datasets(two, near)
    assert found == {"outdoor", "kitchen"}


def test_a_run_stores_its_domains_and_its_command_names_them(two: Database, kdtui: Kdtui, tmp_path: Path) -> None:
    tiny = make_model(tmp_path / "tiny.gguf")
    options = ["--student", tiny, "--knowledge", "rule,thought", "--sample", "other", "--limit", 1]
    result = kdtui("evaluate", "--dataset", "outdoor", *options, "--domains", "all")
    assert result.code == 0, result.err
    run = get_run(two, 1)
    assert run.settings.domains == "all"
    assert "all domains" in run.name
    [row] = kdtui("run", "ls", "--json").rows
    assert row["domains"] == "all"
    assert "--domains all" in " ".join(evaluate_arguments("outdoor", "test", run.settings))
