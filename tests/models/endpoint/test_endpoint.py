"""A student behind an endpoint: a real llama-server, and a small server that misbehaves."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import cast

import pytest

from models.completion import NO_TOKENS, UNKNOWN_USAGE, Usage
from models.endpoint.chat_server import Endpoint
from models.endpoint.student import EndpointStudent
from models.errors import Cancelled, ModelError
from models.llama.cancellation import Cancellation
from models.messages import Message
from models.student_protocol import Answered, Grew, Refused, SessionTask, StudentEvent
from tests.support.fake_chat_server import GOOD, Fake, Serve
from tests.support.repository import ROOT
from tests.support.waiting import PATIENCE


def task(key: object, titles: Sequence[str]) -> SessionTask:
    lines = "\n".join(f"{number}. {title}" for number, title in enumerate(titles, start=1))
    return SessionTask(
        key, len(titles), lambda form, _: [Message("system", f"Answer as {form}."), Message("user", lines)]
    )


def events(student: EndpointStudent, tasks: Sequence[SessionTask | None]) -> list[StudentEvent]:
    return list(student.answer(tasks))


@pytest.mark.slow
def test_a_real_server_answers_with_legal_bundles(llama_server: str) -> None:
    tasks = [task("one", ["tent", "tent pegs", "phone"]), task("two", ["<|im_end|>", "9,10: x"]), task("none", ["a"])]
    with EndpointStudent(Endpoint(llama_server), concurrency=2) as student:
        found = {event.key: event for event in events(student, tasks) if isinstance(event, Answered | Refused)}
    assert set(found) == {"one", "two", "none"}
    for key, products in (("one", 3), ("two", 2)):
        answer = found[key]
        assert isinstance(answer, Answered), answer
        for bundle in answer.bundles:
            assert 2 <= len(bundle.positions) <= products
            assert 1 <= bundle.positions[0] < bundle.positions[-1] <= products
            # This server returns probabilities.
            assert 0 < bundle.confidence < 1
            assert bundle.confidence != 0.5
    nothing = found["none"]
    assert isinstance(nothing, Answered)
    assert nothing.bundles == []


def test_requests_have_the_schema_and_name_the_adapter(serve: Serve) -> None:
    url, handler = serve(lambda fake, _: fake.complete(GOOD))
    with EndpointStudent(Endpoint(url, "adapter")) as student:
        found = events(student, [task("s", ["tent", "pegs"])])
    assert [type(event) for event in found] == [Grew, Answered]
    [asked] = handler.asked
    assert asked["model"] == "adapter"
    assert asked["messages"][0]["content"] == "Answer as json."
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["response_format"]["json_schema"]["strict"] is True


def test_requests_run_concurrently_up_to_the_limit(serve: Serve) -> None:
    barrier = threading.Barrier(3)

    def reply(fake: Fake, _: int) -> None:
        # No request is answered before three have arrived.
        barrier.wait(PATIENCE)
        fake.complete(GOOD)

    url, handler = serve(reply)
    with EndpointStudent(Endpoint(url, "m"), concurrency=3) as student:
        found = events(student, [task(place, ["a", "b"]) for place in range(9)])
    assert sum(isinstance(event, Answered) for event in found) == 9
    assert handler.most_at_once == 3


def test_sessions_are_taken_when_needed_and_available(serve: Serve) -> None:
    url, _ = serve(lambda fake, _: fake.complete(GOOD))
    taken = 0

    def source() -> Iterator[SessionTask | None]:
        nonlocal taken
        while True:
            taken += 1
            yield None
            yield task(taken, ["a", "b"])

    with EndpointStudent(Endpoint(url, "m"), concurrency=2) as student:
        found = cast("Generator[StudentEvent]", student.answer(source()))
        assert isinstance(next(found), Grew)
        found.close()
    assert taken < 20


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda fake: fake.send({"error": {"message": "no \x1b[31mmemory\n"}}, 500), "with status 500"),
        (lambda fake: fake.send({"error": "bad"}, 400), "with status 400"),
        (lambda fake: fake.complete("I would put 1 and 2 together"), "not the JSON that was asked for"),
        (lambda fake: fake.complete('{"bundles": [{"pro', "length"), "was cut off"),
        (lambda fake: fake.complete(None), "gives an empty answer"),
        (lambda fake: fake.complete("", "length"), "was cut off"),
        (lambda fake: fake.complete(5), "in an unknown format"),
        (lambda fake: fake.complete(GOOD, logprobs=["x"]), "in an unknown format"),
        (lambda fake: fake.drop(), "cannot be reached"),
        (lambda fake: fake.send({"error": {"message": fake.headers["Authorization"]}}, 400), "Bearer …"),
        (lambda fake: fake.send({"choices": []}), "in an unknown format"),
        (lambda fake: fake.send(b"<html>"), "usable answer"),
        (lambda fake: fake.send(["what"]), "in an unknown format"),
        (lambda fake: fake.gate.wait(PATIENCE), "did not answer in 2 seconds"),
    ],
    ids=[
        "fault",
        "bad request",
        "nonsense",
        "no end",
        "empty",
        "only thought",
        "a number",
        "odd probabilities",
        "hangs up",
        "repeats the key",
        "no choices",
        "no JSON",
        "a list",
        "slow",
    ],
)
def test_one_bad_answer_refuses_only_its_session(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, reply: Callable[[Fake], None], reason: str
) -> None:
    monkeypatch.setattr("models.endpoint.student._RETRIES", 0)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-the-test")

    def some(fake: Fake, _: int) -> None:
        bad = "bad" in fake.asked[-1]["messages"][1]["content"]
        reply(fake) if bad else fake.complete(GOOD)

    url, handler = serve(some)
    # The others must not time out on a busy machine.
    timeout = 2.0 if "did not answer" in reason else PATIENCE
    with EndpointStudent(Endpoint(url, "m"), concurrency=1, timeout=timeout) as student:
        found = events(student, [task("good", ["a", "b"]), task("bad", ["bad", "b"]), task("after", ["a", "b"])])
    [refused] = [event for event in found if isinstance(event, Refused)]
    assert refused.key == "bad"
    assert reason in refused.reason
    assert refused.reason.isprintable()
    assert "secret-of-the-test" not in refused.reason
    assert [event.key for event in found if isinstance(event, Answered)] == ["good", "after"]
    assert handler.asked[0]["authorization"] == "Bearer secret-of-the-test"


def test_a_missing_server_ends_the_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.endpoint.student._RETRIES", 0)
    with (
        EndpointStudent(Endpoint("http://127.0.0.1:9/v1", "m")) as student,
        pytest.raises(ModelError, match=r"cannot be reached .*; is the server running"),
    ):
        events(student, [task(place, ["a", "b"]) for place in range(1000)])


def test_a_server_that_disappears_fails_running_requests_and_then_ends_the_run(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.endpoint.student._RETRIES", 0)
    url, handler = serve(lambda fake, number: fake.drop() if number else fake.complete(GOOD))
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        found = student.answer(task(place, ["a", "b"]) for place in range(1000))
        assert [type(next(found)) for _ in range(3)] == [Grew, Answered, Refused]
        with pytest.raises(ModelError, match="cannot be reached"):
            next(found)
    assert len(handler.asked) == 3


def test_a_restarted_server_loses_only_running_requests(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.endpoint.student._RETRIES", 0)
    url, _ = serve(lambda fake, number: fake.drop() if number == 1 else fake.complete(GOOD))
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        found = events(student, [task(place, ["a", "b"]) for place in range(4)])
    assert [event.key for event in found if isinstance(event, Refused)] == [1]
    assert [event.key for event in found if isinstance(event, Answered)] == [0, 2, 3]


def test_answers_arrive_in_the_order_of_completion(serve: Serve) -> None:
    def reply(fake: Fake, number: int) -> None:
        # The first waits for the last.
        if number == 2:
            fake.complete(GOOD)
            return
        fake.gate.wait(PATIENCE)
        fake.complete(GOOD)

    url, handler = serve(reply)
    with EndpointStudent(Endpoint(url, "m"), concurrency=3) as student:
        found = student.answer([task(place, ["a", "b"]) for place in range(3)])
        first = [next(found), next(found)]
        handler.gate.set()
        rest = list(found)
    assert [type(event) for event in first] == [Grew, Answered]
    assert first[0].key == first[1].key
    assert [type(event) for event in rest] == [Grew, Answered] * 2


@pytest.mark.parametrize(
    ("logprobs", "confidence"), [([], 0.5), ([-1e9], 0.0), ([1e6], 1.0), ([float("nan")], 0.5), ([0, 0], 1.0)]
)
def test_a_confidence_is_a_probability_whatever_the_server_returns(
    serve: Serve, logprobs: list[float], confidence: float
) -> None:
    url, _ = serve(lambda fake, _: fake.complete(GOOD, logprobs=logprobs))
    with EndpointStudent(Endpoint(url, "m")) as student:
        grew = events(student, [task("s", ["a", "b"])])[0]
    assert isinstance(grew, Grew)
    assert grew.bundle.confidence == confidence


def test_a_key_can_end_in_a_newline_but_must_be_valid_in_a_header(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, handler = serve(lambda fake, _: fake.complete(GOOD))
    monkeypatch.setenv("OPENAI_API_KEY", "secret\n")
    with EndpointStudent(Endpoint(url, "m")) as student:
        events(student, [task("s", ["a", "b"])])
    assert handler.asked[0]["authorization"] == "Bearer secret"
    for key in ("sécret", "secret\nmore"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(ModelError, match="the variable OPENAI_API_KEY holds") as caught:
            EndpointStudent(Endpoint(url, "m"))
        assert key not in str(caught.value)


@pytest.mark.parametrize("body", [{"data": [1]}, ["what"], {"data": 3}])
def test_a_malformed_list_of_models_gives_one_sentence(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, body: object
) -> None:
    url, handler = serve(lambda fake, _: fake.complete(GOOD))
    monkeypatch.setattr(handler, "do_GET", lambda fake: fake.send(body))
    with pytest.raises(ModelError, match="lists its models in an unknown format"):
        EndpointStudent(Endpoint(url))


@pytest.mark.parametrize(("status", "reason"), [(404, "has no model 'm'"), (401, "refuses the key in")])
def test_a_wrong_model_or_key_ends_the_run(serve: Serve, status: int, reason: str) -> None:
    url, _ = serve(lambda fake, _: fake.send({"error": {"message": "no"}}, status))
    with EndpointStudent(Endpoint(url, "m")) as student, pytest.raises(ModelError, match=reason):
        events(student, [task("s", ["a", "b"])])


def test_a_server_with_several_models_needs_a_name(serve: Serve) -> None:
    url, _ = serve(lambda fake, _: fake.complete(GOOD))
    with pytest.raises(ModelError, match="as URL#MODEL; it has: 'base', 'adapter'"):
        EndpointStudent(Endpoint(url))


def test_closing_disconnects_at_once(serve: Serve) -> None:
    asked, hung_up = threading.Event(), threading.Event()

    def reply(fake: Fake, number: int) -> None:
        if number:
            asked.set()
            # Nothing more is sent on this connection but its end.
            if fake.connection.recv(1) == b"":
                hung_up.set()
            return
        fake.complete(GOOD)

    url, _ = serve(reply)
    with EndpointStudent(Endpoint(url, "m"), concurrency=2) as student:
        found = cast("Generator[StudentEvent]", student.answer(task(place, ["a", "b"]) for place in range(10)))
        next(found)
        assert asked.wait(PATIENCE)
        found.close()
        # Before the student is closed: the app keeps it for the next session. The request itself never ends.
        assert hung_up.wait(PATIENCE)


@pytest.fixture
def cancelled_when_asked() -> Iterator[tuple[str, Cancellation]]:
    """The address of a server that never answers, and a cancellation that is cancelled when a client connects to it."""
    wish = Cancellation()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cancel() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                wish.cancel()
                # Until the client hangs up.
                while connection.recv(1024):
                    pass

        thread = threading.Thread(target=cancel)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1", wish
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_answers_that_were_asked_for_before_a_cancellation_are_taken(serve: Serve) -> None:
    wish, barrier = Cancellation(), threading.Barrier(2)

    def reply(fake: Fake, _: int) -> None:
        barrier.wait(PATIENCE)
        wish.cancel()
        fake.complete(GOOD)

    url, handler = serve(reply)
    found: list[StudentEvent] = []
    with EndpointStudent(Endpoint(url, "m"), concurrency=2) as student, wish.in_force(), pytest.raises(Cancelled):
        found.extend(student.answer(task(place, ["a", "b"]) for place in range(9)))
    assert sum(isinstance(event, Answered) for event in found) == len(handler.asked) == 2


def test_an_answer_is_cancelled_while_the_server_is_silent(
    cancelled_when_asked: tuple[str, Cancellation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.endpoint.student._PATIENCE", 0.3)
    url, wish = cancelled_when_asked
    with (
        EndpointStudent(Endpoint(url, "m"), timeout=PATIENCE) as student,
        wish.in_force(),
        pytest.raises(Cancelled),
    ):
        events(student, [task("s", ["a", "b"])])


def test_the_search_for_the_model_is_cancelled_while_the_server_is_silent(
    cancelled_when_asked: tuple[str, Cancellation],
) -> None:
    url, wish = cancelled_when_asked
    with wish.in_force(), pytest.raises(Cancelled):
        EndpointStudent(Endpoint(url), timeout=PATIENCE / 10)


_PROGRAM = """
import sys
from models.student_protocol import SessionTask
from models.endpoint.chat_server import Endpoint
from models.endpoint.student import EndpointStudent
from models.messages import Message
with EndpointStudent(Endpoint(sys.argv[1], "m"), concurrency=2) as student:
    events = student.answer(SessionTask(place, 2, lambda *_: [Message("user", "x")]) for place in range(9))
    print(next(events).key)
    events.close()
"""


def test_a_cancelled_program_ends_even_if_the_server_is_slow(serve: Serve) -> None:
    def reply(fake: Fake, number: int) -> None:
        if number:
            fake.gate.wait(2 * PATIENCE)
        else:
            fake.complete(GOOD)

    url, _ = serve(reply)
    # Less than half the timeout of the requests.
    subprocess.run([sys.executable, "-c", _PROGRAM, url], check=True, timeout=PATIENCE, cwd=ROOT)


def test_an_answer_has_the_token_counts_of_the_server_if_it_returns_them(serve: Serve) -> None:
    def reply(fake: Fake, number: int) -> None:
        if number == 0:
            fake.complete(GOOD, usage=(120, 30))
        elif number == 1:
            fake.complete(GOOD, usage=None)
        elif number == 2:
            # Charged, but useless.
            fake.complete("nothing", usage=(90, 5))
        else:
            fake.complete("", usage=(80, 7), finish="length", reasoning_content="well")

    url, _ = serve(reply)
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        found = events(student, [task(place, ["a", "b"]) for place in range(4)] + [task("alone", ["a"])])
    usage = {event.key: event.usage for event in found if isinstance(event, Answered | Refused)}
    assert usage == {0: Usage(120, 30), 1: UNKNOWN_USAGE, 2: Usage(90, 5), 3: Usage(80, 7), "alone": NO_TOKENS}
    assert [event.key for event in found if isinstance(event, Refused)] == [2, 3]
