"""Proxies of the environment: used for other machines, never for this one, and named if unusable."""

import pytest

from models.endpoint.chat_server import Endpoint
from models.endpoint.proxies import proxy_for
from models.endpoint.student import EndpointStudent
from models.errors import ModelError
from models.messages import Message
from models.student_protocol import Answered, SessionTask
from tests.support.fake_chat_server import GOOD, Serve

ELSEWHERE = "https://api.example/v1"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variable", "value", "url", "proxy"),
    [
        ("HTTPS_PROXY", "http://proxy:3128", ELSEWHERE, "http://proxy:3128"),
        ("https_proxy", "proxy:3128", ELSEWHERE, "http://proxy:3128"),
        ("ALL_PROXY", "http://me:word@proxy:3128", ELSEWHERE, "http://me:word@proxy:3128"),
        ("HTTP_PROXY", "http://proxy:3128", ELSEWHERE, None),
        ("HTTPS_PROXY", "", ELSEWHERE, None),
    ],
)
def test_the_proxy_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, url: str, proxy: str | None
) -> None:
    monkeypatch.setenv(variable, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize("exempt", ["api.example", ".example", "*", "other, api.example", "api.example:443,x"])
def test_an_exempt_host_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert proxy_for("https://api.example:443/v1") is None


@pytest.mark.parametrize("exempt", ["10.0.0.0/8", "10.1.2.3", "fd00::/8,10.1.0.0/16"])
def test_an_exempt_network_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy:1080")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert proxy_for("http://10.1.2.3:8000/v1") is None
    assert proxy_for("http://11.1.2.3:8000/v1") == "http://proxy:1080"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "127.9.9.9", "gpu.localhost", "[::ffff:127.0.0.1]"],
)
def test_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for variable in ("ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(variable, "socks5://proxy:1080")
    assert proxy_for(f"http://{host}/v1") is None


@pytest.mark.parametrize(
    "value", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks4://127.0.0.1:9", "ftp://x", "http://[", "rubbish"]
)
def test_a_local_server_answers_whatever_the_proxies_are(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    for variable in VARIABLES[:3]:
        monkeypatch.setenv(variable, value)
    url, _ = serve(lambda fake, _: fake.complete(GOOD))
    with EndpointStudent(Endpoint(url, "m")) as student:
        events = list(student.answer([SessionTask("s", 2, lambda *_: [Message("user", "x")])]))
    assert isinstance(events[-1], Answered)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            "socks5://me:word@proxy:1080",
            "the proxy socks5://proxy:1080 of ALL_PROXY needs a package: pip install socksio",
        ),
        ("socks5h://proxy:1080", "pip install socksio; or name api.example in NO_PROXY"),
        ("socks4://proxy:1080", "ALL_PROXY holds a proxy of the kind 'socks4'"),
        ("ftp://me:word@proxy", "a proxy of the kind 'ftp'; kinds that can be used are http"),
        ("http://", "ALL_PROXY holds no address of a proxy"),
        ("http://[", "ALL_PROXY holds no address of a proxy"),
        ("http://proxy:port", "ALL_PROXY holds no address of a proxy"),
    ],
)
def test_an_unusable_proxy_gives_one_sentence(monkeypatch: pytest.MonkeyPatch, value: str, problem: str) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    monkeypatch.setattr("models.endpoint.proxies.find_spec", lambda name: None if name == "socksio" else name)
    with pytest.raises(ModelError) as caught:
        EndpointStudent(Endpoint(ELSEWHERE, "m"))
    assert problem in str(caught.value)
    assert "word" not in str(caught.value)


def test_another_machine_is_asked_through_the_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, fake = serve(lambda fake, _: fake.complete(GOOD))
    monkeypatch.setenv("HTTP_PROXY", proxy.removesuffix("/v1"))
    with EndpointStudent(Endpoint("http://api.example/v1", "m")) as student:
        events = list(student.answer([SessionTask("s", 2, lambda *_: [Message("user", "x")])]))
    assert isinstance(events[-1], Answered)
    assert len(fake.asked) == 1
