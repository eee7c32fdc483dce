"""`--published`: published results are shown next to a run if they are about exactly these sessions."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kdtui.errors import KdtuiError
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.runs import published
from kdtui.workflows.runs.published import OfficialSplit, fingerprint, official_split, published_results
from kdtui.workflows.runs.session_selection import SessionSelection
from store.records import SPLITS
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture
def official(db: Database, outdoor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo dataset stands for Electronic: on the real one floors take half a minute."""
    list(import_dataset(db, outdoor, "outdoor"))
    for split in SPLITS:
        sessions = list(iter_sessions(db, "outdoor", split=split))
        known = {(len(sessions), fingerprint(sessions)): OfficialSplit("Electronic", split)}
        monkeypatch.setattr(published, "_OFFICIAL", published._OFFICIAL | known)


def test_official_splits_are_recognized_under_any_name(db: Database, real_dataset: Path) -> None:
    list(import_dataset(db, real_dataset, "mine"))
    name = real_dataset.name.title()
    assert [official_split(db, "mine", split) for split in SPLITS] == [OfficialSplit(name, split) for split in SPLITS]
    rows = {row.name: row for row in published_results(db, SessionSelection.among(db, "mine", "test", None, None))}
    assert len(rows) == 11
    assert rows["GPT-4o-mini, SFT"].scores["set_precision"] == {"Electronic": 0.480, "Clothing": 0.591}[name]
    assert rows["Llama-3.3-70B, few-shot"].scores["gjs"] == {"Electronic": 0.609, "Clothing": 0.721}[name]


def write(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def test_the_order_in_which_sessions_and_products_are_imported_makes_no_difference(
    db: Database, outdoor: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in outdoor.read_text(encoding="utf-8").splitlines()]
    list(import_dataset(db, write(tmp_path / "one.jsonl", lines), "one"))
    shuffle = random.Random(0).shuffle
    shuffle(lines)
    for line in lines:
        for part in (line["items"], line["bundles"], *(bundle["items"] for bundle in line["bundles"])):
            shuffle(part)
        for item in line["items"]:
            item["title"] = "another title"
    list(import_dataset(db, write(tmp_path / "other.jsonl", lines), "other"))
    one, other = (fingerprint(iter_sessions(db, name, split="test")) for name in ("one", "other"))
    assert one == other
    tested = {session.id for session in iter_sessions(db, "one", split="test")}
    line = next(line for line in lines if line["session"] in tested)
    line["bundles"] = [{**line["bundles"][0], "items": [item["id"] for item in line["items"]]}]
    list(import_dataset(db, write(tmp_path / "third.jsonl", lines), "third"))
    assert fingerprint(iter_sessions(db, "third", split="test")) != one


@pytest.mark.usefixtures("official")
def test_published_rows_come_before_the_run_with_their_source_and_blanks_for_missing_metrics(
    kdtui: Kdtui,
) -> None:
    result = kdtui("evaluate", "--student", "patterns", "--published", "--json")
    names = [row["name"] for row in result.rows]
    first = names.index("Freq")
    # In this case the run is one of the floors.
    assert names[first - 1] == "patterns"
    assert names[first + 10 :] == ["Llama-3.3-70B, few-shot", "truth"]
    row = next(row for row in result.rows if row["name"] == "GPT-4o-mini, AICL")
    reported = {key: value for key, value in row.items() if value is not None}
    assert "LLM4BEAR" in reported.pop("source")
    assert reported == {"name": "GPT-4o-mini, AICL", "set_precision": 0.424, "set_recall": 0.384, "gjs": 0.567}
    assert {tuple(row) for row in result.rows} == {tuple(row)}
    assert [row["source"] for row in result.rows if not row["name"].startswith(("GPT", "Ll", "F", "B"))] == [None] * 8

    table = kdtui("evaluate", "--resume", 1, "--published")
    lines = [line.split() for line in table.out.splitlines() if "GPT-4o-mini, AICL" in line]
    assert lines == [["GPT-4o-mini,", "AICL", "[LLM4BEAR]", "-", "-", "-", "-", "0.424", "0.384", "0.567"]]
    assert "[LLM4BEAR] README of github.com/anon5159753/LLM4BEAR" in table.err


@pytest.mark.usefixtures("official")
def test_run_show_has_published_results_too(kdtui: Kdtui) -> None:
    kdtui("evaluate", "--student", "patterns")
    [shown] = kdtui("run", "show", 1, "--published", "--json").rows
    assert [row["name"] for row in shown["published"]][-1] == "Llama-3.3-70B, few-shot"
    assert "GPT-4.1-mini, SFT [LLM4BEAR]" in kdtui("run", "show", 1, "--published").out
    assert "published" not in kdtui("run", "show", 1, "--json").rows[0]


@pytest.mark.usefixtures("official")
def test_results_about_other_sessions_are_not_shown(db: Database, kdtui: Kdtui) -> None:
    result = kdtui("evaluate", "--student", "patterns", "--published", "--split", "valid")
    assert (result.code, result.out) == (1, "")
    assert "published results about Electronic are about its test split, not about its valid split" in result.err
    result = kdtui("evaluate", "--student", "patterns", "--published", "--limit", 3)
    assert (result.code, result.out) == (1, "")
    assert "published results are about all 7 sessions of the test split; leave out --limit" in result.err
    # This was known before any answer.
    assert db.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_a_dataset_of_the_same_size_is_not_taken_for_an_official_one(
    db: Database, outdoor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    monkeypatch.setattr(published, "_OFFICIAL", {(7, "0" * 64): OfficialSplit("Electronic", "test")})
    assert official_split(db, "outdoor", "test") is None
    with pytest.raises(KdtuiError, match="it is not a split of the official datasets"):
        published_results(db, SessionSelection.among(db, "outdoor", "test", None, None))
