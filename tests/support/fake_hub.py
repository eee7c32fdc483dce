"""The parts of a hub of models that fetching needs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

_FILES = {
    "owner/one": ["one.gguf", "README.md"],
    "owner/two": ["small.gguf", "large.gguf"],
    "owner/split": ["x-00001-of-00002.gguf"],
}


@dataclass
class FakeHub:
    """A running hub.

    Attributes:
        asked: the headers of each request, with lower-case names.
    """

    url: str
    asked: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving_hub(model: Path) -> Iterator[FakeHub]:
    """Run a hub with the repositories `owner/one`, `owner/two` and `owner/split`, all files of which are this model."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append({name.lower(): value for name, value in self.headers.items()})
            repository = "/".join(self.path.split("?")[0].removeprefix("/api/models/").strip("/").split("/")[:2])
            if repository not in _FILES:
                self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif self.path.startswith("/api/"):
                siblings = [{"rfilename": name} for name in _FILES[repository]]
                body = {"id": repository, "sha": "0" * 40, "siblings": siblings}
                self.reply(200, json.dumps(body).encode(), {})
            else:
                self.reply(200, model.read_bytes(), {"ETag": '"1"', "X-Repo-Commit": "0" * 40})

        do_HEAD = do_GET  # noqa: N815

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def add_from_hub(hub: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `kdtui model add` in its own process: the hub's library reads its settings when it is imported."""
    return subprocess.run(
        [sys.executable, "-m", "kdtui", "model", "add", *arguments],
        env={**os.environ, "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
