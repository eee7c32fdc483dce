"""The progress of the cells of a study, and the process that runs it, on the command line."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from kdtui.workflows.claims import claims_of
from kdtui.workflows.studies.lock import study_lock
from store.runs import delete_run, get_run
from store.sqlite import Database
from store.studies import StoredStep, begin_step, fail_step, steps_of_kind
from tests.support.commands import Kdtui

STUDY = "rq3-outdoor"


@contextmanager
def running(db: Database, message: str) -> Iterator[None]:
    """Another process runs a study."""
    assert db.path is not None
    with Path(f"{db.path}.study-lock").open("w") as file:
        file.write(message)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def states(kdtui: Kdtui) -> list[str]:
    return [row["state"] for row in kdtui("study", "show", STUDY, "--json").rows]


def of_training_with_knowledge(db: Database) -> StoredStep:
    [step] = [each for each in steps_of_kind(db, "training", state="done", most=9) if '"rule"' in each.settings]
    return step


@pytest.mark.slow
def test_a_begun_run_shows_how_many_sessions_it_has_answered(finished: Database, kdtui: Kdtui) -> None:
    [cell] = [each for each in steps_of_kind(finished, "evaluation", state="done", most=9) if each.made == "1"]
    begin_step(finished, cell.key, cell.kind, cell.settings, cell.basis, "1")
    with finished.atomic():
        finished.execute(
            "DELETE FROM predictions WHERE run_id = 1 AND session_id = (SELECT max(session_id) FROM predictions)"
        )
        finished.execute("UPDATE runs SET finished_at = NULL WHERE id = 1")
    assert get_run(finished, 1).finished_at is None
    assert states(kdtui)[0] == "begun, 1 of 2"
    with running(finished, f"4711\n{STUDY}\n"):
        assert states(kdtui)[0] == "answering, 1 of 2"
    with running(finished, "4711\nanother\n"):
        assert states(kdtui)[0] == "begun, 1 of 2"


def test_a_study_waits_for_another_process_that_answers_its_run(finished: Database, study: Kdtui) -> None:
    with finished.atomic():
        finished.execute(
            "DELETE FROM predictions WHERE run_id = 1 AND session_id = (SELECT max(session_id) FROM predictions)"
        )
        finished.execute("UPDATE runs SET finished_at = NULL WHERE id = 1")
    claims = claims_of(finished)
    assert claims is not None
    assert claims.take("run 1")
    # The other process goes on for a while.
    release = Timer(1.5, claims.release, ["run 1"])
    release.start()
    result = study("rq3")
    release.join()
    assert result.code == 0, result.err
    assert "another kdtui answers run 1 at the moment; waiting for it" in result.err
    assert get_run(finished, 1).finished_at is not None


def test_a_cell_that_waits_for_a_training_shows_its_progress(finished: Database, kdtui: Kdtui) -> None:
    training = of_training_with_knowledge(finished)
    begin_step(finished, training.key, training.kind, training.settings, training.basis, training.made)
    delete_run(finished, 3)
    state = states(kdtui)[2]
    assert state.startswith("waiting: train tiny with pattern+rule+thought on outdoor, ")
    done, of = state.rpartition(", ")[2].split(" of ")
    assert int(done) == int(of) > 0


def test_a_cell_whose_training_failed_says_why_it_is_blocked(finished: Database, kdtui: Kdtui) -> None:
    fail_step(finished, of_training_with_knowledge(finished).key, "no room on the disk")
    delete_run(finished, 3)
    assert states(kdtui)[2].endswith("on outdoor failed: no room on the disk")
    [row] = kdtui("study", "ls", "--json").rows
    assert (row["failed"], row["can_run"]) == (1, False)


@pytest.mark.parametrize(
    ("message", "state"),
    [(f"4711\n{STUDY}\n", "running (process 4711)"), (f"?\n{STUDY}\n", "running"), ("4711\nanother\n", "complete")],
)
def test_the_list_says_which_study_a_process_runs(finished: Database, kdtui: Kdtui, message: str, state: str) -> None:
    with running(finished, message):
        assert [row["state"] for row in kdtui("study", "ls", "--json").rows] == [state]
    [row] = kdtui("study", "ls", "--json").rows
    assert not row["is_running"]


def test_checking_who_runs_a_study_does_not_block_a_run(finished: Database, kdtui: Kdtui) -> None:
    with study_lock(finished, STUDY):
        [row] = kdtui("study", "ls", "--json").rows
        assert row["is_running"]
    with study_lock(finished, STUDY):
        pass
