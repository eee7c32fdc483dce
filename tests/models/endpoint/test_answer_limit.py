"""A server that sends too much fails one session, and does not fill the memory."""

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from models.endpoint.answer_limit import PIECE, inflating
from models.endpoint.chat_server import Endpoint
from models.endpoint.student import EndpointStudent
from models.endpoint.teacher import NoAnswer, RequestLimits, Teacher, TeacherQuestion
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


def broken(fake: Fake) -> None:
    """Send what is not compressed as if it were."""
    fake.send(GOOD.encode(), headers={"Content-Encoding": "gzip"})


def bomb(fake: Fake) -> None:
    """Send eight megabytes of spaces in eight kilobytes."""
    fake.send(gzip.compress(b" " * 2**23), headers={"Content-Encoding": "gzip"})


def double_bomb(fake: Fake) -> None:
    """Send a gigabyte of spaces, compressed twice."""
    once = gzip.compress(gzip.compress(b" " * 2**26) * 16)
    fake.send(gzip.compress(once), headers={"Content-Encoding": "gzip, gzip"})


def failing_without_end(fake: Fake) -> None:
    """Send an error whose message is too long."""
    fake.send({"error": {"message": "x" * 2 * LIMIT}}, 400)


TOO_LONG = f"the answer is longer than {LIMIT / 2**20:g} MB"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (endless, TOO_LONG),
        (bomb, TOO_LONG),
        (double_bomb, "the answer is compressed by 'gzip, gzip', which was not asked for"),
        (broken, "the answer cannot be decompressed: Error -3 while decompressing data: incorrect header check"),
        (failing_without_end, TOO_LONG),
    ],
    ids=["endless", "bomb", "double bomb", "broken", "failing"],
)
def test_an_oversized_answer_refuses_only_its_session(serve: Serve, reply: Callable[[Fake], None], reason: str) -> None:
    url, handler = serve(lambda fake, number: reply(fake) if number == 1 else fake.complete(GOOD))
    tasks = [SessionTask(key, 2, lambda *_: [Message("user", "1. a\n2. b")]) for key in range(3)]
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        events = {event.key: event for event in student.answer(tasks) if isinstance(event, Answered | Refused)}
    refused = events[1]
    assert isinstance(refused, Refused)
    assert refused.reason == f"{url} gives no usable answer ({reason})"
    assert isinstance(events[0], Answered)
    assert isinstance(events[2], Answered)
    # It may be charged, so it is not asked again.
    assert len(handler.asked) == 3


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_a_compressed_answer_is_read_although_none_was_asked_for(
    serve: Serve, compress: Callable[[bytes], bytes]
) -> None:
    def zipped(fake: Fake, _: int) -> None:
        asked_for.append(fake.headers["Accept-Encoding"])
        message = {"role": "assistant", "content": GOOD}
        # Half of the limit, of which a compressed answer is a thousandth.
        body = {"id": "1", "padding": " " * (LIMIT // 2), "choices": [{"index": 0, "message": message}]}
        name = "gzip" if compress is gzip.compress else "Deflate"
        fake.send(compress(json.dumps(body).encode()), headers={"Content-Encoding": name})

    asked_for: list[str | None] = []
    url, _ = serve(zipped)
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        *_, event = student.answer([SessionTask("one", 2, lambda *_: [Message("user", "1. a\n2. b")])])
    assert isinstance(event, Answered)
    assert asked_for == ["identity"]


async def test_an_oversized_answer_counts_as_charged_and_is_not_asked_for_again(serve: Serve) -> None:
    url, handler = serve(lambda fake, _: bomb(fake))
    teacher = Teacher(Endpoint(url, "m"), RequestLimits())
    try:
        with pytest.raises(NoAnswer) as caught:
            await teacher.ask(
                "m", TeacherQuestion((Message("user", "What is this?"),), {"type": "object"}, 10), key="1"
            )
    finally:
        await teacher.close()
    assert caught.value.unanswered == 1
    assert len(handler.asked) == 1


@pytest.mark.parametrize("beyond", [-1, 0, 1, 100, 257, 300])
def test_the_end_of_a_compressed_answer_is_read_wherever_a_piece_ends(beyond: int) -> None:
    text = b" " * (2 * PIECE + beyond)
    assert b"".join(inflating()(gzip.compress(text))) == text
