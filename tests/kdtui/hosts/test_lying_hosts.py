"""Whatever a host says, a client takes it as an answer or refuses it in one sentence, and collects no endless one."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from kdtui.errors import KdtuiError
from kdtui.workflows.training.host_status import remember_status_of
from models.sft import protocol
from models.sft.log_pieces import LogPiece
from models.sft.messages_as_json import Request
from models.sft.processes import HasStopped, Stopping
from models.sft.protocol import TrainingAnswer
from models.sft.state import JobStatus, MeasuredPace
from store.jobs import add_job, get_job
from store.records import TrainingSettings
from store.sqlite import Database
from tests.support.lying_host import CONVERSATIONS, HONEST, heard, honest_answers

DEEP = b'{"protocol": 1, "ok": ' + b"[" * 900 + b"]" * 900 + b"}"


def test_every_request_of_the_protocol_is_asked() -> None:
    assert {kind.do for kind in Request.__subclasses__()} == CONVERSATIONS.keys() - {"read a part"}


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize(
    "said",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        DEEP,
        b"oops",
        b'"x"',
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"abc",
        b"9" * 5000,
        b"-1",
        b'{"protocol": 1, "error": {"a": "\\u001b[31mb\\nc"}}',
        b'{"protocol": 1, "error": "' + b"much " * 100_000 + b'"}',
        b'{"protocol": 1, "ok": {"number": ' + b"9" * 5000 + b"}}",
        b'{"protocol": 1, "ok": {"clock": 1e999, "' + b"x" * 10_000 + b'": 1}}',
        b'{"protocol": [[' + b"1," * 10_000 + b"1]]}",
        b'{"protocol": 1, "stopping": 7}',
    ],
    ids=lambda said: said[:24].decode("latin-1"),
)
def test_a_lie_is_refused_in_one_sentence(name: str, said: bytes) -> None:
    with pytest.raises(KdtuiError) as refusal:
        heard(name, said + b"\n")
    assert str(refusal.value).startswith("host far: ")
    assert len(str(refusal.value)) < 1100
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", [name for name in CONVERSATIONS if name != "read a part"])
def test_a_number_is_no_answer(name: str) -> None:
    with pytest.raises(KdtuiError, match="host far: its answer is not a JSON object"):
        heard(name, b"7\n")


@pytest.mark.parametrize("head", [{"offset": -1, "size": 1}, {"offset": 0, "size": 10**9}, {"offset": 0, "size": -1}])
def test_an_impossible_piece_of_a_log_is_refused(head: object) -> None:
    said = json.dumps({"protocol": 1, "ok": None}) + "\n" + json.dumps({"protocol": 1, "piece": head}) + "\nx"
    with pytest.raises(KdtuiError, match="host far: it sends an impossible part of a log"):
        heard("follow", said.encode())


def test_a_host_says_itself_why_it_cannot_go_on_with_a_log() -> None:
    _, _, followed, _ = honest_answers()[-4:]
    refusal = json.dumps({"protocol": 1, "error": "/w/jobs/one/log: Permission denied"}).encode() + b"\n"
    for before in (followed, b'{"protocol": 1, "ok": null}\n'):
        with pytest.raises(KdtuiError, match=r"^host far: /w/jobs/one/log: Permission denied$"):
            heard("follow", before + refusal)


@pytest.mark.parametrize("name", ["cancel", "send", "follow"])
def test_a_line_that_never_ends_is_not_collected(name: str) -> None:
    with pytest.raises(KdtuiError, match="host far: its answer is too long"):
        heard(name, b"x" * 5_000_000)


@pytest.mark.parametrize(("request_", "answer"), HONEST.items(), ids=lambda each: getattr(each, "do", ""))
def test_an_honest_answer_is_accepted(request_: Request[object], answer: object) -> None:
    said = dict(zip(HONEST, honest_answers(), strict=False))[request_]
    heard_answer = heard(request_.do, said)
    # JSON has no tuples.
    assert json.dumps(heard_answer, default=asdict) == json.dumps(answer, default=asdict)


def test_other_honest_answers_are_accepted() -> None:
    stopped, sent, followed, part = honest_answers()[-4:]
    assert heard("cancel", stopped) == [Stopping(1.0, 2.0, "step 3"), HasStopped(("killed 7 (python)",))]
    assert heard("send", sent) == b"bytes"
    assert heard("follow", followed) == [LogPiece(0, b"one\n"), LogPiece(4, b"t")]
    assert heard("read a part", part) == (12, b"bytes of it\n")
    assert heard("read a part", b"") == (0, b"")


def test_an_answer_follows_what_a_start_up_file_of_python_prints() -> None:
    assert heard("trainings", b"Welcome\n" + honest_answers()[list(HONEST).index(protocol.TrainingsRequest())])


@pytest.mark.parametrize(
    ("name", "answer", "lack"),
    [
        ("status", {"trainings": {}}, "the state of training 'one'"),
        (
            "inventory",
            {"files": {}, "id": None, "state": None, "python": None, "packages": None},
            "which files of the base it has",
        ),
        (
            "inventory",
            {"files": {"base.gguf": -1}, "id": None, "state": None, "python": None, "packages": None},
            "which files of the base it has",
        ),
        (
            "inventory",
            {"files": {"base.gguf": "whole"}, "id": None, "state": None, "python": None, "packages": None},
            "which packages it has",
        ),
        ("find", {"at": -1}, "where in the log that is"),
    ],
)
def test_an_answer_to_another_question_is_refused(name: str, answer: object, lack: str) -> None:
    with pytest.raises(KdtuiError, match=f"host far: its answer does not tell {lack}"):
        heard(name, json.dumps({"protocol": 1, "ok": answer}).encode())


def test_texts_and_numbers_fit_into_the_database(db: Database, tmp_path: Path) -> None:
    status = {"state": "failed", "reason": "\ud800 half", "loss": float("inf"), "tokens_per_second": 10**400}
    said = {"trainings": {"one": {"status": status, "id": "\udc80", "log_bytes": 1, "exists": True}}}
    answer = heard("status", json.dumps({"protocol": 1, "ok": said}).encode())
    assert isinstance(answer, protocol.StatusAnswer)
    add_job(db, "one", tmp_path, TrainingSettings(("outdoor",)), "?", host="far")
    known = remember_status_of(db, get_job(db, "one"), answer.trainings["one"])
    assert known == JobStatus("failed", reason="? half")


def test_a_pace_that_no_training_has_is_not_kept(db: Database, tmp_path: Path) -> None:
    add_job(db, "one", tmp_path, TrainingSettings(("outdoor",)), "key", host="far")
    status = JobStatus("running", pace=MeasuredPace(0.0, 1.0, None, 1, "cpu", "far"))
    known = remember_status_of(db, get_job(db, "one"), TrainingAnswer(asdict(status), "key", 0, True))
    assert known.state == "failed"
    assert "invalid values (its speed is not positive)" in str(known.reason)
