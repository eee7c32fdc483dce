"""NaN and infinity are never printed as numbers, and those that earlier versions stored stay readable."""

import json
import math
from pathlib import Path

import pytest

from kdtui.cli.output import print_json, print_table
from kdtui.workflows.data.import_dataset import import_dataset
from store.predictions import Prediction, add_prediction, predictions
from store.records import RunSettings
from store.runs import get_run, start_run
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.tiny import make_model


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def test_json_has_null_for_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [1.5, math.inf, {"c": (-math.inf, "NaN", True, None)}]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None, {"c": [None, "NaN", True, None]}]}


def test_a_table_has_a_dash_for_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["x", "y", "z"], [(math.nan, -math.inf, 0.5)])
    assert capsys.readouterr().out.split()[-3:] == ["-", "-", "0.500"]


def test_an_evaluation_of_a_damaged_model_ends_with_one_sentence(kdtui: Kdtui, tmp_path: Path) -> None:
    model = make_model(tmp_path / "damaged.gguf", norm=math.nan)
    result = kdtui("evaluate", "--student", model, "--strategy", "list", "--json")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[-1].startswith(f"kdtui: {model}: the model computes values that are not finite")


def test_a_stored_answer_with_a_confidence_of_nan_is_a_failure(kdtui: Kdtui, db: Database) -> None:
    run = start_run(db, "outdoor", "test", "old", RunSettings("patterns"))
    for session in iter_sessions(db, "outdoor", split="test", limit=3):
        add_prediction(db, run, Prediction(session.id, (), None, 0.1))
    unreadable = '[{"items": ["x"], "positions": [1, 2], "intent": "", "confidence": null}]'
    db.execute("UPDATE predictions SET bundles = ? WHERE rowid = (SELECT min(rowid) FROM predictions)", [unreadable])
    assert [each.bundles for each in predictions(db, get_run(db, 1)).values()] == [None, (), ()]
    [row] = kdtui("run", "ls", "--json").rows
    assert row["scores"]["sessions"] == 3
    assert row["scores"]["valid"] == pytest.approx(2 / 3)


def test_log_probabilities_of_nan_are_accepted(serve: Serve, kdtui: Kdtui) -> None:
    huge = "1" + "0" * 400

    def reply(fake: Fake, _: int) -> None:
        message = {"role": "assistant", "content": '{"bundles": [{"products": [1, 2], "intent": "camp"}]}'}
        logprobs = {"content": [{"token": "x", "logprob": "VALUE"}]}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
        values = ["NaN", "-1e400", "1e400", huge]
        content = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        fake.send(json.dumps(content).replace('"VALUE"', values[len(fake.asked) % 4]).encode())

    url, _ = serve(reply)
    result = kdtui("generate", "o34", "o35", "o36", "o37", "--student", f"{url}#m", "--json")
    assert "Traceback" not in result.err
    for line in result.out.splitlines():
        found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert all(0 <= bundle["confidence"] <= 1 for bundle in found.get("bundles") or [])
