"""Failed sessions of finished cells are answered again on request; existing answers are kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kdtui.workflows.studies.grid import grids
from kdtui.workflows.studies.labels import cell_names
from kdtui.workflows.studies.spec import Question, Spec
from models.errors import PromptTooLong
from store.predictions import failures, predictions
from store.runs import get_run
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve

GOOD = json.dumps({"bundles": [{"products": [1, 2, 3, 4], "intent": "night outside"}]})

WIDE = """
name = "wide"
dataset = ["outdoor"]
[[question]]
title = "?"
compare = "formats"
baseline = "none"
formats = ["none", "pattern"]
student = [{student}]
"""


class Server:
    """Answers while it is healthy; otherwise it refuses the chosen questions."""

    def __init__(self, serve: Serve) -> None:
        self.refuses: Callable[[str], int | None] = lambda _: None
        self.url, self.fake = serve(self._reply)

    def _reply(self, fake: Fake, _: int) -> None:
        status = self.refuses(str(fake.body["messages"]))
        if status is None:
            fake.complete(GOOD)
        else:
            fake.send({"error": {"message": "out of order"}}, status)

    @property
    def asked(self) -> int:
        """How many questions it was asked so far."""
        return len(self.fake.asked)


@pytest.fixture
def server(serve: Serve) -> Server:
    """Provide a healthy server."""
    return Server(serve)


@pytest.fixture
def run(kdtui: Kdtui, imported: None, server: Server, tmp_path: Path) -> Kdtui:  # noqa: ARG001
    """Run a study of two cells, each of two sessions, that the server answers."""
    path = tmp_path / "wide.toml"
    path.write_text(WIDE.format(student=json.dumps(f"{server.url}#m")))

    def call(*options: object) -> Any:
        return kdtui("study", "run", path, *options)

    return call


def one_of_the_sessions(db: Database) -> str:
    """Return a text that the questions about only one of the sessions contain."""
    [(title,)] = db.execute(
        """
        SELECT title FROM items JOIN session_items ON items.id = item_id JOIN sessions ON sessions.id = session_id
        WHERE split = 'test' ORDER BY session DESC, position LIMIT 1
        """
    ).fetchall()
    return str(title)


def refusing(title: str, status: int = 400) -> Callable[[str], int | None]:
    return lambda question: status if title in question else None


def listed(kdtui: Kdtui) -> dict[str, Any]:
    [row] = kdtui("study", "ls", "--json").rows
    assert isinstance(row, dict)
    return row


def cells(kdtui: Kdtui, name: str = "wide") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = kdtui("study", "show", name, "--json").rows
    return rows


def test_failed_sessions_are_answered_again_and_nothing_else_is_asked(
    run: Kdtui, kdtui: Kdtui, server: Server, db: Database
) -> None:
    server.refuses = refusing(one_of_the_sessions(db))
    first = run()
    assert first.code == 0, first.err
    assert "2 sessions failed in 2 finished cells; --retry-failed tries again" in first.err
    assert listed(kdtui)["state"] == "complete except 2 sessions"
    assert [cell["state"] for cell in cells(kdtui)] == ["done, without an answer to 1 of 2 sessions"] * 2
    before, asked = cells(kdtui), server.asked
    numbers = [int(cell["run"]) for cell in before]
    answered = {number: dict(predictions(db, get_run(db, number))) for number in numbers}
    server.refuses = lambda _: None
    assert run().code == 0
    assert server.asked == asked
    again = run("--retry-failed")
    assert again.code == 0, again.err
    assert server.asked == asked + 2
    assert "tries again" not in again.err
    assert listed(kdtui)["state"] == "complete"
    after = cells(kdtui)
    assert [cell["state"] for cell in after] == ["done", "done"]
    assert [cell["run"] for cell in after] == [cell["run"] for cell in before]
    assert all(new["pair_f1"] > old["pair_f1"] for new, old in zip(after, before, strict=True))
    for number in numbers:
        for session, answer in predictions(db, get_run(db, number)).items():
            if answered[number][session].error is None:
                assert answer == answered[number][session]
            assert answer.error is None
    assert run("--retry-failed").code == 0
    assert server.asked == asked + 2


def test_reports_and_exports_have_the_new_answers(
    run: Kdtui, kdtui: Kdtui, server: Server, db: Database, tmp_path: Path
) -> None:
    def written() -> tuple[str, str]:
        assert kdtui("study", "report", "wide", "--output", tmp_path).code == 0
        return (tmp_path / "wide.md").read_text(), kdtui("study", "export", "wide").out

    server.refuses = refusing(one_of_the_sessions(db))
    run()
    report, rows = written()
    assert "no answer to 1 session" in report
    server.refuses = lambda _: None
    run("--retry-failed")
    new_report, new_rows = written()
    assert "no answer to" not in new_report
    assert new_rows != rows


def test_the_plan_counts_the_sessions_that_are_tried_again(run: Kdtui, server: Server, db: Database) -> None:
    server.refuses = refusing(one_of_the_sessions(db))
    run()
    asked = server.asked
    [plan] = run("--dry-run", "--retry-failed", "--json").rows
    assert (plan["unanswered"], plan["steps"]["evaluation"]) == (2, {"done": 2})
    assert plan["seconds"]["evaluation"] > 0
    shown = run("--dry-run", "--retry-failed")
    assert "2 sessions that failed in 2 finished cells are tried again" in shown.err
    [line] = [line.split() for line in shown.out.splitlines() if "evaluations" in line]
    assert line[1:4] == ["2", "0", "2"]
    plain = run("--dry-run")
    assert "2 sessions failed in 2 finished cells; --retry-failed tries again" in plain.err
    [line] = [line.split() for line in plain.out.splitlines() if "evaluations" in line]
    assert line[1:4] == ["2", "2", "0"]
    assert server.asked == asked


def test_a_session_that_fails_again_is_unchanged(run: Kdtui, kdtui: Kdtui, server: Server, db: Database) -> None:
    server.refuses = refusing(one_of_the_sessions(db))
    run()
    runs = [get_run(db, int(cell["run"])) for cell in cells(kdtui)]
    before = [failures(db, each) for each in runs]
    server.refuses = refusing(one_of_the_sessions(db), status=422)
    again = run("--retry-failed")
    assert again.code == 0
    assert "2 sessions failed in 2 finished cells; --retry-failed tries again" in again.err
    assert [failures(db, each) for each in runs] == before


def test_a_lost_server_leaves_finished_cells_unchanged(run: Kdtui, kdtui: Kdtui, server: Server, db: Database) -> None:
    server.refuses = refusing(one_of_the_sessions(db))
    run()
    before = cells(kdtui)
    server.refuses = lambda _: 401
    again = run("--retry-failed")
    assert again.code == 1
    assert "refuses the key in" in again.err
    assert "its answers stay as they are" in again.err
    assert "2 finished cells could not be retried" in again.err
    assert cells(kdtui) == before
    server.refuses = lambda _: None
    assert run("--retry-failed").code == 0
    assert listed(kdtui)["state"] == "complete"


def test_answers_are_kept_when_a_server_fails_in_the_middle_of_a_group(run: Kdtui, server: Server) -> None:
    questions: list[str] = []

    def after_the_first(question: str) -> int | None:
        questions.append(question)
        return 401 if len(questions) > 1 else None

    server.refuses = after_the_first
    assert run().code == 1
    server.refuses = lambda _: None
    server.fake.asked.clear()
    assert run("--retry-failed").code == 0
    assert questions[0] not in [str(each["messages"]) for each in server.fake.asked]
    # The other session of the first cell, and both of the second.
    assert server.asked == 3


def break_answers(db: Database, run: int, reason: str, *, session: int) -> None:
    """Turn one answer of a run into a failure."""
    with db.atomic():
        changed = db.execute(
            """
            UPDATE predictions SET bundles = NULL, error = ? WHERE run_id = ? AND session_id = (
                SELECT session_id FROM predictions WHERE run_id = ? ORDER BY session_id LIMIT 1 OFFSET ?
            )
            """,
            [reason, run, run, session],
        )
        assert changed.rowcount == 1


def test_a_session_that_is_too_long_is_not_tried_again(finished: Database, study: Kdtui, kdtui: Kdtui) -> None:
    too_long = str(PromptTooLong.of(9000, 8192))
    break_answers(finished, 1, too_long, session=0)
    break_answers(finished, 1, "the machine was out of breath", session=1)
    break_answers(finished, 3, too_long, session=0)
    [row] = kdtui("study", "ls", "--json").rows
    assert (row["state"], row["unanswered"]) == ("complete except 1 session", 1)
    result = study("rq3", "--retry-failed")
    assert result.code == 0, result.err
    assert [event["step"] for event in result.rows if event["event"] == "StepBegun"] == [
        "answer outdoor test: tiny zero-shot"
    ]
    assert [each.error for each in failures(finished, get_run(finished, 1))] == [too_long]
    assert kdtui("study", "ls", "--json").rows[0]["state"] == "complete"


def test_a_cell_whose_adapter_is_gone_is_not_answered_by_another(
    finished: Database, study: Kdtui, kdtui: Kdtui
) -> None:
    run = int(cells(kdtui, "rq3-outdoor")[2]["run"])
    adapter = get_run(finished, run).settings.adapters[0][0]
    break_answers(finished, run, "the machine was out of breath", session=0)
    with finished.atomic():
        finished.execute("DELETE FROM models WHERE name = ?", [adapter])
    result = study("rq3", "--retry-failed")
    assert (result.code, [event for event in result.rows if event["event"] == "StepBegun"]) == (0, [])
    assert len(failures(finished, get_run(finished, run))) == 1
    plan_text = kdtui("study", "run", "rq3-outdoor", "--dry-run").err
    assert "1 session without an answer cannot be answered again, since this no longer exists: train tiny" in plan_text


def test_a_single_cell_can_be_tried_again(run: Kdtui, kdtui: Kdtui, server: Server, db: Database) -> None:
    server.refuses = refusing(one_of_the_sessions(db))
    run()
    asked = server.asked
    server.refuses = lambda _: None
    [bare, shown] = [cell["label"] for cell in cells(kdtui)]
    [plan] = run("--dry-run", "--retry-failed", "--json", "--cell", shown).rows
    assert plan["unanswered"] == 1
    result = run("--retry-failed", "--cell", shown)
    assert result.code == 0, result.err
    assert server.asked == asked + 1
    assert [cell["state"] for cell in cells(kdtui)] == ["done, without an answer to 1 of 2 sessions", "done"]
    assert run("--retry-failed", "--cell", bare, "--cell", shown).code == 0
    assert server.asked == asked + 2


@pytest.mark.usefixtures("imported")
def test_a_cell_does_only_the_steps_that_it_needs(study: Kdtui, kdtui: Kdtui) -> None:
    [plan] = study("rq3", "--dry-run", "--cell", "tiny sft").rows
    assert plan["steps"]["training"] == {"to do": 1, "not needed": 1}
    result = study("rq3", "--cell", "tiny zero-shot", "--cell", "tiny icl pattern+rule+thought")
    assert result.code == 0, result.err
    begun = [event["step"] for event in result.rows if event["event"] == "StepBegun"]
    assert not any(step.startswith("train") for step in begun)
    assert [step for step in begun if step.startswith("answer")] == [
        "answer outdoor test: tiny zero-shot",
        "answer outdoor test: tiny icl pattern+rule+thought",
    ]
    assert [cell["state"] for cell in cells(kdtui, "rq3-outdoor")] == ["done", "done", "to do", "to do", "to do"]


@pytest.mark.usefixtures("finished")
def test_an_unknown_cell_is_refused_with_a_suggestion(study: Kdtui) -> None:
    result = study("rq3", "--cell", "tiny zeroshot")
    assert result.code == 1
    assert "study rq3-outdoor has no cell 'tiny zeroshot'; did you mean 'tiny zero-shot'?" in result.err


def test_cells_of_models_in_different_folders_have_unique_names() -> None:
    question = Question("?", "formats", "none", dataset=("a",), student=("/x/m.gguf", "/y/m.gguf"))
    question = replace(question, formats=("none", "rule"))
    [grid] = grids(Spec("s", (question,)), {"a": 90})
    names = cell_names([arm.cell for arm in grid.arms])
    assert len(set(names.values())) == 4
    assert "/y/m.gguf icl rule" in names.values()
