"""A student behind an endpoint on the command line: the same predictions, and errors in one sentence."""

from pathlib import Path

import pytest

from kdtui.tui.core.choice import StudentChoice
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.student.settings import settings_for, student_name
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import GOOD, Fake, Serve


@pytest.fixture
def url(serve: Serve) -> str:
    address, _ = serve(lambda fake, _: fake.complete(GOOD))
    return f"{address}#adapter"


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def test_generate_and_evaluate_store_the_answers_of_an_endpoint(kdtui: Kdtui, url: str) -> None:
    [row] = kdtui("generate", "o34", "--student", url, "--json").rows
    assert row["bundles"][0]["positions"] == [1, 2]
    assert row["bundles"][0]["intent"] == "night outside"
    result = kdtui("evaluate", "--student", url, "--limit", 3, "--json")
    assert result.code == 0
    assert "3 sessions" in result.err
    assert any(row["name"].startswith("adapter at 127.0.0.1:") for row in result.rows)


def test_the_dialect_of_a_server_is_reported_once(serve: Serve, kdtui: Kdtui) -> None:
    def modern(fake: Fake, _: int) -> None:
        if "temperature" in fake.body:
            fake.send({"error": {"message": "Unsupported value", "param": "temperature"}}, 400)
        else:
            fake.complete(GOOD)

    address, _ = serve(modern)
    for command in (["generate", "o34", "o35"], ["evaluate"]):
        result = kdtui(*command, "--student", f"{address}#m", "--json")
        assert result.code == 0, result.err
        assert result.err.count("from now on it is asked without a temperature") == 1


def test_a_refused_evaluation_ends_and_says_how_to_resume(serve: Serve, kdtui: Kdtui, db: Database) -> None:
    def poor(fake: Fake, number: int) -> None:
        if number < 3:
            fake.complete(GOOD)
        else:
            fake.send({"error": {"message": "Pay first", "code": "insufficient_quota"}}, 429)

    address, fake = serve(poor)
    result = kdtui("evaluate", "--student", f"{address}#m", "--limit", 6)
    assert result.code == 1
    assert "has no credit left for the key in OPENAI_API_KEY (Pay first)" in result.err
    assert "finished answers are kept, resume with: kdtui evaluate --resume 1" in result.err
    # This refusal is not a failure of the session.
    assert not list(db.query("SELECT * FROM predictions WHERE error IS NOT NULL"))
    fake.reply = staticmethod(lambda fake, _: fake.complete(GOOD))
    assert kdtui("evaluate", "--resume", 1).code == 0
    assert db.execute("SELECT count(*) FROM predictions").fetchone()[0] == 6


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks4://x", "http://127.0.0.1:9"])
def test_a_local_server_is_reached_without_the_proxy(
    kdtui: Kdtui, url: str, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert kdtui("generate", "o34", "--student", url).code == 0


def test_a_proxy_that_cannot_be_used_is_one_sentence(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for command in (
        ["generate", "o34", "--student"],
        ["knowledge", "distill", "--teacher"],
        ["data", "embed", "--with"],
    ):
        result = kdtui(*command, "http://api.example/v1#m")
        assert (result.code, len(result.err.splitlines())) == (1, 1)
        assert "ALL_PROXY holds a proxy of the kind 'socks4'" in result.err


def test_an_unreachable_server_leaves_no_run(kdtui: Kdtui, db: Database) -> None:
    result = kdtui("evaluate", "--limit", 3, "--student", "http://127.0.0.1:9/v1#m")
    assert result.code == 1
    assert "cannot be reached" in result.err
    assert result.err.endswith("no session was answered, and run 1 is not kept\n")
    assert db.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_a_lost_server_leaves_a_run_to_resume(kdtui: Kdtui, db: Database, serve: Serve) -> None:
    def answer_once(fake: Fake, number: int) -> None:
        if number:
            fake.drop()
        else:
            fake.complete(GOOD)

    url, _ = serve(answer_once)
    kdtui("evaluate", "--student", f"{url}#m")
    assert db.execute("SELECT count(*) FROM predictions WHERE run_id = 1 AND error IS NULL").fetchone() == (1,)


def test_an_endpoint_is_named_by_model_and_host() -> None:
    assert student_name(settings_for("https://gpu.example:8000/v1#rules")) == "rules at gpu.example:8000"
    assert student_name(settings_for("http://localhost:1/v1", ("pattern",))) == "localhost:1 + pattern"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--student", "http://127.0.0.1:9/v1#m"], "http://127.0.0.1:9/v1 cannot be reached"),
        (["--student", "http://127.0.0.1:9/v1"], "http://127.0.0.1:9/v1 cannot be reached"),
        (["--student", "http://#m"], "is not the address of an endpoint"),
        (["--student", "http://[#m"], "is not the address of an endpoint"),
        (["--student", "http://host:port/v1#m"], "is not the address of an endpoint"),
        (["--student", "http://127.0.0.1:9/v1#m", "--strategy", "list"], "no --strategy but aicl"),
    ],
)
def test_settings_that_an_endpoint_cannot_use_are_one_sentence(
    kdtui: Kdtui, arguments: list[str], message: str
) -> None:
    result = kdtui("generate", "o34", *arguments)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err


@pytest.mark.parametrize("address", ["http://me:secret@127.0.0.1:9/v1#m", "http://127.0.0.1:9/v1?key=secret#m"])
def test_a_secret_in_an_address_is_neither_shown_nor_stored(kdtui: Kdtui, db: Database, address: str) -> None:
    result = kdtui("evaluate", "--student", address)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert "put the key into OPENAI_API_KEY" in result.err
    assert "secret" not in result.out + result.err
    assert not list(db.query("SELECT * FROM runs"))


def test_the_app_can_ask_an_endpoint() -> None:
    address = "http://localhost:8000/v1#rules"
    choice = StudentChoice.of(settings_for("smollm2", ("rule",), strategy="pairs", context=1024)).with_student(address)
    assert choice.name == "rules at localhost:8000 + rule"
    assert choice.options["--student"] == [address]
    assert choice.settings == settings_for(address, ("rule",))
