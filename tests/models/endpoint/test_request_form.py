"""Servers that refuse a part of a standard request: what they accept is learned once, and reported once."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from models.completion import Refusal, refusal_of
from models.endpoint.chat_server import Endpoint, Unreachable
from models.endpoint.request_form import RequestForm
from models.endpoint.student import EndpointStudent
from models.messages import Message
from models.student_protocol import Answered, Noted, Refused, SessionTask, StudentEvent
from tests.support.fake_chat_server import GOOD, Fake, Serve


def openai_says(parameter: str, message: str, code: str = "unsupported_parameter") -> dict[str, Any]:
    error = {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}
    return {"error": error}


MAX_TOKENS = openai_says(
    "max_tokens",
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
)
TEMPERATURE = openai_says(
    "temperature",
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
    "unsupported_value",
)
LOGPROBS = openai_says("", "You are not allowed to request logprobs from this model", "")


def reasoning_model(fake: Fake, _: int) -> None:
    """Refuse one parameter at a time, as reasoning models do."""
    if "max_tokens" in fake.body:
        fake.send(MAX_TOKENS, 400)
    elif "temperature" in fake.body:
        fake.send(TEMPERATURE, 400)
    elif "logprobs" in fake.body:
        fake.send(LOGPROBS, 403)
    else:
        fake.complete(GOOD)


def tasks(count: int) -> Iterator[SessionTask]:
    return (SessionTask(key, 2, lambda *_: [Message("user", "x")]) for key in range(count))


def answers(student: EndpointStudent, count: int) -> list[StudentEvent]:
    return [event for event in student.answer(tasks(count)) if isinstance(event, Answered | Refused | Noted)]


def test_a_reasoning_model_gets_its_request_form_and_the_user_one_note(serve: Serve) -> None:
    url, fake = serve(reasoning_model)
    with EndpointStudent(Endpoint(url, "m"), concurrency=8) as student:
        found = answers(student, 20)
    assert sum(isinstance(event, Answered) for event in found) == 20
    [note] = [event.text for event in found if isinstance(event, Noted)]
    assert "max_completion_tokens instead of max_tokens" in note
    assert "without a temperature and probabilities of tokens" in note
    # The first call has learned the form for all.
    refused = [body for body in fake.asked if {"max_tokens", "temperature", "logprobs"} & set(body)]
    assert len(refused) == 3
    assert len(fake.asked) == 23
    # Its limit counts the reasoning too.
    assert fake.asked[-1]["max_completion_tokens"] > 8192


def test_calls_that_are_refused_together_are_all_repeated(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.endpoint.chat_server._HEAD_START", 0.0)
    together = threading.Barrier(4)

    def reply(fake: Fake, number: int) -> None:
        if number < 4:
            together.wait(20)
        reasoning_model(fake, number)

    url, _ = serve(reply)
    with EndpointStudent(Endpoint(url, "m"), concurrency=4) as student:
        found = answers(student, 8)
    assert sum(isinstance(event, Answered) for event in found) == 8
    assert sum(isinstance(event, Noted) for event in found) == 1


def test_a_slow_first_call_does_not_block_the_others(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.endpoint.chat_server._HEAD_START", 0.01)

    def reply(fake: Fake, number: int) -> None:
        # The first is answered after the second.
        if number == 0:
            fake.gate.wait(20)
        fake.complete(GOOD)
        fake.gate.set()

    url, fake = serve(reply)
    with EndpointStudent(Endpoint(url, "m"), concurrency=2) as student:
        assert sum(isinstance(event, Answered) for event in answers(student, 2)) == 2
    assert fake.most_at_once == 2


SAID: list[tuple[int | None, object, RequestForm]] = [
    (400, MAX_TOKENS, RequestForm(limit="max_completion_tokens")),
    (400, TEMPERATURE, RequestForm(temperature=False)),
    (403, LOGPROBS, RequestForm(logprobs=False)),
    (None, TEMPERATURE, RequestForm(temperature=False)),
    (400, {"error": {"message": "This response_format type is unavailable now"}}, RequestForm(schema=False)),
    (
        400,
        {"error": {"message": "This model does not support response format `json_schema`."}},
        RequestForm(schema=False),
    ),
    (400, {"error": "Failed to parse grammar"}, RequestForm(schema=False)),
    (400, {"error": {"message": "Invalid schema: minItems", "param": "response_format"}}, RequestForm(schema=False)),
    (400, {"message": "`temperature` is deprecated for this model."}, RequestForm(temperature=False)),
    (
        422,
        {
            "detail": [
                {"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"},
                {"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted"},
            ]
        },
        RequestForm(limit="max_completion_tokens", logprobs=False),
    ),
    # Errors about something else.
    (400, {"error": {"message": "max_tokens is too large: 1024; the maximum context length is 512"}}, RequestForm()),
    (400, {"error": {"message": "Invalid 'messages': say temperature", "param": "messages"}}, RequestForm()),
    (429, {"error": {"message": "max_tokens are limited; temperature"}}, RequestForm()),
    (422, {"detail": [{"loc": ["body", "model"], "msg": "no", "input": {"temperature": 0}}]}, RequestForm()),
    (400, {"error": "Bad Request"}, RequestForm()),
]


@pytest.mark.parametrize(("status", "body", "form"), SAID)
def test_the_message_of_a_server_tells_what_to_leave_out(status: int | None, body: object, form: RequestForm) -> None:
    assert RequestForm().after(refusal_of(status, body)) == form


def test_a_server_that_repeats_a_refusal_is_not_asked_forever(serve: Serve) -> None:
    url, fake = serve(lambda fake, _: fake.send(TEMPERATURE, 400))
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        [refused] = answers(student, 1)
    assert isinstance(refused, Refused)
    assert "answers with status 400 (Unsupported value: 'temperature' does not support 0" in refused.reason
    assert len(fake.asked) == 2


def test_an_unrelated_message_does_not_change_the_form() -> None:
    form = RequestForm(limit="max_completion_tokens", temperature=False)
    assert form.after(Refusal(400, frozenset(), None, "no")) is form


def error(message: str, **more: str) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


ENDS: dict[str, tuple[int, dict[str, Any], str]] = {
    "key": (401, error("Incorrect API key provided"), "refuses the key in the variable OPENAI_API_KEY"),
    "country": (403, error("Country not supported"), "(Country not supported)"),
    "quota": (
        429,
        error("You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"),
        "has no credit left for the key in OPENAI_API_KEY (You exceeded your current quota)",
    ),
    "quota by type": (429, error("Pay first", type="insufficient_quota"), "no credit left for the key"),
    "balance": (402, error("Insufficient Balance"), "no credit left for the key in OPENAI_API_KEY (Insuff"),
    "model": (404, error("The model `m` does not exist", code="model_not_found"), "no model 'm', or does not take"),
    "model with 400": (400, error("Invalid model: m", type="invalid_model"), "has no model 'm'"),
    "in an answer": (200, error("No credits", code="402"), "no credit left for the key"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_a_refusal_of_all_sessions_ends_the_run_with_the_servers_message(serve: Serve, kind: str) -> None:
    status, body, reason = ENDS[kind]
    url, fake = serve(lambda fake, _: fake.send(body, status))
    with EndpointStudent(Endpoint(url, "m"), concurrency=2) as student, pytest.raises(Unreachable) as caught:
        list(student.answer(tasks(100)))
    assert reason in str(caught.value)
    assert body["error"]["message"] in str(caught.value)
    assert len(fake.asked) <= 4


def test_a_flagged_question_refuses_only_its_session(serve: Serve) -> None:
    flagged = error("Your input was flagged", code="403")
    url, _ = serve(lambda fake, number: fake.complete(GOOD) if number else fake.send(flagged, 403))
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        found = answers(student, 2)
    assert [type(event) for event in found] == [Refused, Answered]


@pytest.mark.parametrize(
    "reply",
    [
        lambda fake: fake.send(error("slow down", code="rate_limit_exceeded"), 429, {"Retry-After": "0.01"}),
        lambda fake: fake.send(error("slow down", code="rate_limit_exceeded")),
        lambda fake: fake.send(error("busy", code="503")),
    ],
)
def test_a_temporary_error_with_status_200_is_retried(serve: Serve, reply: Callable[[Fake], None]) -> None:
    url, _ = serve(lambda fake, number: fake.complete(GOOD) if number else reply(fake))
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        [event] = answers(student, 1)
    assert isinstance(event, Answered)


def test_a_server_that_sends_a_byte_now_and_then_times_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.endpoint.student._RETRIES", 0)

    def drip(fake: Fake, _: int) -> None:
        fake.send_response(200)
        fake.send_header("Content-Length", "1000")
        fake.end_headers()
        for _ in range(200):
            if fake.gate.wait(0.05):
                return
            fake.wfile.write(b" ")
            fake.wfile.flush()

    url, _ = serve(drip)
    with (
        EndpointStudent(Endpoint(url, "m"), concurrency=1, timeout=0.2) as student,
        pytest.raises(Unreachable) as caught,
    ):
        list(student.answer(tasks(9)))
    assert "did not answer in 0.2 seconds" in str(caught.value)


def test_requests_are_standard_as_long_as_nothing_is_refused(serve: Serve) -> None:
    url, fake = serve(lambda fake, _: fake.complete(GOOD))
    with EndpointStudent(Endpoint(url, "m")) as student:
        assert not [event for event in answers(student, 3) if isinstance(event, Noted)]
    assert all((body["temperature"], body["logprobs"]) == (0, True) for body in fake.asked)
    assert json.dumps(fake.asked).count('"max_tokens"') == 3
