"""Answers with status 200: texts are read in every form, and anything else is described."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.completion import NoText, RefusedInAnswer, Usage, one_line_of, read_completion
from models.endpoint.chat_server import Endpoint
from models.endpoint.student import EndpointStudent
from models.errors import ModelError
from models.messages import Message
from models.student_protocol import Answered, Refused, SessionTask
from tests.support.fake_chat_server import GOOD, Fake, Serve


def answer(finish: str = "stop", usage: object = None, **message: object) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage}).encode()


def stream(*events: object, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([": a comment\n\n", *lines, "data: [DONE]\n\n" if done else ""]).encode()


def delta(finish: str | None = None, **said: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def read(content: bytes) -> str:
    return read_completion(content, "http://h/v1", "m", one_line_of).text


@pytest.mark.parametrize(
    "content",
    [
        answer(content=GOOD),
        answer(content=[{"type": "text", "text": GOOD[:9]}, {"type": "text", "text": GOOD[9:]}]),
        answer(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"text": GOOD}]),
        answer(content=[{"type": "output_text", "text": GOOD}]),
        answer(content=GOOD, refusal=None, reasoning_content="Hm.", tool_calls=[]),
        stream(delta(role="assistant"), delta(content=GOOD[:5]), delta(content=GOOD[5:]), delta("stop")),
        stream(delta(reasoning_content="Hm."), delta(content=GOOD), delta("stop"), done=False),
        b"\xef\xbb\xbf" + answer(content=GOOD),
    ],
    ids=[
        "text",
        "parts",
        "thoughts in parts",
        "output text",
        "and reasoning",
        "stream",
        "stream with thoughts",
        "mark",
    ],
)
def test_a_text_is_read_in_every_form(content: bytes) -> None:
    assert read(content) == GOOD


EMPTY: dict[str, tuple[bytes, str]] = {
    "nothing": (answer(content=""), "gives an empty answer; is 'm' a chat model?"),
    "nothing in parts": (answer(content=[]), "gives an empty answer"),
    "no content": (answer(), "gives an empty answer"),
    "refusal": (answer(content=None, refusal="I can't help with that."), "refuses to answer: I can't help with that."),
    "refusal in parts": (answer(content=[{"type": "refusal", "refusal": "No."}]), "refuses to answer: No."),
    "refusal in a stream": (stream(delta(refusal="No "), delta("stop", refusal="way.")), "refuses to answer: No way."),
    "content filter": (answer("content_filter", content=""), "content filter of http://h/v1 blocks the answer"),
    "content filter in the middle": (answer("content_filter", content='{"bundles": ['), "content filter"),
    "tool": (
        answer("tool_calls", content=None, tool_calls=[{"type": "function", "function": {"name": "bundle_it"}}]),
        "calls the tool 'bundle_it' instead of answering",
    ),
    "function": (answer(content=None, function_call={"name": "old"}), "calls the tool 'old' instead of answering"),
    "reasoning": (
        answer("length", {"prompt_tokens": 9, "completion_tokens": 1024}, content="", reasoning_content="Let me see"),
        "gives no answer; 1,024 tokens went into its reasoning, and the answer was cut off",
    ),
    "hidden reasoning": (
        answer("stop", {"completion_tokens_details": {"reasoning_tokens": 77}}, content=""),
        "gives no answer; 77 tokens went into its reasoning",
    ),
    "untold reasoning": (
        answer(content=" ", reasoning="Hm"),
        "gives no answer; all that it wrote went into its reasoning",
    ),
    "no room": (answer("length", content=""), "was cut off"),
    "paid for no choice": (
        json.dumps({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}).encode(),
        "gives no answer to this question",
    ),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_the_reason_for_a_missing_text_is_given(kind: str) -> None:
    content, reason = EMPTY[kind]
    with pytest.raises(NoText) as caught:
        read(content)
    assert reason in str(caught.value)


OTHER: dict[str, tuple[bytes, str]] = {
    "page": (
        b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>to go on</body></html>",
        "gives no usable answer, but a web page (Sign in); is the address right?",
    ),
    "page without a title": (b"<html><script>alert(1)</script><p>Please <b>wait</b></p>", "a web page (Please wait)"),
    "words": (b"upstream connect \x1b[31merror", "but text (upstream connect [31merror)"),
    "no byte": (b"", "gives no usable answer, but nothing"),
    "list": (b"[]", "in an unknown format"),
    "no choices": (b'{"choices": []}', "in an unknown format"),
    "number": (answer(content=5), "in an unknown format"),
    "odd parts": (answer(content=[5]), "gives an empty answer"),
    "odd stream": (b"data: {\n\n", "streams its answer in an unknown format"),
    "half a stream": (stream(delta(content='{"bun'), done=False), "broke off before the end"),
    "deep": (b"[" * 100_000, "no usable answer"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_a_body_that_is_not_a_completion_is_described_with_the_servers_message(kind: str) -> None:
    content, reason = OTHER[kind]
    with pytest.raises(ModelError) as caught:
        read(content)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b'{"error": {"message": "no credit", "code": 402}}', 402, "no credit"),
        (b'{"error": {"message": "no", "code": "rate_limit_exceeded", "type": "requests"}}', None, "no"),
        (b'{"error": "model is loading"}', None, "model is loading"),
        (b'{"object": "error", "message": "bad", "code": 400}', 400, "bad"),
        (b'{"error": {"message": "Provider failed", "code": 502, "metadata": {"raw": "its words"}}}', 502, "its words"),
        (b'{"choices": [{"error": {"message": "cut", "code": 500}}]}', 500, "cut"),
        (stream({"error": {"message": "overloaded", "code": 529}}), 529, "overloaded"),
    ],
)
def test_an_error_with_status_200_is_an_error(content: bytes, status: int | None, words: str) -> None:
    with pytest.raises(RefusedInAnswer) as caught:
        read(content)
    assert caught.value.refusal.status == status
    assert words in caught.value.refusal.words


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (None, Usage()),
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4)),
        ({"prompt_tokens": 3.0, "completion_tokens": 4}, Usage(3, 4)),
        # Reasoning that is charged but counted only in the total.
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 50}, Usage(3, 47)),
        ({"prompt_tokens": 3}, Usage(3, None)),
        # Implausible counts.
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": "9"}, Usage()),
        ({"prompt_tokens": -3, "completion_tokens": 1e300}, Usage()),
        ({"prompt_tokens": 10**40, "completion_tokens": 2.5}, Usage()),
        ([3, 4], Usage()),
    ],
)
def test_only_plausible_token_counts_are_accepted(told: object, usage: Usage) -> None:
    assert read_completion(answer(usage=told, content="x"), "h", "m", one_line_of).usage == usage


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "error", "delta", "refusal", "text", "type"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.binary(max_size=99) | JSON.map(lambda value: json.dumps(value).encode()) | JSON.map(lambda each: stream(each))
)
def test_any_body_is_a_text_or_a_model_error(content: bytes) -> None:
    said = ""
    try:
        # Whatever was read can be stored.
        read(content).encode()
    except (ModelError, RefusedInAnswer) as error:
        said = str(error)
    assert said.isprintable()


def test_halves_of_characters_are_joined_or_replaced() -> None:
    assert read(stream(delta(content="a tent \ud83c"), delta(content="\udfd5"), delta("stop"))) == "a tent \U0001f3d5"
    assert read(answer(content="a tent \ud800")) == "a tent \ufffd"


@pytest.mark.parametrize("kind", ["refusal", "content filter", "tool", "reasoning"])
def test_an_answer_without_a_text_refuses_only_its_session(serve: Serve, kind: str) -> None:
    content, reason = EMPTY[kind]
    reason = reason.replace("http://h/v1", "http://127.0.0.1")

    def reply(fake: Fake, number: int) -> None:
        fake.send(content) if number == 0 else fake.complete(f"<think>Hm.</think>```JSON\n{GOOD}\n```")

    url, _ = serve(reply)
    with EndpointStudent(Endpoint(url, "m"), concurrency=1) as student:
        tasks = [SessionTask(key, 2, lambda *_: [Message("user", "x")]) for key in ("bad", "good")]
        found = {event.key: event for event in student.answer(tasks) if isinstance(event, Answered | Refused)}
    refused, answered = found["bad"], found["good"]
    assert isinstance(refused, Refused)
    assert reason.partition("127.0.0.1")[0] in refused.reason
    assert isinstance(answered, Answered)


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (lambda fake: fake.send(fake.headers["Authorization"].encode()), "text (Bearer …)"),
        (lambda fake: fake.complete(None, refusal=fake.headers["Authorization"]), "refuses to answer: Bearer …"),
        (lambda fake: fake.send({"error": {"message": "x" * 190 + fake.headers["Authorization"]}}), "xxx"),
    ],
)
def test_a_key_that_a_server_repeats_is_not_shown(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, reply: Callable[[Fake], None], shown: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
    url, _ = serve(lambda fake, _: reply(fake))
    with EndpointStudent(Endpoint(url, "m")) as student:
        [event] = student.answer([SessionTask("s", 2, lambda *_: [Message("user", "x")])])
    assert isinstance(event, Refused)
    assert shown in event.reason
    assert "sk-s" not in event.reason
