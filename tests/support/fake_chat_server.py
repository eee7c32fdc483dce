"""An HTTP server for chat completions whose answers, good or bad, a test defines."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Fake", int], None]


class Fake(BaseHTTPRequestHandler):
    """Gives the answers of the test; `send` gives those of a good server."""

    reply: Reply
    body: dict[str, Any]
    asked: list[dict[str, Any]]
    at_once: int
    most_at_once: int
    lock = threading.Lock()
    gate = threading.Event()

    def do_POST(self) -> None:
        """Answer a request for a chat completion."""
        content = self.rfile.read(length := int(self.headers["Content-Length"]))
        if len(content) < length:
            # The client has died in the middle of its question.
            self.close_connection = True
            return
        body = json.loads(content)
        self.body = body
        kind = type(self)
        with kind.lock:
            number = len(kind.asked)
            kind.asked.append({**body, "authorization": self.headers.get("Authorization")})
            kind.at_once += 1
            kind.most_at_once = max(kind.most_at_once, kind.at_once)
        try:
            kind.reply(self, number)
        finally:
            with kind.lock:
                kind.at_once -= 1

    def do_GET(self) -> None:
        """Answer with the list of models."""
        self.send({"object": "list", "data": [{"id": name, "object": "model"} for name in ("base", "adapter")]})

    def send(self, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON, or with these bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def drop(self) -> None:
        """Hang up in the middle of an answer."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"id": "1", "choi')
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def complete(
        self,
        text: object,
        finish: str = "stop",
        logprobs: Sequence[object] = (),
        usage: tuple[int, int] | Mapping[str, object] | None = (300, 40),
        **message: object,
    ) -> None:
        """Answer with a chat completion; `usage` is None for a server that does not report it."""
        message = {"role": "assistant", "content": text, **message}
        if isinstance(usage, tuple):
            usage = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        told = {"content": [{"token": "x", "logprob": each} for each in logprobs]}
        self.send(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": told}],
                **({} if usage is None else {"usage": usage}),
            }
        )

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Many clients connect at once.
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, unless a client hung up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


Serve = Callable[[Reply], tuple[str, type[Fake]]]


@contextmanager
def serving() -> Iterator[Serve]:
    """Yield a function that starts servers on 127.0.0.1, each with its own reply; they end with the context."""
    servers: list[tuple[ThreadingHTTPServer, type[Fake]]] = []

    def start(reply: Reply) -> tuple[str, type[Fake]]:
        handler = type(
            "Handler",
            (Fake,),
            {"reply": staticmethod(reply), "asked": [], "at_once": 0, "most_at_once": 0, "gate": threading.Event()},
        )
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        servers.append((server, handler))
        return f"http://127.0.0.1:{server.server_port}/v1", handler

    yield start
    for server, handler in servers:
        handler.gate.set()
        server.shutdown()
        server.server_close()


GOOD = json.dumps({"bundles": [{"products": [1, 2], "intent": "night outside"}]})
"""A good answer to a session of two or more products."""
