"""A chat server that draws its answers from many ways in which servers differ and fail."""

import gzip
import json
import random
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from tests.support.fake_chat_server import Fake
from tests.support.fake_teacher import answer_for

Failure = Callable[[Fake, random.Random], None]

_HOSTILE = "\x1b]52;c;cm0gLXJm\x07\x1b[2J [red]{0}[/] \x00 \ud800 \u202e`$(id)`"
"""Words that a terminal, a markup or a shell would obey, and that no file can hold."""


PATIENCE = 5.0
"""Seconds that a command should wait for an answer: a server that stalls takes longer."""


class MoodyServer:
    """Answers like a good teacher while `seed` is None; otherwise, a third of its answers are failures.

    All that it says contains characters that a terminal would obey.

    What it does depends on the seed, the question and how often it was asked, not on the order of the questions.

    Attributes:
        answered: how often each question got a good answer.
        keys: the idempotency keys with which each question came.
    """

    def __init__(self) -> None:
        self.seed: int | None = None
        self.answered: Counter[str] = Counter()
        self.keys: dict[str, set[str | None]] = defaultdict(set)
        self._asked: Counter[str] = Counter()
        self._lock = Lock()

    def forget(self) -> None:
        """Forget all questions."""
        self.answered.clear()
        self.keys.clear()
        self._asked.clear()

    def reply(self, fake: Fake, _: int) -> None:
        """Answer a question, or fail."""
        question = json.dumps(fake.body.get("messages"))
        with self._lock:
            self._asked[question] += 1
            self.keys[question].add(fake.headers.get("Idempotency-Key"))
            chance = random.Random(f"{self.seed} {question} {self._asked[question]}")
        if self.seed is not None and chance.random() < 1 / 3:
            failure = _stall if chance.random() < _STALLS else chance.choice(FAILURES)
            failure(fake, chance)
            return
        with self._lock:
            self.answered[question] += 1
        fake.complete(json.dumps(_with_hostile_words(answer_for(fake))))


def _with_hostile_words(answer: Any, name: str = "") -> Any:
    """Add hostile words to the rules, intents and reasons in an answer."""
    if isinstance(answer, dict):
        return {name: _with_hostile_words(each, name) for name, each in answer.items()}
    if isinstance(answer, list):
        return [_with_hostile_words(each, name) for each in answer]
    return f"{answer} {_HOSTILE}" if name in ("rule", "intent", "why", "explanations") else answer


def _refuse(fake: Fake, chance: random.Random) -> None:
    """Answer with a status of failure, and one of the bodies that gateways and servers send with it."""
    status = chance.choice((400, 403, 404, 408, 409, 413, 422, 429, 451, 500, 502, 503, 504, 529, 599))
    bodies = (
        b"",
        b"null",
        b"<html><title>502 Bad Gateway</title></html>",
        b'{"error": ',
        b"\xff\xfe\x00",
        json.dumps({"error": _HOSTILE}).encode(),
        json.dumps({"error": {"message": _HOSTILE, "type": ["x"], "code": {"a": 1}}}).encode(),
        json.dumps({"error": {"message": "response_format is not supported", "param": "response_format"}}).encode(),
        json.dumps({"error": {"message": None, "code": chance.choice((None, 17, "rate_limit_exceeded"))}}).encode(),
        json.dumps([{"error": {"code": status, "status": "UNAVAILABLE"}}]).encode(),
        json.dumps({"detail": [{"loc": ["body", 0], "msg": "Extra inputs are not permitted"}]}).encode(),
    )
    later = chance.choice(({}, {"Retry-After": chance.choice(("0.01", "-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"))}))
    fake.send(chance.choice(bodies), status, later)


def _refuse_for_good(fake: Fake, chance: random.Random) -> None:
    """Refuse the key, or the account: the program should not go on asking."""
    status, code = chance.choice(((401, "invalid_api_key"), (402, None), (429, "insufficient_quota")))
    fake.send({"error": {"message": f"no more {_HOSTILE}", "code": code}}, status)


def _redirect(fake: Fake, chance: random.Random) -> None:
    fake.send(b"", chance.choice((301, 302, 307, 308)), {"Location": chance.choice(("", "/v1", "file:///etc/passwd"))})


def _hang_up(fake: Fake, chance: random.Random) -> None:
    """End the connection before or within the answer, in order or with a reset."""
    if chance.random() < 0.5:
        fake.wfile.write(chance.choice((b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")))
        fake.wfile.flush()
        if chance.random() < 0.5:
            # The end of the connection is a reset then.
            fake.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        fake.close_connection = True
    else:
        fake.drop()


def _stall(fake: Fake, _: random.Random) -> None:
    """Send the beginning of an answer, and the rest too late."""
    fake.send_response(200)
    fake.send_header("Content-Length", "9")
    fake.end_headers()
    fake.wfile.flush()
    fake.gate.wait(2 * PATIENCE + 1)
    fake.close_connection = True


def _speak_another_protocol(fake: Fake, chance: random.Random) -> None:
    lines = (
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/9.9 999 ?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x00" * 64,
    )
    fake.wfile.write(chance.choice(lines))
    fake.wfile.flush()
    fake.close_connection = True


def _answer_without_completion(fake: Fake, chance: random.Random) -> None:
    """Answer with a body that is no completion."""
    bodies: Sequence[Any] = (
        b"",
        b"OK",
        b"\xef\xbb\xbf{}",
        b'{"choices": [',
        b"[" * 100_000,
        b'{"choices": [{"message": {"content": "' + b"9" * 10_000,
        gzip.compress(b"{}"),
        {},
        [],
        None,
        {"choices": None},
        {"choices": []},
        {"choices": {"0": {}}},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": None, "refusal": _HOSTILE}}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [{"text": "an answer of the old kind"}]},
        {"error": {"message": "overloaded", "code": "503"}},
        {"object": "error", "message": _HOSTILE},
    )
    headers = chance.choice(({}, {"Content-Type": "text/event-stream"}, {"Content-Encoding": "gzip"}))
    fake.send(chance.choice(bodies), headers=headers)


def _answer_with_unusable_text(fake: Fake, chance: random.Random) -> None:
    """Answer with a completion whose text is no answer to the question."""
    texts: Sequence[object] = (
        "",
        " \n",
        _HOSTILE,
        "I cannot help with that.",
        "<think>" + "hm " * 1_000,
        '{"bundles": ',
        '{"bundles": "all", "rules": "none"}',
        '{"bundles": 1e999, "rules": NaN}',
        '{"a": ' * 5_000,
        "9" * 5_000,
        [{"type": "text", "text": "in parts"}],
    )
    usage = chance.choice((None, {}, {"prompt_tokens": -1}, {"completion_tokens": "many"}, {"prompt_tokens": 10**30}))
    finish = chance.choice(("stop", "length", "content_filter", "", "tool_calls"))
    fake.complete(chance.choice(texts), finish, logprobs=chance.choice(((), (0.5, "x", None))), usage=usage)


FAILURES: Sequence[Failure] = (
    _refuse,
    _refuse,
    _refuse_for_good,
    _redirect,
    _hang_up,
    _hang_up,
    _speak_another_protocol,
    _speak_another_protocol,
    _answer_without_completion,
    _answer_without_completion,
    _answer_with_unusable_text,
    _answer_with_unusable_text,
)
"""The kinds of failures; those with many variants stand twice. A server stalls rarely, for that takes long."""

_STALLS = 0.02
"""The share of the failures that are answers which come too late."""
