"""Servers differ: answers in other wrappings are read, and parameters that a server refuses are left out."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from store.knowledge import find_knowledge
from store.records import Session
from store.sqlite import Database
from tests.support.call_rows import calls
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import answer_for, good


@pytest.mark.usefixtures("train")
def test_a_server_without_schemas_gets_them_in_words(serve: Serve, kdtui: Kdtui, db: Database) -> None:
    def plain(fake: Fake, number: int) -> None:
        if "response_format" in fake.body:
            fake.send({"error": {"message": "response_format is not supported"}}, 400)
        else:
            good(fake, number)

    url, fake = serve(plain)
    assert kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought").code == 0
    assert sum("response_format" in body for body in fake.asked) <= 16
    assert all(row["status"] == "answered" for row in calls(db))


WRAPPED: dict[str, Callable[[str], Any]] = {
    "thoughts": lambda text: f'<think>Or {{"bundles": []}}?</think>\n{text}',
    "a fence": lambda text: f"Here you are:\n```JSON\n{text}\n```\nAnything else?",
    "parts": lambda text: [{"type": "text", "text": text[:7]}, {"type": "text", "text": text[7:]}],
}


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.usefixtures("train")
def test_an_answer_is_read_whatever_surrounds_it(db: Database, serve: Serve, kdtui: Kdtui, kind: str) -> None:
    url, fake = serve(lambda fake, _: fake.complete(WRAPPED[kind](json.dumps(answer_for(fake)))))
    result = kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--limit", 4)
    assert result.code == 0, result.err
    assert len(calls(db)) == 16
    assert find_knowledge(db, format="rule")
    # Thoughts are not sent back to the model.
    expected = [
        message["content"] for body in fake.asked for message in body["messages"] if message["role"] == "assistant"
    ]
    assert expected
    assert not [text for text in expected if "<think>" in text]


def test_an_unrequested_stream_is_an_answer(db: Database, train: list[Session], serve: Serve, kdtui: Kdtui) -> None:
    def streaming(fake: Fake, _: int) -> None:
        text = json.dumps(answer_for(fake))
        events: list[Any] = [{"choices": [{"delta": {"content": part}}]} for part in (text[:9], text[9:])]
        events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        content = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
        lines = [f"data: {json.dumps(event)}\n\n" for event in (*events, content)]
        fake.send("".join([*lines, "data: [DONE]\n\n"]).encode(), headers={"X-Kind": "text/event-stream"})

    url, _ = serve(streaming)
    assert kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought").code == 0
    rows = calls(db)
    assert len(rows) == len(train)
    assert {(row["prompt_tokens"], row["completion_tokens"], row["finish_reason"]) for row in rows} == {(7, 5, "stop")}


@pytest.mark.usefixtures("train")
def test_the_dialect_of_a_server_is_learned_by_one_call_and_reported_once(
    db: Database, serve: Serve, kdtui: Kdtui
) -> None:
    def modern(fake: Fake, number: int) -> None:
        for name in ("max_tokens", "temperature", "response_format"):
            if name in fake.body:
                problem = {
                    "message": f"Unsupported parameter: '{name}'",
                    "param": name,
                    "code": "unsupported_parameter",
                }
                return fake.send({"error": problem}, 400)
        return good(fake, number)

    url, fake = serve(modern)
    result = kdtui("knowledge", "distill", "--teacher", f"{url}#m", "--format", "thought")
    assert result.code == 0, result.err
    assert len(fake.asked) == len(calls(db)) + 3
    assert all(row["attempts"] == 1 for row in calls(db))
    assert result.err.count("max_completion_tokens instead of max_tokens") == 1
    assert "without a temperature and a JSON schema" in result.err
    assert fake.asked[-1]["max_completion_tokens"] == 1024
