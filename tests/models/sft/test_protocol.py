"""The protocol between a client and a host: typed messages, a version, and a host that needs only Python."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kdtui.hosts import package
from models.errors import ModelError
from models.sft.log_search import Search
from models.sft.messages_as_json import PROTOCOL, read_message, read_request, request_line
from models.sft.protocol import (
    CheckAnswer,
    FilesAnswer,
    FindAnswer,
    FindRequest,
    FollowRequest,
    InventoryAnswer,
    InventoryRequest,
    StatusRequest,
    TrainingsRequest,
)


@pytest.mark.parametrize(
    "request_",
    [
        InventoryRequest("one", "key", (("base.gguf", 5), ("it's", 0)), "/usr/bin/python3", ("torch",)),
        FindRequest("one", "key", Search("text", 7, backwards=True)),
        StatusRequest(("one", "two")),
        TrainingsRequest(),
    ],
)
def test_a_request_is_read_as_it_was_written(request_: Any) -> None:
    content = json.loads(request_line(request_, "/work dir", silence=2.5))
    assert (content["do"], content["workdir"], content["silence"]) == (request_.do, "/work dir", 2.5)
    assert read_request(type(request_), content) == request_


def test_an_answer_has_the_types_of_its_fields() -> None:
    files = read_message(FilesAnswer, {"files": [["adapter/large", 9, None], ["log", 0, "abc"]]})
    assert files == FilesAnswer((("adapter/large", 9, None), ("log", 0, "abc")))
    assert read_message(FindAnswer, {"search": {"text": "x", "start": 0}}) == FindAnswer(search=Search("x", 0))
    found: dict[str, object] = {
        "files": {"a": "whole", "b": 3},
        "id": None,
        "state": None,
        "python": None,
        "packages": {"found": {}},
    }
    assert read_message(InventoryAnswer, found).files == {"a": "whole", "b": 3}


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        (FilesAnswer, {}, "malformed message: FilesAnswer lacks files"),
        (FilesAnswer, {"files": [], "more": 1}, "malformed message: FilesAnswer has unknown more"),
        (FilesAnswer, {"files": [["a", "5", None]]}, "malformed message: FilesAnswer.files is '5'"),
        (FilesAnswer, {"files": [["a", 5]]}, "malformed message: FilesAnswer.files is ['a', 5]"),
        (FilesAnswer, [], "malformed message: FilesAnswer is []"),
        (StatusRequest, {"jobs": "one"}, "malformed message: StatusRequest.jobs is 'one'"),
        (CheckAnswer, {"python": True}, "malformed message: CheckAnswer lacks base, clock"),
    ],
)
def test_a_malformed_message_gives_one_sentence(kind: Any, content: object, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_message(kind, content)
    assert str(caught.value).startswith(problem)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip of the package `models`, as a host has it."""
    path = tmp_path_factory.mktemp("code") / package.code().name
    path.write_bytes(package.code().content)
    return path


def answer_of_host(code: Path, line: str) -> dict[str, Any]:
    """Return the answer of a host that runs from the zip, with Python's standard library only."""
    command = [sys.executable, "-S", "-P", "-m", "models.sft.host"]
    environment = {"PYTHONPATH": str(code)}
    done = subprocess.run(command, input=line, capture_output=True, text=True, check=True, env=environment)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_host_needs_only_python(code: Path, tmp_path: Path) -> None:
    line = request_line(TrainingsRequest(), str(tmp_path)).decode()
    assert answer_of_host(code, line) == {"protocol": PROTOCOL, "ok": {"keys": {}}}


def test_a_host_refuses_another_version_of_the_protocol(code: Path, tmp_path: Path) -> None:
    content = json.loads(request_line(TrainingsRequest(), str(tmp_path))) | {"protocol": PROTOCOL + 1}
    answer = answer_of_host(code, json.dumps(content) + "\n")
    assert answer["error"].startswith(f"the client speaks version {PROTOCOL + 1} of the protocol")


@pytest.mark.parametrize("line", ["\n", "[]\n", "{}\n", '{"workdir": "/tmp", "protocol": 1, "do": "dance"}\n'])
def test_a_host_answers_a_wrong_request_with_one_sentence(code: Path, line: str) -> None:
    answer = answer_of_host(code, line)
    assert "request" in answer["error"]
    assert "Traceback" not in answer["error"]


def test_the_log_of_another_training_is_refused_at_once(code: Path, tmp_path: Path) -> None:
    job = tmp_path / "jobs" / "one"
    job.mkdir(parents=True)
    (job / "id").write_text("another's")
    # The only line is the refusal; nothing is promised before it.
    answer = answer_of_host(code, request_line(FollowRequest("one", "key", 0, ""), str(tmp_path)).decode())
    assert answer == {"protocol": PROTOCOL, "error": f"{job}: this directory is another training's"}
