"""`kdtui calibrate`: strategies are fitted and judged on validation sessions; one is chosen and used."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.student.cross_validation import PairScores, choose, cross_validate_pairs
from kdtui.workflows.student.settings import settings_for
from kdtui.workflows.student.strategy import with_strategy
from models.llama.student import Student
from store.calibrations import calibrations, keep_calibrations
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.sessions import few_products
from tests.support.tiny import make_model


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path, tmp_path: Path) -> None:
    """The demo sessions, most of them for validation, with few products each, so that there are few pairs to judge."""
    lines = [few_products(json.loads(line)) for line in outdoor.read_text().splitlines()]
    path = tmp_path / "sessions.jsonl"
    path.write_text("\n".join(json.dumps({**line, "split": "valid"}) for line in lines[:20]))
    list(import_dataset(db, path, "outdoor"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "student.gguf")


@pytest.mark.slow
def test_every_strategy_is_judged_and_one_is_chosen(kdtui: Kdtui, model: Path, db: Database) -> None:
    result = kdtui("calibrate", "--student", model, "--json")
    assert result.code == 0, result.err
    assert [row["strategy"] for row in result.rows] == ["list", "drafts", "pairs"]
    assert [row["chosen"] for row in result.rows].count(True) == 1
    for row in result.rows:
        assert 0 <= row["pair_f1"] <= 1
        assert row["seconds_per_session"] > 0
    [chosen] = [row["strategy"] for row in result.rows if row["chosen"]]
    assert with_strategy(db, "outdoor", settings_for(str(model))).strategy == chosen
    table = kdtui("calibrate", "--student", model, "--strategy", "list")
    assert "chosen" in table.out
    assert "20 validation sessions" in table.err


@pytest.mark.slow
def test_the_chosen_strategy_is_used_and_a_run_keeps_its_own(kdtui: Kdtui, model: Path, db: Database) -> None:
    settings = settings_for(str(model))
    kdtui("calibrate", "--student", model, "--strategy", "list", "--strategy", "pairs")
    known = calibrations(db, "outdoor", settings)
    assert list(known) == ["list", "pairs"]
    keep_calibrations(db, "outdoor", settings, [], "pairs")
    result = kdtui("evaluate", "--student", model, "--split", "valid", "--limit", 2)
    assert "student + pairs on outdoor valid" in result.err
    # A run keeps the strategy that it began with.
    kdtui("calibrate", "--student", model, "--strategy", "list")
    assert "student + pairs" in kdtui("evaluate", "--resume", 1, "--json").out
    assert with_strategy(db, "outdoor", settings_for(str(model), strategy="drafts")).strategy == "drafts"


def test_learning_is_reported_first(
    kdtui: Kdtui, model: Path, db: Database, outdoor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.student.pair_evidence._AT_ONCE", 2)
    lines = [few_products(json.loads(line)) for line in outdoor.read_text().splitlines()]
    splits = ["valid"] * 20 + ["train"] * (len(lines) - 20)
    path = tmp_path / "both.jsonl"
    path.write_text("\n".join(json.dumps({**line, "split": split}) for line, split in zip(lines, splits, strict=True)))
    list(import_dataset(db, path, "both"))
    mine_patterns(db, "both")
    result = kdtui(
        "calibrate", "--dataset", "both", "--student", model, "--knowledge", "pattern", "--strategy", "pairs"
    )
    assert result.code == 0, result.err
    assert "sessions of both, once: " in result.err


def test_confidence_is_the_measured_precision(kdtui: Kdtui, model: Path) -> None:
    """A random model is right by chance only, whatever it says of itself."""
    before = kdtui("generate", "o01", "o02", "o03", "--student", model, "--strategy", "list", "--json").rows
    kdtui("calibrate", "--student", model, "--strategy", "list")
    after = kdtui("generate", "o01", "o02", "o03", "--student", model, "--strategy", "list", "--json").rows

    def bundles(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        return {row["session"]: row["bundles"] for row in rows}

    for session, found in bundles(before).items():
        assert [each["positions"] for each in found] == [each["positions"] for each in bundles(after)[session]]
        assert [each["confidence"] for each in found] != [each["confidence"] for each in bundles(after)[session]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--limit", 5],
            "a limit of 5 sessions leaves too few to calibrate on; 20 are needed, and dataset 'outdoor' has",
        ),
        (["--strategy", "guess"], "there is no strategy 'guess'; there are: list, drafts, pairs"),
        (["--strategy", "aicl"], "aicl is a way to ask and cannot be calibrated; there are: list, drafts, pairs"),
        (["--student", "patterns"], "the pattern student is calibrated whenever it learns"),
        (["--dataset", "indoor"], "there is no dataset 'indoor'"),
        (["--student", "none.gguf"], "none.gguf: No such file"),
    ],
)
def test_a_student_that_cannot_be_calibrated_is_one_sentence(
    kdtui: Kdtui, arguments: list[object], message: str
) -> None:
    result = kdtui("calibrate", *arguments)
    assert result.code == 1
    assert message in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "guess"], "there is no strategy 'guess'"),
        (["--adapter", "none.gguf"], "none.gguf: No such file or directory; an adapter is a GGUF file"),
        (["--adapter", "none.gguf=nan"], "the scale of an adapter is a number such as 0.5, not nan"),
        (["--student", "patterns", "--strategy", "list"], "leave out --strategy"),
    ],
)
def test_an_unknown_strategy_or_adapter_is_refused(kdtui: Kdtui, arguments: list[object], message: str) -> None:
    result = kdtui("generate", "o01", *arguments)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err


def test_the_fastest_of_the_best_strategies_is_chosen() -> None:
    good, noisy, bad = [0.7, 0.8, 0.6, 0.9], [0.8, 0.7, 0.5, 0.9], [0.1, 0.2, 0.1, 0.2]
    assert choose({"list": good, "pairs": noisy, "drafts": bad}, {"list": 2, "pairs": 1, "drafts": 0.5}) == "pairs"
    assert choose({"list": good, "pairs": noisy, "drafts": bad}, {"list": 1, "pairs": 2, "drafts": 0.5}) == "list"


def test_a_strategy_that_refuses_a_session_is_left_out_and_says_why(kdtui: Kdtui, model: Path, db: Database) -> None:
    """What it does on the sessions that happen to fit says nothing of the others."""
    before = kdtui("calibrate", "--student", model, "--strategy", "list", "--context", 2048)
    assert before.code == 0
    result = kdtui("calibrate", "--student", model, "--context", 512)
    assert result.code == 1
    assert "list is left out: session o" in result.err
    assert "tokens but the context has 512" in result.err
    assert "no strategy can answer all" in result.err
    assert list(calibrations(db, "outdoor", settings_for(str(model)))) == ["list"], "what was known is kept"


def test_strategies_are_compared_session_by_session(kdtui: Kdtui, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are done in any order, and the order must not matter."""
    seen: list[list[float]] = []

    def recorded(f1: dict[Any, list[float]], seconds: dict[Any, float]) -> Any:
        seen.append(f1["list"])
        return choose(f1, seconds)

    answer = Student.answer
    monkeypatch.setattr("kdtui.workflows.student.calibrate.choose", recorded)
    kdtui("calibrate", "--student", model, "--strategy", "list")
    monkeypatch.setattr(Student, "answer", lambda *arguments: reversed(list(answer(*arguments))))
    kdtui("calibrate", "--student", model, "--strategy", "list")
    assert seen[0] == seen[1]
    assert seen[0] != seen[0][::-1]


def judged_sessions(how_right: float) -> list[PairScores]:
    """Return sessions whose evidence is right nine times in ten, and whose scores are right with this frequency."""
    numbers = np.random.default_rng(0)
    sessions = []
    for _ in range(60):
        true = np.zeros((6, 6), np.bool_)
        true[:3, :3] = true[3:, 3:] = True

        def seen(share: float, true: npt.NDArray[np.bool_] = true) -> npt.NDArray[np.float64]:
            right = np.triu(numbers.random((6, 6)) < share, 1)
            return np.where(right | right.T, true, ~true).astype(np.float64)

        truth = [frozenset({1, 2, 3}), frozenset({4, 5, 6})]
        sessions.append(PairScores(truth, 4 * seen(how_right) - 2, 0.2 + 0.6 * seen(0.8)))
    return sessions


def test_answers_that_add_nothing_to_the_evidence_are_not_requested() -> None:
    for how_right, needed in ((0.5, False), (0.95, True)):
        fitted = cross_validate_pairs(judged_sessions(how_right)).calibration.pairs
        assert fitted is not None
        assert fitted.needs_scores == needed
        assert fitted.evidence > 0
