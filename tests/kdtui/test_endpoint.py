"""A student behind an endpoint on the command line: the same predictions, and errors of one sentence."""

from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlite_utils import Database

from kdtui.workflows.import_dataset import import_dataset
from kdtui.workflows.students import settings_for, student_name
from tests.models.test_endpoint import GOOD, Fake

Kdtui = Callable[..., Any]


@pytest.fixture
def url() -> Iterator[str]:
    def reply(fake: Fake, _: int) -> None:
        fake.complete(GOOD)

    kind = type("Handler", (Fake,), {"reply": staticmethod(reply), "asked": [], "at_once": 0, "most_at_once": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1#adapter"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def test_generate_and_evaluate_store_what_an_endpoint_answers(kdtui: Kdtui, url: str) -> None:
    [row] = kdtui("generate", "o34", "--student", url, "--json").rows
    assert row["bundles"][0]["positions"] == [1, 2]
    assert row["bundles"][0]["intent"] == "night outside"
    result = kdtui("evaluate", "--student", url, "--limit", 3, "--json")
    assert result.code == 0
    assert "3 sessions" in result.err
    assert any(row["name"].startswith("adapter at 127.0.0.1:") for row in result.rows)


def test_an_endpoint_is_named_by_model_and_host() -> None:
    assert student_name(settings_for("https://gpu.example:8000/v1#rules")) == "rules at gpu.example:8000"
    assert student_name(settings_for("http://localhost:1/v1", ("pattern",))) == "localhost:1 + pattern"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--student", "http://127.0.0.1:9/v1#m"], "http://127.0.0.1:9/v1 cannot be reached"),
        (["--student", "http://#m"], "is no address of an endpoint"),
        (["--student", "http://127.0.0.1:9/v1#m", "--strategy", "list"], "leave out --strategy"),
    ],
)
def test_what_an_endpoint_cannot_do_is_one_sentence(kdtui: Kdtui, arguments: list[str], message: str) -> None:
    result = kdtui("generate", "o34", *arguments)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err
