"""Models that are fetched from a hub: their SHA-256 is checked, kept, and checked again by `kdtui doctor`."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kdtui.workflows.diagnose import diagnose
from kdtui.workflows.kept_sums import sum_of
from store.database import open_database
from store.jobs import add_job
from store.models import named_model, named_models
from store.records import TrainingSettings
from tests.support.commands import Kdtui
from tests.support.repository import ROOT
from tests.support.tiny import make_model

pytest.importorskip("huggingface_hub")


@contextmanager
def hub(content: bytes, stated: str) -> Iterator[str]:
    """Serve a repository `them/tiny` with one model, for which the hub states a SHA-256."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(head=True)

        def do_GET(self) -> None:
            self._answer(head=False)

        def _answer(self, *, head: bool) -> None:
            body = content
            if self.path.startswith("/api/models/them/tiny"):
                large = {"size": len(content), "sha256": stated, "pointerSize": 134}
                sibling = {"rfilename": "tiny.gguf", "size": len(content), "blobId": "1" * 40, "lfs": large}
                body = json.dumps({"_id": "1", "id": "them/tiny", "siblings": [sibling]}).encode()
            self.send_response(200)
            for name, value in (("ETag", f'"{stated}"'), ("X-Repo-Commit", "2" * 40), ("Content-Length", len(body))):
                self.send_header(name, str(value))
            self.end_headers()
            if not head:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[[bytes, str], "subprocess.CompletedProcess[str]"]:
    """A function that adds the model of a hub, in a process of its own: the address is read when it starts."""

    def run(content: bytes, stated: str) -> "subprocess.CompletedProcess[str]":
        with hub(content, stated) as address:
            environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "NO_COLOR": "1"}
            command = [sys.executable, "-m", "kdtui", "model", "add", "them/tiny"]
            return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)

    return run


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return make_model(tmp_path / "original.gguf").read_bytes()


@pytest.mark.slow
def test_doctor_finds_a_fetched_model_that_has_changed(
    fetch: Callable[[bytes, str], "subprocess.CompletedProcess[str]"],
    content: bytes,
    database_of_the_test: Path,
    kdtui: Kdtui,
) -> None:
    digest = sha256(content).hexdigest()
    ended = fetch(content, digest)
    assert ended.returncode == 0, ended.stderr
    with closing(open_database(database_of_the_test)) as db:
        path = named_model(db, "tiny").path
    assert sum_of(path).read_text() == f"{digest}  tiny.gguf\n"
    found = {each.name: each for each in diagnose(database_of_the_test)}
    assert (found["models"].state, found["models"].found) == ("ok", "1 file with the SHA-256 that was kept")
    path.write_bytes(content[:-1] + b"\x01")
    found = {each.name: each for each in diagnose(database_of_the_test)}
    assert found["model tiny"].state == "missing"
    assert "is not what was stored; delete it with kdtui model rm tiny" in found["model tiny"].found
    with closing(open_database(database_of_the_test)) as db:
        db.execute("UPDATE models SET kind = 'adapter'")
        add_job(db, "tiny", path.parent, TrainingSettings(("outdoor",)), "a key")
        db.conn.commit()
    found = {each.name: each for each in diagnose(database_of_the_test)}
    # An adapter goes with its training.
    assert "delete it with kdtui sft rm tiny" in found["model tiny"].found
    with closing(open_database(database_of_the_test)) as db:
        db.execute("DELETE FROM jobs")
        db.conn.commit()
    assert kdtui("model", "rm", "tiny", "--yes").code == 0
    assert not sum_of(path).exists()


def test_a_model_with_another_sum_than_the_hub_states_is_refused(
    fetch: Callable[[bytes, str], "subprocess.CompletedProcess[str]"], content: bytes, database_of_the_test: Path
) -> None:
    ended = fetch(content, "0" * 64)
    assert ended.returncode == 1
    assert "tiny.gguf: its SHA-256 is not the one that the hub states; fetch it again" in ended.stderr
    assert not list(database_of_the_test.parent.rglob("tiny.gguf"))
    with closing(open_database(database_of_the_test)) as db:
        assert named_models(db) == []
