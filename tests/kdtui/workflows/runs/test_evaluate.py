"""`kdtui evaluate`: runs are stored, scored next to the floors, and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.student.settings import settings_for
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.tiny import make_model
from tests.support.waiting import PATIENCE

COLUMNS = [
    "name", "n", "sessions", "precision", "recall", "recall_2024", "coverage", "strict_precision", "strict_recall",
    "pair_f1", "exact", "set_precision", "set_recall", "gjs", "bundles_per_session", "valid",
    "intent_bundles", "intent_matched", "intent_f1", "intent_rouge_l", "intent_cosine",
    "intent_floors", "seconds", "prompt_tokens", "completion_tokens", "joules", "meters", "peak_memory_bytes", "money",
]  # fmt: skip
FLOORS = ["whole session", *(f"category {level}" for level in range(1, 6)), "patterns"]


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def test_floors_need_no_student(kdtui: Kdtui) -> None:
    result = kdtui("evaluate", "--floors-only", "--json")
    assert [row["name"] for row in result.rows] == [*FLOORS, "truth"]
    assert all(list(row) == COLUMNS for row in result.rows)
    assert result.rows[-1]["pair_f1"] == 1
    # In this data the whole session is never a bundle, so there is no hit to average the coverage over.
    assert result.rows[0]["coverage"] is None


@pytest.mark.slow
def test_a_student_gets_a_row_among_the_floors(db: Database, kdtui: Kdtui) -> None:
    result = kdtui("evaluate", "--limit", 2, "--json")
    assert [row["name"] for row in result.rows] == [*FLOORS, "shipped", "truth"]
    assert {row["sessions"] for row in result.rows} == {2}
    assert "outdoor test, 2 sessions to answer\n" in result.err
    assert db.execute("SELECT count(*), count(error) FROM predictions").fetchone() == (2, 0)
    assert db.execute("SELECT count(finished_at) FROM runs").fetchone() == (1,)


def test_the_table_shows_n_and_fits_eighty_columns(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtui.cli.output._WIDTH_OF_FILES", 80)
    result = kdtui("evaluate", "--student", "patterns", "--split", "valid")
    assert " n " in result.out
    assert "…" not in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    assert "over all 4" in result.err


def test_intents_are_compared_with_those_that_people_wrote(kdtui: Kdtui) -> None:
    result = kdtui("evaluate", "--floors-only", "--split", "valid", "--json")
    rows = {row["name"]: row for row in result.rows}
    assert rows["whole session"]["intent_f1"] is None
    assert 0 <= rows["patterns"]["intent_rouge_l"] <= rows["patterns"]["intent_f1"] < 1
    assert rows["truth"]["intent_f1"] == rows["truth"]["intent_rouge_l"] == 1
    assert rows["truth"]["intent_matched"] == rows["truth"]["intent_bundles"] > 0
    table = kdtui("evaluate", "--floors-only", "--split", "valid")
    assert "ROUGE-L" in table.out
    assert f"intents, over the true bundles (of {rows['truth']['intent_bundles']})" in table.err


def test_a_run_is_resumed_where_it_ended(db: Database, kdtui: Kdtui) -> None:
    kdtui("evaluate", "--student", "patterns")
    db.execute("DELETE FROM predictions WHERE rowid > 4")
    db.execute("UPDATE runs SET finished_at = NULL")
    db.conn.commit()
    kept = db.execute("SELECT session_id, created_at, seconds FROM predictions").fetchall()
    result = kdtui("evaluate", "--resume", 1, "--json")
    assert "3 sessions to answer, 4 answered before" in result.err
    assert [row["sessions"] for row in result.rows if row["name"] == "patterns"] == [7]
    assert db.execute("SELECT session_id, created_at, seconds FROM predictions").fetchall()[:4] == kept
    assert db.execute("SELECT count(finished_at) FROM runs").fetchone() == (1,)
    assert kdtui("evaluate", "--resume", 1).code == 0


def test_an_interrupted_run_keeps_its_answers_and_says_how_to_resume(
    db: Database, database_of_the_test: Path, tmp_path: Path
) -> None:
    # Eight drafts of each session: the interrupt arrives before the last one is written.
    student = ["--student", str(make_model(tmp_path / "tiny.gguf")), "--strategy", "drafts"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kdtui", "evaluate", "--split", "train", *student],
        env=os.environ | {"KDTUI_DB": str(database_of_the_test)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while db.execute("SELECT count(*) FROM predictions").fetchone()[0] < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert "resume with: kdtui evaluate --resume 1" in err
    assert "Traceback" not in err
    assert 2 <= db.execute("SELECT count(*) FROM predictions").fetchone()[0] < 22


def test_sessions_that_failed_count_as_not_valid(kdtui: Kdtui, db: Database) -> None:
    result = kdtui("evaluate", "--student", "smollm2", "--limit", 2, "--context", 256, "--json")
    row = next(row for row in result.rows if row["name"] == "smollm2")
    assert (row["valid"], row["n"], row["precision"]) == (0, 0, None)
    assert db.execute("SELECT count(error) FROM predictions").fetchone() == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "9"], "there is no run 9"),
        (["-d", "nowhere"], "there is no dataset 'nowhere'"),
        (["--student", "smollm2", "--knowledge", "rule"], "has no rules yet"),
    ],
)
def test_an_impossible_request_is_one_sentence(kdtui: Kdtui, arguments: list[str], message: str) -> None:
    result = kdtui("evaluate", *arguments)
    assert result.code == 1
    assert message in result.err


def test_a_student_that_cannot_be_loaded_starts_no_run(db: Database, kdtui: Kdtui) -> None:
    assert kdtui("evaluate", "--student", "none.gguf").code == 1
    assert db.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_the_file_of_a_student_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_for("m.gguf", ()).student == str(tmp_path / "m.gguf")
    assert settings_for("patterns", ()).student == "patterns"


def test_resuming_without_a_student_is_wrong_usage(kdtui: Kdtui) -> None:
    assert kdtui("evaluate", "--resume", 1, "--floors-only").code == 2


def test_a_dataset_without_training_sessions_has_all_floors(kdtui: Kdtui, tmp_path: Path) -> None:
    path = tmp_path / "test_only.jsonl"
    path.write_text(
        '{"session": "s", "items": [{"id": "x"}, {"id": "y"}], "bundles": [{"items": ["x", "y"]}], "split": "test"}\n'
    )
    kdtui("data", "import", path, "-d", "tiny")
    names = [row["name"] for row in kdtui("evaluate", "-d", "tiny", "--floors-only", "--json").rows]
    assert names[-2:] == ["patterns", "truth"]
