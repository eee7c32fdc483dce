"""Evaluations of many sessions: free answers are stored together, and memory stays bounded."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from textual.message import Message

from kdtui.bundling.metrics import Scores
from kdtui.cli import runs as cli_runs
from kdtui.distill import pattern_student
from kdtui.errors import KdtuiError
from kdtui.tui.core.activity import Ended
from kdtui.tui.places.runs.evaluation import EvaluationActivity
from kdtui.tui.places.runs.form import EvaluationRequest
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.runs import cached_scores, floors, runs
from kdtui.workflows.runs.compared_sessions import ComparedSessions, SessionScores
from kdtui.workflows.runs.evaluate import answer_split, evaluate_split, score_run, split_to_score
from kdtui.workflows.runs.floors import floors_over
from kdtui.workflows.runs.runs import compare_runs
from kdtui.workflows.runs.session_selection import SessionSelection
from kdtui.workflows.student.generate import SessionAnswered
from kdtui.workflows.student.open import open_student
from kdtui.workflows.student.session_student import SessionStudent
from models.errors import ModelError
from models.student_protocol import Answered, Refused, StudentEvent
from store.database import open_database
from store.dataset_writer import write_dataset
from store.predictions import count_answers, predictions
from store.records import RunSettings, Session
from store.runs import Run, get_run, start_run
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.waiting import PATIENCE

Answer = Callable[[Iterable[Session | None]], Iterator[StudentEvent]]


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


@pytest.fixture
def run(db: Database) -> Run:
    return start_run(db, "outdoor", "train", "made up", RunSettings("patterns"))


@pytest.fixture
def other(db: Database) -> Iterator[Database]:
    """Another connection, which looks like another process to the store."""
    assert db.path is not None
    with closing(open_database(db.path)) as found:
        yield found


def made_up(answer: Answer, *, costs_nothing: bool) -> SessionStudent:
    def explain(session: Session) -> Any:
        raise NotImplementedError

    return SessionStudent("made up", answer, explain, costs_nothing)


def scores(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table without the costs of a session, which always differ."""
    return [{name: row[name] for name in ("name", *(field.name for field in fields(Scores)))} for row in rows]


def many(db: Database, count: int) -> None:
    """A dataset of the training sessions, and of many copies of the others."""
    every = list(iter_sessions(db, "outdoor"))
    train = [session for session in every if session.split == "train"]
    others = [session for session in every if session.split != "train" and session.bundles]
    copies = (replace(others[n % len(others)], id=f"copy-{n}", split="valid") for n in range(count))
    list(write_dataset(db, "many", "made up", [*train, *copies]))


def test_free_answers_are_stored_many_at_a_time(db: Database) -> None:
    many(db, 400)
    statements: list[str] = []
    sessions = split_to_score(db, "many", "valid")
    events = evaluate_split(db, "many", "valid", RunSettings("patterns"), sessions)
    next(events)
    db.conn.set_trace_callback(statements.append)
    answered = sum(isinstance(event, SessionAnswered) for event in events)
    db.conn.set_trace_callback(None)
    assert answered == count_answers(db, get_run(db, 1)) == 400
    assert statements.count("COMMIT") < 100


def test_an_answer_that_is_shown_is_stored(db: Database, other: Database) -> None:
    many(db, 300)
    seen = 0
    for event in evaluate_split(db, "many", "valid", RunSettings("patterns"), split_to_score(db, "many", "valid")):
        if isinstance(event, SessionAnswered):
            seen += 1
            assert seen <= count_answers(other, get_run(other, 1))


@pytest.mark.parametrize(("costs_nothing", "seconds", "unstored"), [(False, 0.0, 0), (True, 0.2, 2), (True, 0.6, 0)])
def test_at_most_half_a_second_of_free_work_is_at_risk(
    db: Database, other: Database, run: Run, costs_nothing: bool, seconds: float, unstored: int
) -> None:
    at_risk = []

    def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        for number, session in enumerate(sessions):
            at_risk.append(number - count_answers(other, run))
            yield Answered(session, [], seconds)

    list(answer_split(db, run, split_to_score(db, "outdoor", "train"), made_up(answer, costs_nothing=costs_nothing)))
    assert max(at_risk) == unstored
    assert count_answers(other, run) == 22


def test_others_can_write_while_a_student_thinks(db: Database, other: Database, run: Run) -> None:
    def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        for session in sessions:
            with other.waiting(0), other.atomic():
                other.execute("UPDATE runs SET note = 'written'")
            yield Answered(session, [], 0.0)

    list(answer_split(db, run, split_to_score(db, "outdoor", "train"), made_up(answer, costs_nothing=True)))
    assert get_run(db, run.id).note == "written"


def test_sessions_are_asked_about_in_a_random_order_that_a_resumed_run_continues(db: Database, run: Run) -> None:
    asked: list[str] = []

    def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        for session in sessions:
            if session is not None:
                asked.append(session.id)
            yield Answered(session, [], 0.0)

    def ask(limit: int | None, *, costs_nothing: bool = False) -> list[str]:
        asked.clear()
        sessions = split_to_score(db, "outdoor", "train", limit, None)
        list(answer_split(db, run, sessions, made_up(answer, costs_nothing=costs_nothing)))
        return list(asked)

    every = [session.id for session in iter_sessions(db, "outdoor", split="train")]
    order = ask(None)
    assert sorted(order) == sorted(every)
    assert order != every
    # As if the run had been interrupted after eight answers.
    for left in (order[8:], order):
        marks = ", ".join("?" * len(left))
        ids = f"SELECT id FROM sessions WHERE session IN ({marks})"
        db.execute(f"DELETE FROM predictions WHERE session_id IN ({ids})", left)
        if len(left) < len(order):
            assert ask(None) == left
    assert sorted(ask(5)) == sorted(every[:5])
    assert ask(None, costs_nothing=True) == every[5:]


def test_available_sessions_are_answered_before_waiting_for_more(db: Database) -> None:
    answered: list[str] = []
    sessions = list(iter_sessions(db, "outdoor", split="train"))

    def coming() -> Iterator[Session | None]:
        for count, session in enumerate(sessions):
            if count in (1, 6, 7, 20):
                yield None
                assert answered == [each.id for each in sessions[:count]]
            yield session

    with open_student(db, "outdoor", RunSettings("patterns")) as student:
        events = student.answer(coming())
        answered.extend(cast("Session", event.key).id for event in events if isinstance(event, Answered))
    assert answered == [each.id for each in sessions]


@pytest.mark.parametrize("problem", [ModelError("no memory"), KeyboardInterrupt()])
def test_answers_before_a_failure_are_kept(db: Database, run: Run, problem: BaseException) -> None:
    def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        for number, session in enumerate(sessions):
            if number == 5:
                raise problem
            yield Answered(session, [], 0.0)

    with pytest.raises(type(problem)):
        list(answer_split(db, run, split_to_score(db, "outdoor", "train"), made_up(answer, costs_nothing=True)))
    assert count_answers(db, run) == 5
    assert get_run(db, run.id).finished_at is None


def test_answered_sessions_are_not_asked_again(db: Database, run: Run) -> None:
    asked: list[str] = []

    def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        for session in sessions:
            assert session is not None
            asked.append(session.id)
            yield Answered(session, [], 1.0)

    student = made_up(answer, costs_nothing=False)
    every = [session.id for session in iter_sessions(db, "outdoor", split="train")]
    events = answer_split(db, run, split_to_score(db, "outdoor", "train"), student)
    for _ in range(7):
        next(events)
    events.close()  # type: ignore[attr-defined]
    list(answer_split(db, run, list(iter_sessions(db, "outdoor", split="train", limit=9)), student))
    list(answer_split(db, run, split_to_score(db, "outdoor", "train", 12, 3), student))
    list(answer_split(db, run, split_to_score(db, "outdoor", "train"), student))
    assert sorted(asked) == sorted(every)


_EACH_AT_ONCE = """
from kdtui.__main__ import main
from kdtui.workflows.runs import evaluate
evaluate._AT_RISK = 0.0
main()
"""
"""The program, but that answers are stored one by one: so there is time to kill it in."""


@pytest.mark.slow
def test_a_killed_evaluation_resumes_and_ends_with_the_same_table(
    db: Database, kdtui: Kdtui, database_of_the_test: Path
) -> None:
    many(db, 1500)
    evaluation = ("evaluate", "--dataset", "many", "--split", "valid", "--student", "patterns")
    process = subprocess.Popen(
        [sys.executable, "-c", _EACH_AT_ONCE, *evaluation],
        env=os.environ | {"KDTUI_DB": str(database_of_the_test)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not db.execute("SELECT EXISTS (SELECT 1 FROM predictions)").fetchone()[0]:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    kept = count_answers(db, get_run(db, 1))
    assert 0 < kept < 1500
    resumed = kdtui("evaluate", "--resume", 1, "--json")
    assert f"{kept:,} answered before" in resumed.err
    whole = kdtui(*evaluation, "--json")
    assert "run 2" in whole.err
    assert scores(resumed.rows) == scores(whole.rows)
    first, second = (predictions(db, get_run(db, number)) for number in (1, 2))
    assert {each: answer.bundles for each, answer in first.items()} == {
        each: answer.bundles for each, answer in second.items()
    }


def test_sessions_are_iterated_over_without_being_held_in_memory(db: Database) -> None:
    many(db, 5000)
    sessions = split_to_score(db, "many", "valid")
    peaks = []
    for hold in (lambda walked: sum(1 for _ in walked), list):
        tracemalloc.start()
        try:
            kept = hold(sessions)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        del kept
    assert peaks[0] < peaks[1] / 2
    assert len(sessions) == 5000


def test_a_part_of_a_split_is_the_same_in_each_iteration(db: Database) -> None:
    for limit, seed in ((None, 0), (3, 0), (3, 1), (3, None), (99, 5)):
        sessions = split_to_score(db, "outdoor", "test", limit, seed)
        assert list(sessions) == list(sessions)
        assert len(sessions) == len(list(sessions)) == min(limit or 7, 7)
        assert next(iter(sessions)) in sessions


def test_a_run_is_scored_on_the_sessions_that_it_has_answered(db: Database, run: Run) -> None:
    def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        for session in sessions:
            yield Answered(session, [], 1.0)

    every = split_to_score(db, "outdoor", "train")
    with pytest.raises(KdtuiError, match="has no answers yet"):
        score_run(db, run, every)
    list(answer_split(db, run, split_to_score(db, "outdoor", "train", 5), made_up(answer, costs_nothing=False)))
    assert score_run(db, run, every).scores.sessions == 5


@pytest.fixture
def answered_by(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """For each computation of floors, the run whose answers replace those of the pattern student."""
    found: list[int | None] = []
    compute = floors.score_floors

    def recorded(db: Database, dataset: str, sessions: Any, answered: Run | None = None) -> Any:
        found.append(None if answered is None else answered.id)
        return compute(db, dataset, sessions, answered)

    monkeypatch.setattr(floors, "score_floors", recorded)
    return found


def test_a_run_of_the_pattern_student_is_its_floor_and_has_one_row(kdtui: Kdtui, answered_by: list[int | None]) -> None:
    alone = kdtui("evaluate", "--floors-only", "--json", "--split", "valid")
    for _ in range(2):
        beside = kdtui("evaluate", "--student", "patterns", "--json", "--split", "valid")
        assert scores(beside.rows) == scores(alone.rows)
    assert "run 2 has the scores of the floor patterns; they share the row patterns" in beside.err
    shown = kdtui("run", "show", 2)
    assert shown.out.count("\n patterns ") == 4, "a row in each table: three of scores, and one of costs"
    first = kdtui("evaluate", "--student", "patterns", "--json")
    again = kdtui("evaluate", "--floors-only", "--json")
    assert scores(first.rows) == scores(again.rows)
    assert answered_by == [None, 3]


@pytest.mark.parametrize(
    "change",
    ["UPDATE predictions SET bundles = '[]'", "UPDATE runs SET finished_at = NULL", "DELETE FROM predictions LIMIT 1"],
)
def test_answers_of_another_version_or_of_fewer_sessions_are_not_a_floor(
    db: Database, kdtui: Kdtui, answered_by: list[int | None], change: str
) -> None:
    kdtui("evaluate", "--student", "patterns", "--json")
    db.execute("DELETE FROM floors")
    db.execute(change.replace(" LIMIT 1", " WHERE rowid = (SELECT min(rowid) FROM predictions)"))
    db.conn.commit()
    rows = kdtui("evaluate", "--floors-only", "--json").rows
    assert answered_by == [1, None]
    assert rows == kdtui("evaluate", "--floors-only", "--json").rows
    assert rows[-2]["pair_f1"] > 0.5


def test_a_session_too_large_for_patterns_counts_as_not_valid_in_the_floor(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern_student, "MOST_PRODUCTS", 4)
    rows = {row.name: row.scores for row in floors_over(db, SessionSelection("outdoor", "test"))}
    assert rows["patterns"].valid < 1 == rows["whole session"].valid
    assert rows["patterns"].sessions == 7


def test_scores_of_a_run_are_kept_until_it_has_more_answers(
    db: Database, kdtui: Kdtui, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []

    def recorded(db: Database, run: Run, sessions: Any) -> Any:
        scored.append(run.id)
        return score_run(db, run, sessions)

    def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        for session in sessions:
            yield Answered(session, [], 1.0)

    monkeypatch.setattr(runs, "score_run", recorded)
    student = made_up(answer, costs_nothing=True)
    for count in (5, 9):
        list(answer_split(db, run, split_to_score(db, "outdoor", "train", count), student))
        first = kdtui("run", "ls", "--json").rows
        assert first[0]["scores"]["sessions"] == count
        assert kdtui("run", "ls", "--json").rows == first
        assert kdtui("run", "show", run.id, "--json").rows[0]["scores"] == first[0]["scores"]
    assert scored == [run.id, run.id]
    for scores in ("[", '{"n": 1}', "{}"):
        db.execute("UPDATE run_scores SET scores = ?", [scores])
        db.conn.commit()
        assert kdtui("run", "ls", "--json").rows == first, "what somebody has edited is computed again"
    monkeypatch.setattr(cached_scores, "_version", lambda _: "another")
    assert kdtui("run", "ls", "--json").rows == first
    assert len(scored) == 6


@pytest.mark.slow
def test_runs_are_compared_without_holding_their_answers(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    many(db, 2000)
    for module in ("store.split_sessions", "kdtui.workflows.runs.evaluate"):
        monkeypatch.setattr(f"{module}._PAGE", 100)
    for _ in range(2):
        list(evaluate_split(db, "many", "valid", RunSettings("patterns"), split_to_score(db, "many", "valid")))
    one, other = get_run(db, 1), get_run(db, 2)
    peaks = []
    for look in (lambda: compare_runs(db, one, other), lambda: [predictions(db, run) for run in (one, other)]):
        tracemalloc.start()
        try:
            found = look()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        del found
    assert peaks[0] < peaks[1] / 2
    found = compare_runs(db, one, other)
    assert (len(found.rows), found.equal, found.alone) == (2000, 2000, (0, 0))


SCORES = st.builds(
    SessionScores,
    st.text(max_size=3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1)),
    st.tuples(st.booleans(), st.booleans()),
)


@given(st.lists(SCORES, max_size=20), st.booleans())
def test_compared_sessions_are_kept_as_they_are_in_any_order(rows: list[SessionScores], descending: bool) -> None:
    kept = ComparedSessions()
    for row in rows:
        kept.add(row)
    assert list(kept) == rows
    for key in (lambda row: row.f1[0], lambda row: row.session):
        turned = kept.in_order(key, descending=descending)
        assert list(turned) == turned[:] == sorted(rows, key=key, reverse=descending)
        assert turned[2:5] == sorted(rows, key=key, reverse=descending)[2:5]
    assert list(kept) == rows


def test_of_many_failures_a_table_lists_some_and_json_all(
    db: Database, kdtui: Kdtui, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        for session in sessions:
            yield Refused(session, "it is too hot", 0.0)

    list(answer_split(db, run, split_to_score(db, "outdoor", "train"), made_up(refuse, costs_nothing=True)))
    assert kdtui("run", "show", run.id).out.count("it is too hot") == 22
    monkeypatch.setattr(cli_runs, "_FAILURES", 20)
    table = kdtui("run", "show", run.id)
    assert table.out.count("it is too hot") == 20
    assert "and 2 more; --json lists all" in table.err
    assert len(kdtui("run", "show", run.id, "--json").rows[0]["errors"]) == 22


def test_a_screen_gets_few_messages_of_sessions_that_are_answered_at_once(
    db: Database, database_of_the_test: Path
) -> None:
    many(db, 600)
    posted: list[Message] = []
    work = EvaluationActivity(
        database_of_the_test, EvaluationRequest("many", "valid", RunSettings("patterns")), posted.append
    )
    work.start()
    work.thread.join(PATIENCE)
    assert isinstance(posted[-1], Ended)
    assert len(posted) < 200
    assert (work.run, work.answered, work.sessions) == (1, 600, 600)
