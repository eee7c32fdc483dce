"""Studies with teachers and students behind an endpoint, and with trainings on a host."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store.jobs import list_jobs
from store.knowledge import find_knowledge
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support import sshd
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import GOOD, Fake, Serve
from tests.support.fake_teacher import answer_for, knowing
from tests.support.needs import needs_sshd

pytestmark = pytest.mark.usefixtures("imported")


@pytest.fixture
def described(tmp_path: Path, study_base: Path) -> Callable[..., Path]:
    """Write a study that compares thoughts with nothing."""

    def write(table: str = "", student: str | None = None, **fields: object) -> Path:
        path = tmp_path / "elsewhere.toml"
        question = {
            "title": "?",
            "compare": "formats",
            "baseline": "none",
            "formats": ["none", "thought"],
            "student": [student or str(study_base)],
            **fields,
        }
        lines = ['name = "elsewhere"', 'dataset = ["outdoor"]', table, "[training]", "learning_rate = 0.003"]
        lines += ["epochs = 1", "batch_tokens = 30000", "longest = 4000", "[[question]]"]
        path.write_text("\n".join([*lines, *(f"{name} = {json.dumps(value)}" for name, value in question.items())]))
        return path

    return write


def teacher(url: str, *more: str) -> str:
    return "\n".join(["[teachers.wise]", f'address = "{url}#m"', *more])


def test_a_teacher_behind_an_endpoint_is_asked_once_for_all_studies(
    study: Kdtui, described: Callable[..., Path], serve: Serve, db: Database
) -> None:
    url, fake = serve(knowing(list(iter_sessions(db, "outdoor", split="train"))))
    spec = described(teacher(url), teacher=["wise", "annotations"])
    [plan] = study(spec, "--dry-run").rows
    assert (plan["calls"], plan["answered_calls"], plan["cost"]) == (5, 0, None)
    # The time of the answers is unknown.
    assert "knowledge" in plan["unknown"]
    assert study(spec).code == 0
    asked = len(fake.asked)
    assert asked == 5
    teachers = {piece.teacher for piece in find_knowledge(db, format="thought")}
    assert teachers == {"annotations", f"m at {url.split('/')[2]}"}
    result = study(described(teacher(url), teacher=["wise"], utilization=["icl"], rank=[4]))
    assert (result.code, len(fake.asked)) == (0, asked)


def test_a_plan_that_exceeds_the_budget_is_refused_before_anything_is_paid_for(
    study: Kdtui, described: Callable[..., Path], serve: Serve, db: Database
) -> None:
    url, fake = serve(lambda fake, _: fake.complete(json.dumps(answer_for(fake)), usage=(400, 900)))
    spec = described(teacher(url, "max_calls = 3"), teacher=["wise"])
    assert any("max_calls" in note for note in study(spec, "--dry-run").rows[0]["notes"])
    result = study(spec)
    assert result.code == 1
    assert "need 5 calls, and max_calls of teacher" in result.err
    priced = described(teacher(url, "prompt_price = 1000", "answer_price = 1000", "max_cost = 0.001"), teacher=["wise"])
    assert "max_cost of teacher" in study(priced).err
    assert fake.asked == []
    assert db.execute("SELECT count(*) FROM studies").fetchone()[0] == 0


def test_a_teacher_without_an_address_is_a_failed_step(study: Kdtui, described: Callable[..., Path]) -> None:
    result = study(described(teacher=["nobody at all"]))
    [failed] = [row for row in result.rows if row["event"] == "StepFailed"]
    assert "has no thoughts of teacher 'nobody at all', and the study has no address for it" in failed["reason"]
    assert result.code == 1


def test_a_student_behind_an_endpoint_answers_cells(
    study: Kdtui, kdtui: Kdtui, described: Callable[..., Path], serve: Serve
) -> None:
    def reply(fake: Fake, _: int) -> None:
        fake.complete(GOOD)

    url, _ = serve(reply)
    result = study(described(student=f"{url}#adapter", utilization=["icl"]))
    assert result.code == 0, result.err
    assert [row["state"] for row in kdtui("study", "show", "elsewhere", "--json").rows] == ["done", "done"]
    for refused in ({"form": ["pairs"], "utilization": ["icl"]}, {"utilization": ["sft"]}):
        assert "an endpoint can be neither trained" in study(described(student=f"{url}#adapter", **refused)).err


def test_the_last_line_offers_a_report_only_of_finished_cells(
    kdtui: Kdtui, described: Callable[..., Path], serve: Serve
) -> None:
    refused: list[str] = []

    def reply(fake: Fake, _: int) -> None:
        if fake.body["model"] in refused:
            fake.send({"error": {"message": "no"}}, 401)
        else:
            fake.complete(GOOD)

    url, _ = serve(reply)
    lines = {"compare": "student", "baseline": f"{url}#one", "formats": ["none"], "utilization": ["zero-shot"]}
    spec = described(**{**lines, "student": f"{url}#one"})
    spec.write_text(spec.read_text().replace('#one"]', f'#one", "{url}#two"]'))
    refused += ["one", "two"]
    result = kdtui("study", "run", spec)
    assert result.code == 1
    assert "none of 2 cells is done, so there is nothing to report yet" in result.err
    assert "the report" not in result.err
    refused.remove("one")
    result = kdtui("study", "run", spec, "--retry-failed")
    assert result.code == 1
    assert "the report of 1 of 2 cells: kdtui study report elsewhere" in result.err
    refused.clear()
    assert "the report: kdtui study report elsewhere" in kdtui("study", "run", spec, "--retry-failed").err


@needs_sshd
@pytest.mark.slow
def test_adapters_are_trained_on_a_host_and_fetched(
    kdtui: Kdtui, described: Callable[..., Path], server: sshd.Sshd, db: Database, tmp_path: Path
) -> None:
    assert server.process is not None
    options = ["--ssh", "gpu", "--workdir", tmp_path / "far away", "--python", sys.executable]
    assert kdtui("host", "add", "far", *options).code == 0
    spec = described(formats=["none"], compare="utilization", baseline="zero-shot", utilization=["zero-shot", "sft"])
    result = kdtui("study", "run", spec, "--host", "far", "--json")
    assert result.code == 0, result.err
    [begun] = [row for row in result.rows if row["event"] == "StepBegun" and row["step"].startswith("train")]
    assert begun["where"] == "far"
    [job] = list_jobs(db)
    assert job.host == "far"
    assert (tmp_path / "far away" / "jobs" / job.name).is_dir()
    assert [row["state"] for row in kdtui("study", "show", "elsewhere", "--json").rows] == ["done", "done"]


@needs_sshd
@pytest.mark.slow
def test_a_lost_host_fails_its_training_and_the_others_continue(
    kdtui: Kdtui, described: Callable[..., Path], server: sshd.Sshd, tmp_path: Path
) -> None:
    options = ["--ssh", "gpu", "--workdir", tmp_path / "far away", "--python", sys.executable]
    assert kdtui("host", "add", "far", *options).code == 0
    server.stop()
    spec = described(formats=["none"], compare="utilization", baseline="zero-shot", utilization=["zero-shot", "sft"])
    result = kdtui("study", "run", spec, "--host", "far", "--json")
    assert result.code == 1
    states = [row["state"].split(":")[0] for row in kdtui("study", "show", "elsewhere", "--json").rows]
    assert states == ["done", "blocked"]
    server.start()
    assert kdtui("study", "run", spec, "--host", "far", "--retry-failed", "--json").code == 0
