"""A server that sends too much fails one session, and does not fill the memory."""

import gzip
import json
from collections.abc import Callable

import pytest

from models.endpoint.chat_server import Endpoint
from models.endpoint.student import EndpointStudent
from models.messages import Message
from models.student_protocol import Answered, Refused, SessionTask
from tests.support.fake_chat_server import GOOD, Fake, Serve

LIMIT = 1_000_000


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.endpoint.answer_limit.MOST_BYTES", LIMIT)


def endless(fake: Fake) -> None:
    """Send spaces for as long as the client reads, and note how many it took."""
    fake.send_response(200)
    fake.send_header("Transfer-Encoding", "chunked")
    fake.end_headers()
    try:
        while True:
            fake.wfile.write(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
    except OSError:
        fake.close_connection = True


def bomb(fake: Fake) -> None:
    """Send eight megabytes of spaces in eight kilobytes."""
    fake.send(gzip.compress(b" " * 2**23), headers={"Content-Encoding": "gzip"})


def failing_without_end(fake: Fake) -> None:
    """Send an error whose message is too long."""
    fake.send({"error": {"message": "x" * 2 * LIMIT}}, 400)


@pytest.mark.parametrize("reply", [endless, bomb, failing_without_end], ids=lambda reply: reply.__name__)
def test_an_oversized_answer_refuses_only_its_session(serve: Serve, reply: Callable[[Fake], None]) -> None:
    url, handler = serve(lambda fake, number: reply(fake) if number == 1 else fake.complete(GOOD))
    tasks = [SessionTask(key, 2, lambda *_: [Message("user", "1. a\n2. b")]) for key in range(3)]
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        events = {event.key: event for event in student.answer(tasks) if isinstance(event, Answered | Refused)}
    refused = events[1]
    assert isinstance(refused, Refused)
    assert refused.reason == f"{url} gives no usable answer (the answer is longer than {LIMIT / 2**20:g} MB)"
    assert isinstance(events[0], Answered)
    assert isinstance(events[2], Answered)
    # It may be charged, so it is not asked again.
    assert len(handler.asked) == 3


def test_a_compressed_answer_is_read_although_none_was_asked_for(serve: Serve) -> None:
    def zipped(fake: Fake, _: int) -> None:
        asked_for.append(fake.headers["Accept-Encoding"])
        message = {"role": "assistant", "content": GOOD}
        body = {"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        fake.send(gzip.compress(json.dumps(body).encode()), headers={"Content-Encoding": "gzip"})

    asked_for: list[str | None] = []
    url, _ = serve(zipped)
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        *_, event = student.answer([SessionTask("one", 2, lambda *_: [Message("user", "1. a\n2. b")])])
    assert isinstance(event, Answered)
    assert asked_for == ["identity"]
